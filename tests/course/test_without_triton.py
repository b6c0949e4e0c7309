"""Where Triton is missing (macOS, Windows): lesson 09 runs to its end, and counts what can be done."""

import ast
import sys

import nbformat
import pytest

from moe_lessons.build import paths
from moe_lessons.build.execute import execute
from moe_lessons.build.render import notebook
from moe_lessons.course.scores import progress, score
from moe_lessons.course.skipping import LINE, SkipCells
from moe_lessons.exercises import registry

HIDE = 'import sys\n\nsys.modules["triton"] = None  # importing it raises an ImportError'


@pytest.mark.slow
@pytest.mark.parametrize("solutions", [False, True], ids=["learner", "solutions"])
def test_lesson_09_runs_without_triton(solutions):
    lesson = registry.lesson("09")
    built = notebook(paths.LESSONS / f"{lesson.id}.py", solutions=solutions)
    built.cells.insert(0, nbformat.v4.new_code_cell(HIDE))
    printed = "".join(
        output.text
        for cell in execute(built, paths.NOTEBOOKS).cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )
    kernels = [exercise for exercise in lesson.exercises if exercise.driver == "kernel"]
    assert "4 exercises need Linux, as Triton does: skipped here, and not counted." in printed
    for exercise in kernels:
        assert f"– {exercise.id}: needs Linux; it does not count here" in printed
    assert printed.count(LINE) > 5
    assert "could not finish" not in printed
    of = lesson.points - sum(exercise.points for exercise in kernels)
    assert f"Lesson 09: {of if solutions else 0} of {of} points" in printed


def test_points_without_triton(monkeypatch, printed):
    monkeypatch.setitem(sys.modules, "triton", None)
    score("09")
    assert printed() == "Lesson 09: 0 of 3 points; still open: 09.block_map\n"
    progress()
    assert next(line for line in printed().splitlines() if line.startswith("09")).endswith("0 of 3")


def run(*cells):
    """What cells leave, one after the other, where the module `nowhere` cannot be imported."""
    skip, names = SkipCells(("nowhere",)), {}
    for cell in cells:
        exec(compile(skip.visit(ast.parse(cell)), "<cell>", "exec"), names)
    return {name: value for name, value in names.items() if not name.startswith("__")}


@pytest.mark.parametrize(
    ("cells", "left", "skipped"),
    [
        (["import nowhere", "x = 1"], {"x": 1}, 1),
        (["import nowhere.deep as n; x = 1", "y = x", "z = y"], {}, 3),
        (["import nowhere\ndef f(): pass", "def g(): return f()", "y = g()"], {}, 3),
        (["import nowhere; x = 1", "x = 2", "y = x"], {"x": 2, "y": 2}, 1),
        (["import nowhere; x = 1", "x = 3; y = x"], {"x": 3, "y": 3}, 1),
        (["import nowhere; x = 1", "y = x; x = 3"], {}, 2),
        (["def f():\n    import nowhere", "x = 1"], {"x": 1}, 1),
        (["import nowhere; x = 1", "y = (lambda x: x)(5)"], {"y": 5}, 1),
        (["import nowhere; x = 1", "y = [x for x in (1, 2)]"], {"y": [1, 2]}, 1),
        (["import math", "y = math.pi > 3"], {"y": True}, 0),
    ],
)
def test_what_is_skipped(cells, left, skipped, printed):
    found = run(*cells)
    assert {name: value for name, value in found.items() if name != "math"} == left
    assert printed().count(LINE) == skipped
