"""What holds for every lesson: its notebooks, its claims, its tags, its links."""

import ast
import re

import nbformat
import pytest

from moe_lessons.build import paths
from moe_lessons.build.execute import execute
from moe_lessons.build.render import notebook
from moe_lessons.build.source import read_cells
from moe_lessons.exercises import registry

LESSONS = registry.lessons()
REASONS = {"image", "widget", "timing", "trained", "machine"}


def source(lesson):
    return paths.LESSONS / f"{lesson.id}.py"


def code_cells(lesson):
    return [cell for cell in read_cells(source(lesson)) if cell.cell_type == "code"]


def calls(lesson, name):
    """All calls of a function by name in a lesson's code cells."""
    found = []
    for cell in code_cells(lesson):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                found.append(node)
    return found


def test_every_lesson_file_is_registered():
    assert sorted(p.stem for p in paths.LESSONS.glob("*.py")) == sorted(lesson.id for lesson in LESSONS)


# These take the longest; in CI their solutions run, whose other cells are the same.
LONG = (
    "01_router",
    "02_moe_layer",
    "04_collapse",
    "05_load_loss",
    "06_routing_zoo",
    "07_capacity",
    "08_dispatch",
    "09_triton",
    "10_mini_transformer",
    "11_fine_grained",
    "12_what_experts_learn",
    "13_adaptation",
    "14_expert_parallel",
    "15_serving",
    "16_frontier",
    "17_capstone",
)


