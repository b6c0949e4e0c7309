"""A cell that is run again says the same.

Learners run cells again all the time. A draw without a seed, a training that goes on from where it stopped,
or a cell that changes what an earlier one made would then contradict the text beside it. A second run of the
whole lesson would show less: there, the earlier cell makes its thing anew.
"""

import copy

import nbformat
import pytest

from moe_lessons.build import paths
from moe_lessons.build.execute import execute
from moe_lessons.build.render import notebook
from moe_lessons.exercises import registry


def checked(cell):
    return "nbval-ignore-output" not in cell.metadata.get("tags", [])


def repeated(built):
    """The notebook's code cells, those with checked output twice in a row."""
    code = [cell for cell in built.cells if cell.cell_type == "code"]
    built.cells = [copy.deepcopy(cell) for cell in code for _ in range(1 + checked(cell))]
    for number, cell in enumerate(built.cells):
        cell.id = f"run-{number}"
    return built


def differences(cells):
    """The source and the outputs of each checked cell that does not say the same in both of its runs."""
    both = list(filter(checked, cells))
    return [
        f"{first.source}\n--- first\n{said(first)}\n--- then\n{said(again)}"
        for first, again in zip(both[::2], both[1::2], strict=True)
        if said(first) != said(again)
    ]


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
    assert {text.split("\n")[0] for text in found} == {sources[1], sources[3]}
