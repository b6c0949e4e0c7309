"""A lesson's page: its executed solutions, the learner's stub where an answer was, and answers folded."""

import re
from copy import deepcopy

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from moe_lessons.build.blocks import FOLDED
from moe_lessons.build.site import outputs
from moe_lessons.exercises.spec import Lesson

PROMPTS = {
    "setup": ("Show the set-up cell", "Hide the set-up cell"),
    "draw": ("Show the code that draws this", "Hide the code"),
    "widget": ("Show the code", "Hide the code"),
    "answer": ("Show the solution, and what its check says", "Hide the solution"),
    "puzzle": ("Show the solution", "Hide the solution"),
}
"""What is folded, and the words on the fold when it is shut and when it is open."""

_LAST_FOLD = re.compile(r"\n*<details><summary>Solution</summary>.*", re.DOTALL)
_WAY = re.compile(r"\n*---\n\n(?:← )?\[[^\n]*\Z")
_ANCHOR = re.compile(r"\]\(#([^)]+)\)")
_ASKS_ONLY = re.compile(r"(?:(?:predict|reveal|quiz|claims_table)\([^\n]*\)\n?)+")
_SCORE = re.compile(r"score\(\)\s*")


def page(solutions: NotebookNode, learner: NotebookNode, lesson: Lesson) -> NotebookNode:
    """Make a lesson's page; neither notebook is changed.

    Parameters
    ----------
    solutions, learner : NotebookNode
        The two notebooks that are built from one source. A stub is taken from the learner's by the cell's id.
    lesson : Lesson
        Its predictions, quizzes and claims, which the page marks.
    """
    stubs = {cell.id: cell.source for cell in learner.cells}
    cells: list[NotebookNode] = []
    folded: list[NotebookNode] = []  # a solution waits until the hints have been shown
    seen = outputs.Seen(lesson)
    for cell in deepcopy(solutions.cells):
        about = cell.metadata.get("moe_lessons", {})
        if "fetch" in cell.metadata.get("tags", []) or _SCORE.fullmatch(cell.source):
            continue  # what fetches the course, and the reader's score: neither is for this page
        if cell.cell_type == "markdown":
            cells.append(_words(cell))
            if folded and about.get("block") == "exercise":
                cells.append(_joined(folded))
                folded = []
            continue
        cell.outputs = seen.marked(cell)
        if "answer" in about or "puzzle" in about:
            cells.append(_stub(cell, stubs[cell.id]))
        if "answer" in about:
            folded = [cell]
        elif "check" in about and folded:
            folded.append(cell)
        else:
            cells.append(_folded(cell))
    cells.append(new_markdown_cell(outputs.forget(lesson.number), id="forget"))
    return NotebookNode(cells=cells, metadata=_metadata(solutions), nbformat=4, nbformat_minor=5)


def _metadata(solutions: NotebookNode) -> NotebookNode:
    return NotebookNode({key: solutions.metadata[key] for key in ("kernelspec", "language_info")})


def _words(cell: NotebookNode) -> NotebookNode:
    """Text without what leads to other notebooks: the site has its own ways, and the solution."""
    text = _WAY.sub("", _LAST_FOLD.sub("", cell.source))
    cell.source = _ANCHOR.sub(lambda found: f"](#{found[1].lower()})", text)
    return cell


def _stub(cell: NotebookNode, source: str) -> NotebookNode:
    stub = deepcopy(cell)
    stub.id, stub.source, stub.outputs = f"stub-{cell.id}"[:64], source, []
    return _tagged(stub)


def _joined(cells: list[NotebookNode]) -> NotebookNode:
    """A solution with its check, as one cell behind one fold."""
    whole = cells[0]
    whole.source = "\n\n\n".join(cell.source for cell in cells)
    whole.outputs = [output for cell in cells for output in cell.outputs]
    return _tagged(whole, "hide-cell", "answer")


def _folded(cell: NotebookNode) -> NotebookNode:
    about = cell.metadata.get("moe_lessons", {})
    if "setup" in cell.metadata.get("tags", []):
        return _tagged(cell, "hide-input", "setup")
    if about.get("draw"):
        cell.source = cell.source.removeprefix(FOLDED).lstrip("\n")
        return _tagged(cell, "hide-input", "draw")
    if "puzzle" in about:
        return _tagged(cell, "hide-cell", "puzzle")
    if _ASKS_ONLY.fullmatch(cell.source.strip() + "\n"):
        return _tagged(cell, "remove-input")
    if cell.metadata.get("why") == "widget":
        return _tagged(cell, "hide-input", "widget")
    return _tagged(cell)


def _tagged(cell: NotebookNode, tag: str = "", fold: str = "") -> NotebookNode:
    """A cell with the tags that MyST-NB folds by; its block becomes a class of the page's style."""
    block = cell.metadata.get("moe_lessons", {}).get("block")
    cell.metadata = NotebookNode(tags=[t for t in (tag, f"block-{block}" if block else "") if t])
    if fold:
        shut, open_ = PROMPTS[fold]
        cell.metadata.mystnb = {"code_prompt_show": shut, "code_prompt_hide": open_}
    return cell
