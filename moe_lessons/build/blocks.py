"""Which cells make a block of a lesson, and the mark that each block carries.

A block is a kind (see ``course/looks.py``) in the metadata of its cells, by which the course's extension for
JupyterLab colours them, and a symbol with a word at the beginning of its text, which every page shows.
"""

import re

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from moe_lessons.course.looks import BLOCKS

FOLDED = "# @title Drawing code, folded: click to read it"
"""The first line of a folded cell: what JupyterLab shows in its place, and Colab as its title."""

_MARKED = {
    "### Exercise ": f"### {BLOCKS['exercise']} ",
    "**Puzzle**": f"**{BLOCKS['puzzle']}**",
    "**Change this.**": f"**{BLOCKS['change']}.**",
}
_BEGINS = {f"### {BLOCKS['exercise']} ": "exercise"}
_BEGINS |= {f"**{BLOCKS[kind]}": kind for kind in ("puzzle", "change", "experiment")}
_CALLS = {
    "predict": "predict",
    "reveal": "predict",
    "quiz": "quiz",
    "claim": "claim",
    "claims_table": "claim",
}
_CALL = re.compile(rf"^({'|'.join(_CALLS)})\(", re.MULTILINE)
_ASKED = re.compile(r'^(predict|reveal)\("([\w.]+)"', re.MULTILINE)


def fold(cell: NotebookNode) -> None:
    """Fold a cell that only draws; its first line says so, and how to open it."""
    cell.source = f"{FOLDED}\n{cell.source}"
    cell.metadata.update(moe_lessons={"draw": True}, jupyter={"source_hidden": True}, cellView="form")


def mark(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Give each block its symbol and word, and its cells their kind.

    An experiment is what stands between a prediction and its reveal; the words before its code get its mark.
    """
    marked: list[NotebookNode] = []
    waiting: dict[str, bool] = {}  # predictions without their reveal, and whether their experiment has begun
    for cell in cells:
        kind = _kind(cell)
        if cell.cell_type == "code":
            for call, id in _ASKED.findall(cell.source):
                waiting.pop(id, None) if call == "reveal" else waiting.setdefault(id, False)
            if not kind and waiting and not _only_imports(cell.source):
                kind = "experiment"
                if not all(waiting.values()):
                    _begin_experiment(marked)
                waiting = dict.fromkeys(waiting, True)
        marked.append(cell)
        if kind:
            _set(cell, kind)
    return marked


def _set(cell: NotebookNode, kind: str) -> None:
    cell.metadata["moe_lessons"] = {**cell.metadata.get("moe_lessons", {}), "block": kind}


def _kind(cell: NotebookNode) -> str:
    """The kind of a cell's block, from what it is marked as, begins with, or calls."""
    about = cell.metadata.get("moe_lessons", {})
    if "block" in about:
        return about["block"]
    if cell.cell_type == "markdown":
        for words, marked in _MARKED.items():
            if cell.source.startswith(words):
                cell.source = marked + cell.source.removeprefix(words)
        return next((kind for words, kind in _BEGINS.items() if cell.source.startswith(words)), "")
    if "answer" in about or "check" in about:
        return "exercise"
    for kind in ("puzzle", "change"):
        if kind in about:
            return kind
    called = _CALL.search(cell.source)
    return _CALLS[called[1]] if called else ""


def _only_imports(code: str) -> bool:
    lines = [line for line in code.splitlines() if line and not line.startswith((" ", ")"))]
    return all(line.startswith(("import ", "from ")) for line in lines)


def _begin_experiment(before: list[NotebookNode]) -> None:
    """Put the mark before the words that lead to an experiment's code, or alone where there are none."""
    word = f"**{BLOCKS['experiment']}"
    words = before[-1]
    if words.cell_type != "markdown" or "block" in words.metadata.get("moe_lessons", {}):
        before.append(new_markdown_cell(f"{word}**"))
    elif words.source[:1].isalpha():
        words.source = f"{word}.** {words.source}"
    else:  # a heading, a fold, a list: a line of its own
        before.append(new_markdown_cell(f"{word}**"))
    _set(before[-1], "experiment")
