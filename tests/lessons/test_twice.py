"""A cell that is run again says the same: at once, and when the lesson is through.

Learners run cells again all the time. A draw without a seed, a training that goes on from where it stopped,
or a cell that changes what an earlier one made would then contradict the text beside it.
"""

import copy

import nbformat
import pytest

from moe_lessons.build import paths
from moe_lessons.build.execute import execute
from moe_lessons.build.render import notebook
from moe_lessons.exercises import registry

RUNS = ("run twice in a row", "in a second run of the whole lesson")


def repeated(built):
    """The notebook's code cells, each twice, and then all of them once more."""
    code = [cell for cell in built.cells if cell.cell_type == "code"]
    order = [cell for cell in code for _ in range(2)] + code
    built.cells = [copy.deepcopy(cell) for cell in order]
    for number, cell in enumerate(built.cells):
        cell.id = f"run-{number}"
    return built


def differences(cells):
    """The source and the outputs of each checked cell that does not say the same in all of its runs."""
    found = []
    n = len(cells) // 3
    for i in range(n):
        first, second, later = cells[2 * i], cells[2 * i + 1], cells[2 * n + i]
        if "nbval-ignore-output" in first.metadata.get("tags", []):
            continue
        for when, cell in zip(RUNS, (second, later), strict=True):
            if said(cell) != said(first):
                found.append(f"{when}:\n{first.source}\n--- first\n{said(first)}\n--- then\n{said(cell)}")
    return found


def said(cell):
    """What a cell printed or showed, as text; pictures and widgets are not compared."""
    shown = []
    for output in cell.outputs:
        data = output.get("data", {})
        shown.append(output.text if output.output_type == "stream" else data.get("text/plain", ""))
    return "".join(shown)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", registry.lessons(), ids=lambda lesson: lesson.id)
def test_a_cell_run_again_says_the_same(lesson):
    built = repeated(notebook(paths.LESSONS / f"{lesson.id}.py", solutions=True))
    found = differences(execute(built, paths.SOLUTIONS, timeout=600).cells)
    assert not found, "\n\n".join(found)


def test_a_draw_without_a_seed_and_a_counter_are_noticed():
    """The negative control: of four cells the second and the last say something else when run again."""
    sources = [
        "import random; random.seed(0); count = 0",
        "print(random.random())",
        "print('stable')",
        "count += 1; print(count)",
    ]
    built = nbformat.v4.new_notebook()
    built.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    found = differences(execute(repeated(built), paths.ROOT).cells)
    assert {line.split("\n")[1] for line in found} == {sources[1], sources[3]}
