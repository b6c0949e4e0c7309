"""The minutes that a lesson names are those that its words, code, exercises and questions come to."""

import pytest

from moe_lessons.build import paths
from moe_lessons.build.source import read_cells
from moe_lessons.exercises import registry

WORDS_A_MINUTE, LINES_A_MINUTE, MINUTES_A_QUESTION, MINUTES_A_CHANGE = 200, 20, 1, 2
LESSONS = registry.lessons()


def minutes(lesson):
    """Prose, cards and claims read; code looked through; exercises, puzzles and questions done; no pauses."""
    cells = [c for c in read_cells(paths.LESSONS / f"{lesson.id}.py") if "only" not in c.metadata]
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    prose += [exercise.task for exercise in lesson.exercises]
    prose += [f"{claim.said} {claim.truth}" for claim in lesson.claims]
    prose += [puzzle.question for puzzle in lesson.puzzles]
    shown = [c.source for c in cells if c.cell_type == "code" and not {"answer", "puzzle"} & set(c.metadata)]
    lines = sum(1 for source in shown for line in source.splitlines() if line.strip())
    return (
        sum(len(text.split()) for text in prose) / WORDS_A_MINUTE
        + lines / LINES_A_MINUTE
        + sum(exercise.minutes for exercise in lesson.exercises)
        + sum(puzzle.minutes for puzzle in lesson.puzzles)
        + MINUTES_A_QUESTION * (len(lesson.quizzes) + len(lesson.predictions))
        + MINUTES_A_CHANGE * sum("change" in cell.metadata for cell in cells)
    )


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_minutes_are_honest(lesson):
    counted = minutes(lesson)
    assert abs(lesson.minutes - counted) <= max(3, 0.1 * counted), f"{counted:.0f} minutes"
