"""Blocks have a kind, a symbol and a word; what only draws is folded; no section is full of claims."""

import ast
import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from moe_lessons.build import blocks, paths
from moe_lessons.build.render import notebook
from moe_lessons.build.source import read_cells
from moe_lessons.course.looks import BLOCKS

LESSONS = sorted(paths.LESSONS.glob("[0-9]*.py"))
CALLS = {"predict": "predict", "reveal": "predict", "quiz": "quiz", "claim": "claim", "claims_table": "claim"}
# A handful of lines may stay: a fold would be as long.
SHORT = 6


@pytest.fixture(scope="module", params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return request.param


@pytest.fixture(scope="module")
def cells(lesson):
    return notebook(lesson, solutions=True).cells


def about(cell, name="block"):
    return cell.metadata.get("moe_lessons", {}).get(name)


def called(cell):
    """The functions that a cell calls by name, from first to last; none of Markdown."""
    if cell.cell_type != "code" or "fetch" in cell.metadata.get("tags", []):
        return []
    nodes = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
    return [node.func.id for node in nodes if isinstance(node.func, ast.Name)]


def test_every_kind_is_marked(cells):
    for cell in cells:
        own = [kind for kind in ("puzzle", "change") if about(cell, kind)]
        own += ["exercise"] if about(cell, "answer") or about(cell, "check") else []
        own += [CALLS[name] for name in called(cell) if name in CALLS]
        if own:
            assert about(cell) == own[0], cell.source


def test_every_block_that_begins_with_words_says_what_it_is(cells):
    for kind, words in (("exercise", "### {}"), ("puzzle", "**{}**"), ("change", "**{}.**")):
        begins = [cell for cell in cells if cell.source.startswith(words.format(BLOCKS[kind]))]
        asked = [cell for cell in cells if about(cell, "answer" if kind == "exercise" else kind)]
        assert len(begins) == len(asked)
        assert all(about(cell) == kind for cell in begins)


def test_an_experiment_follows_its_prediction_and_says_so(lesson, cells):
    begins = [n for n, cell in enumerate(cells) if cell.source.startswith(f"**{BLOCKS['experiment']}")]
    assert begins or not any("predict" in called(cell) for cell in cells)
    for n in begins:
        assert about(cells[n]) == "experiment"
        assert about(cells[n + 1]) == "experiment"
        assert cells[n + 1].cell_type == "code"
    for cell in cells:
        if about(cell) == "experiment":
            assert not set(called(cell)) & {*CALLS, "check", "puzzle"}


def test_what_only_draws_is_folded_and_says_how_to_open_it(cells):
    for cell in cells:
        lines = cell.source.splitlines()
        if about(cell, "draw"):
            assert lines[0] == blocks.FOLDED
            assert cell.metadata["jupyter"] == {"source_hidden": True}
            assert cell.metadata["cellView"] == "form"
        elif cell.metadata.get("why") == "image" and not about(cell, "change"):
            assert len(lines) < SHORT, cell.source
        elif "fetch" not in cell.metadata.get("tags", []):
            assert "jupyter" not in cell.metadata


def test_no_number_and_no_task_is_folded(lesson):
    """A folded cell prints nothing, judges nothing, and is nobody's to fill in or to change."""
    for cell in read_cells(lesson):
        if cell.metadata.get("draw"):
            assert set(cell.metadata) <= {"draw", "tags", "why"}, cell.source
            assert not set(called(cell)) & {*CALLS, "print", "check", "puzzle", "score", "yours"}, cell.source


def test_at_most_three_claims_stand_in_a_section(lesson):
    here, found = "the beginning", {}
    for cell in read_cells(lesson):
        if cell.cell_type == "markdown":
            here = next(iter(re.findall(r"^#{2,3} (.+)$", cell.source, re.MULTILINE)[::-1]), here)
        else:
            found[here] = found.get(here, 0) + called(cell).count("claim")
    assert not {section: n for section, n in found.items() if n > 3}


def test_a_demonstration_is_no_block():
    cells = [new_code_cell('check("01.x", wrong, demo=True)'), new_markdown_cell("So it goes.")]
    assert [cell.metadata for cell in blocks.mark(cells)] == [{}, {}]


def marked(*sources):
    made = [new_code_cell(s[1:]) if s.startswith(">") else new_markdown_cell(s) for s in sources]
    return [(cell.source, about(cell)) for cell in blocks.mark(made)]


def test_the_words_before_an_experiment_carry_its_mark():
    word = f"**{BLOCKS['experiment']}"
    found = marked(
        '>predict("1.a")', "Now we look.", ">print(1)", "And?", ">print(2)", '>reveal("1.a")', ">print(3)"
    )
    assert found[1:5] == [
        (f"{word}.** Now we look.", "experiment"),
        ("print(1)", "experiment"),
        ("And?", None),
        ("print(2)", "experiment"),
    ]
    assert found[-1] == ("print(3)", None)
    found = marked(
        '>predict("1.a")', ">import math", ">print(1)", '>reveal("1.a")\nclaim("L1", "wrong", holds=x)'
    )
    assert [kind for _, kind in found] == ["predict", None, "experiment", "experiment", "predict"]
    assert found[2] == (f"{word}**", "experiment")
    assert marked('>predict("1.a")', "## A heading", ">print(1)")[2] == (f"{word}**", "experiment")