@pytest.mark.parametrize(
    "lesson",
    [pytest.param(one, marks=pytest.mark.slow if one.id in LONG else ()) for one in LESSONS],
    ids=lambda lesson: lesson.id,
)
def test_learner_notebook_runs_and_scores_nothing(lesson):
    """From top to bottom without an error; every exercise is not attempted and the score is 0."""
    built = nbformat.read(paths.NOTEBOOKS / f"{lesson.id}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in built.cells)
    ran = execute(built, paths.NOTEBOOKS)
    printed = printed_by(ran)
    for exercise in lesson.exercises:
        assert f"○ {exercise.id}: not attempted yet" in printed
    for puzzle in lesson.puzzles:
        assert f"○ {puzzle.id}: not tried yet" in printed
    assert f"Lesson {lesson.number}: 0 of {lesson.points} points" in printed


def printed_by(ran):
    """What the outputs say in plain text: printed, or shown as a card."""
    said = [output for cell in ran.cells for output in cell.get("outputs", [])]
    return "\n".join(o.text if o.output_type == "stream" else o.data.get("text/plain", "") for o in said)


@pytest.mark.parametrize(
    "lesson",
    [pytest.param(one, marks=pytest.mark.slow if one.number != "08" else ()) for one in LESSONS],
    ids=lambda lesson: lesson.id,
)
def test_a_notebook_half_answered_runs_and_scores_its_half(lesson):
    """The second, fourth, ... exercise is answered: what later cells build is partly the learner's."""
    answered = lesson.exercises[1::2]
    built = nbformat.read(paths.NOTEBOOKS / f"{lesson.id}.ipynb", as_version=4)
    solved = {
        about(cell): cell.source for cell in notebook(source(lesson), solutions=True).cells if about(cell)
    }
    for cell in built.cells:
        if about(cell) in {exercise.id for exercise in answered}:
            cell.source = solved[about(cell)]
    printed = printed_by(execute(built, paths.NOTEBOOKS))
    points = sum(exercise.points for exercise in answered)
    assert f"Lesson {lesson.number}: {points} of {lesson.points} points" in printed
    for id in {ast.literal_eval(call.args[0]) for call in calls(lesson, "yours")}:
        if id in {exercise.id for exercise in answered}:
            assert f"yours, as it last passed ({id})" in printed
        else:
            assert f"the package's, until {id} passes" in printed


def about(cell):
    return cell.metadata.get("moe_lessons", {}).get("answer")


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_claims_are_settled_by_computation(lesson):
    """Each claim once, with a verdict, and a `holds` that is computed rather than written down."""
    made = calls(lesson, "claim")
    assert sorted(ast.literal_eval(call.args[0]) for call in made) == sorted(c.id for c in lesson.claims)
    for call in made:
        holds = {keyword.arg: keyword.value for keyword in call.keywords}["holds"]
        assert any(isinstance(node, ast.Name | ast.Call) for node in ast.walk(holds)), ast.unparse(call)
    assert not made or calls(lesson, "claims_table")


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_unchecked_cells_say_why(lesson):
    for cell in code_cells(lesson):
        ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
        assert ignored == ("why" in cell.metadata), cell.source
        if ignored:
            assert cell.metadata["why"] in REASONS
            assert not calls_in(cell, {"check", "score", "claim", "claims_table", "reveal"}), cell.source


def calls_in(cell, names):
    nodes = ast.walk(ast.parse(cell.source))
    return [
        n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in names
    ]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_everything_the_lesson_owns_is_used(lesson):
    """No exercise, quiz or prediction is declared and then forgotten, or used and not declared."""
    for name, items in (
        ("check", lesson.exercises),
        ("quiz", lesson.quizzes),
        ("predict", lesson.predictions),
    ):
        used = {ast.literal_eval(call.args[0]) for call in calls(lesson, name)}
        assert used == {item.id for item in items}, name


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_puzzles_are_used_once_and_stand_before_their_exercise(lesson):
    """Each is asked, then answered by a function with its names, in the order in which it is declared."""
    cells = read_cells(source(lesson))
    asked = [n for n, cell in enumerate(cells) if cell.source.startswith("{{puzzle ")]
    assert [cells[n].source for n in asked] == [f"{{{{puzzle {puzzle.id}}}}}" for puzzle in lesson.puzzles]
    assert sum("puzzle" in cell.metadata for cell in cells) == len(asked)
    for n, puzzle in zip(asked, lesson.puzzles, strict=True):
        assert cells[n + 1].metadata["puzzle"] == puzzle.id
        (function,) = ast.parse(cells[n + 1].source).body
        assert [ast.unparse(mark) for mark in function.decorator_list] == [f"puzzle({puzzle.id!r})"]
        assert function.name == puzzle.entry
        assert [arg.arg for arg in function.args.args] == list(puzzle.inputs[0])
        between = [cell for cell in cells[n:] if cell.cell_type == "code" and "puzzle" not in cell.metadata]
        assert between[0].metadata.get("answer") == puzzle.before, (
            "the exercise comes right after its puzzles"
        )


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_a_puzzles_function_replaces_nothing_of_the_lesson(lesson):
    mine = {puzzle.entry for puzzle in lesson.puzzles}
    assert len(mine) == len(lesson.puzzles)
    for cell in code_cells(lesson):
        if "puzzle" not in cell.metadata:
            used = {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}
            assert not mine & (used | {exercise.entry for exercise in lesson.exercises}), cell.source


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_setup_cell_is_the_same_everywhere(lesson):
    def setup(one):
        cells = [c.source for c in code_cells(one) if "setup" in c.metadata.get("tags", [])]
        assert len(cells) == 1
        return cells[0].replace(one.id, "NAME")

    assert setup(lesson) == setup(LESSONS[0])


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_links_between_files_lead_somewhere(lesson):
    built = nbformat.read(paths.NOTEBOOKS / f"{lesson.id}.ipynb", as_version=4)
    for cell in built.cells:
        if cell.cell_type == "markdown":
            for link in re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", cell.source):
                assert (paths.NOTEBOOKS / link).exists(), link


LATER = [lesson for lesson in LESSONS if lesson.number != "00"]


@pytest.mark.parametrize("lesson", LATER, ids=lambda lesson: lesson.id)
def test_cells_to_change_can_be_changed_and_are_answered(lesson):
    """A question, two or three numbers to change, and in the solutions what came out."""
    cells = read_cells(paths.LESSONS / f"{lesson.id}.py")
    places = [n for n, cell in enumerate(cells) if "change" in cell.metadata]
    assert len(places) >= 3
    for n in places:
        asked, cell, answered = cells[n - 1 : n + 2]
        assert asked.source.startswith("**Change this.**"), cell.source
        assert "?" in asked.source, cell.source
        first, *lines = cell.source.splitlines()
        assert first == "# Change these and run the cell again."
        numbers = [
            isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant | ast.List | ast.Tuple)
            for line in ast.parse("\n".join(lines)).body
        ]
        assert 2 <= [*numbers, False].index(False) <= 3, cell.source
        assert answered.metadata.get("only") == "solutions", cell.source
        backed = cells[n + 2]  # what the answer says came out comes out of a cell
        assert (backed.cell_type, backed.metadata.get("only")) == ("code", "solutions"), answered.source


@pytest.mark.parametrize("lesson", LATER, ids=lambda lesson: lesson.id)
def test_what_a_learner_wrote_is_used_at_least_twice(lesson):
    assert len({ast.literal_eval(call.args[0]) for call in calls(lesson, "yours")}) >= 2
