"""Cells of puzzles are no answers: a notebook reads the same with them, without them, solved or broken."""

import json

import pytest

from moe_lessons.build import paths
from moe_lessons.build.render import notebook
from moe_lessons.exercises import answers, registry
from moe_lessons.grade.taking import Known, take

LESSONS = [lesson for lesson in registry.lessons() if lesson.puzzles]
KNOWN = Known(
    {lesson.number: lesson.id for lesson in registry.lessons()},
    {exercise.id: exercise.entry for lesson in registry.lessons() for exercise in lesson.exercises},
)


def of_puzzles(cell):
    return "puzzle" in cell["metadata"].get("moe_lessons", {})


def solved(lesson):
    return json.loads(json.dumps(notebook(paths.LESSONS / f"{lesson.id}.py", solutions=True)))


def taken(content):
    return take(json.dumps(content).encode(), KNOWN)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_puzzles_are_no_answers(lesson):
    content = solved(lesson)
    found = taken(content)
    assert set(found.answers) == {exercise.id for exercise in lesson.exercises}
    assert not found.beside
    assert not found.warnings
    for broken in ("return ...", "return (", "raise SystemExit", "%%bash"):
        for cell in filter(of_puzzles, content["cells"]):
            cell["source"] = cell["source"].rpartition("return ")[0] + broken
        assert taken(content) == found, broken
    content["cells"] = [cell for cell in content["cells"] if not of_puzzles(cell)]
    assert taken(content) == found


def test_an_answer_may_call_what_a_puzzle_asked_for():
    """The function comes along, the decorator, which a grader does not have, stays behind."""
    lesson = registry.lesson("08")
    content = solved(lesson)
    (cell,) = (
        c for c in content["cells"] if c["metadata"].get("moe_lessons", {}).get("answer") == "08.undo_sort"
    )
    cell["source"] = (
        "def undo_sort(results_SD, row_ids_S, top_k):\n"
        "    places_S = delivered(torch.arange(len(row_ids_S)), row_ids_S)\n"
        "    return places_S.view(-1, top_k), results_SD[places_S].view(-1, top_k, results_SD.shape[1])"
    )
    found = taken(content)
    beside = found.beside["08.undo_sort"]
    assert beside.startswith("def delivered(weight_N, door_N):\n")
    assert "puzzle" not in beside
    assert callable(answers.load(found.answers["08.undo_sort"], "undo_sort", beside=beside))
