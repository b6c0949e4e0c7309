"""The two notebooks of a lesson: what stands in them, what never does, and ids that do not change."""

import functools
import json

import nbformat
import pytest

from moe_lessons.build import paths
from moe_lessons.build.render import notebook, text
from moe_lessons.build.source import read_cells, solution_lines
from moe_lessons.exercises import registry

LESSONS = sorted(paths.LESSONS.glob("[0-9]*.py"))


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return request.param


made = functools.cache(notebook)
"""Most tests look at the same two notebooks, and change nothing in them."""


def answer_cells(built):
    return {
        cell.metadata["moe_lessons"]["answer"]: cell
        for cell in built.cells
        if "answer" in cell.metadata.get("moe_lessons", {})
    }


def exercises(lesson):
    return registry.lesson(lesson.stem).exercises


def test_no_line_of_a_solution_reaches_a_learners_answer_cell(lesson):
    learner = answer_cells(made(lesson, solutions=False))
    found = 0
    for cell in read_cells(lesson):
        answer = cell.metadata.get("answer")
        if answer:
            lines = solution_lines(cell.source)
            assert lines, f"{answer} has no solution block"
            left = {line.strip() for line in learner[answer].source.splitlines()}
            assert not left & set(lines)
            assert 'raise NotImplementedError("your code here")' in left
            found += 1
    assert found == len(exercises(lesson))


def test_no_marker_is_left_and_no_solution_whole(lesson):
    learner = text(made(lesson, solutions=False))
    both = learner + text(made(lesson, solutions=True))
    assert "BEGIN SOLUTION" not in both
    assert "END SOLUTION" not in both
    assert "{{" not in "".join(c.source for c in made(lesson, solutions=False).cells)
    for cell in read_cells(lesson):
        if "answer" in cell.metadata and len(solution_lines(cell.source)) > 1:
            block = "\\n".join(solution_lines(cell.source))
            assert block not in learner


def test_solutions_hold_the_solution(lesson):
    solved = answer_cells(made(lesson, solutions=True))
    assert set(solved) == {exercise.id for exercise in exercises(lesson)}
    for cell in solved.values():
        assert "NotImplementedError" not in cell.source
        compile(cell.source, cell.id, "exec")


def test_a_puzzle_is_a_question_and_a_line_to_write(lesson):
    """For learners without the line, in a cell that runs; in the solutions with it."""
    found = registry.lesson(lesson.stem).puzzles
    by_id = {puzzle.id: puzzle for puzzle in found}
    for solutions in (False, True):
        cells = made(lesson, solutions=solutions).cells
        places = [n for n, cell in enumerate(cells) if "puzzle" in cell.metadata.get("moe_lessons", {})]
        about = [{"puzzle": id, "block": "puzzle"} for id in by_id]
        assert [cells[n].metadata["moe_lessons"] for n in places] == about
        for n, puzzle in zip(places, found, strict=True):
            assert cells[n - 1].source.startswith("**❖ Puzzle**")
            assert cells[n - 1].source.endswith(puzzle.question)
            assert cells[n].id == f"puzzle-{puzzle.id.replace('.', '-')}"
            assert cells[n].source.startswith(f'@puzzle("{puzzle.id}")\ndef {puzzle.entry}(')
            assert cells[n].source.endswith("    return ...") != solutions
            compile(cells[n].source, cells[n].id, "exec")


def test_no_answer_to_a_puzzle_reaches_a_learner(lesson):
    learner = text(made(lesson, solutions=False))
    for cell in read_cells(lesson):
        if "puzzle" in cell.metadata:
            (line,) = solution_lines(cell.source)
            assert json.dumps(line)[1:-1] not in learner


def test_rendering_twice_gives_the_same_bytes(lesson):
    for solutions in (False, True):
        assert text(notebook(lesson, solutions=solutions)) == text(notebook(lesson, solutions=solutions))


def test_ids_are_unique_and_speak_of_exercises(lesson):
    built = made(lesson, solutions=False)
    ids = [cell.id for cell in built.cells]
    assert len(ids) == len(set(ids))
    for exercise in exercises(lesson):
        assert f"answer-{exercise.id.replace('.', '-')}" in ids
        assert f"check-{exercise.id.replace('.', '-')}" in ids


def test_an_id_does_not_depend_on_its_neighbours(tmp_path, lesson):
    """A cell put in front changes no other cell's id, so diffs and comments stay where they belong."""
    moved = tmp_path / lesson.name
    moved.write_text("# %% [markdown]\n# A new beginning.\n\n" + lesson.read_text(encoding="utf-8"), "utf-8")
    before = [cell.id for cell in notebook(lesson, solutions=False).cells]
    after = [cell.id for cell in notebook(moved, solutions=False).cells]
    assert [id for id in after if id in before] == before
    assert len(after) == len(before) + 1


def test_metadata_is_ours_alone(lesson):
    for solutions in (False, True):
        built = made(lesson, solutions=solutions)
        assert set(built.metadata) == {"kernelspec", "language_info", "moe_lessons"}
        for cell in built.cells:
            assert "lines_to_next_cell" not in cell.metadata
            folded = "fetch" in cell.metadata.get("tags", []) or "draw" in cell.metadata.get(
                "moe_lessons", {}
            )
            folds = {"jupyter", "cellView"} if folded else set()
            assert set(cell.metadata) <= {"tags", "why", "moe_lessons", "deletable", "editable"} | folds


def test_learner_cells_have_no_output(lesson):
    for cell in made(lesson, solutions=False).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_each_exercise_has_card_answer_check_and_hints_in_this_order(lesson):
    cells = made(lesson, solutions=False).cells
    for exercise in exercises(lesson):
        card = next(i for i, c in enumerate(cells) if c.source.startswith(f"### ✎ Exercise {exercise.id}:"))
        about = [cell.metadata.get("moe_lessons", {}) for cell in cells]
        answer = next(i for i, found in enumerate(about) if found.get("answer") == exercise.id)
        check = next(i for i, found in enumerate(about) if found.get("check") == exercise.id)
        assert card < answer < check
        assert about[answer]["points"] == exercise.points
        assert cells[check].metadata["editable"] is False
        hints = cells[check + 1].source
        assert all(hint in hints for hint in exercise.hints)
        assert hints.count("<details>") == len(exercise.hints) + 1


def test_a_solutions_notebook_keeps_its_progress_apart(lesson):
    start = f'start("{lesson.stem}"'
    assert f"{start}, keep=False)" in text(made(lesson, solutions=True)).replace("\\", "")
    assert f"{start})" in text(made(lesson, solutions=False)).replace("\\", "")


def test_a_demonstration_is_no_check_cell(lesson):
    for cell in made(lesson, solutions=False).cells:
        if "demo=True" in cell.source and cell.cell_type == "code":
            assert "moe_lessons" not in cell.metadata


def test_notebooks_are_valid_and_small(lesson):
    for solutions in (False, True):
        written = text(made(lesson, solutions=solutions))
        nbformat.validate(nbformat.reads(written, as_version=4))
        assert len(written.encode()) <= 1_000_000
        assert written.endswith("}\n")


def test_what_is_only_for_solutions_is_not_for_learners(tmp_path):
    file = tmp_path / "01_router.py"
    file.write_text('# %% [markdown] only="solutions"\n# The answer.\n\n# %% change=true\n# Change these.\n')
    for solutions in (False, True):
        built = notebook(file, solutions=solutions)
        assert ("The answer." in text(built)) == solutions
        (changed,) = [cell for cell in built.cells if cell.cell_type == "code"]
        assert changed.metadata["moe_lessons"] == {"change": True, "block": "change"}
