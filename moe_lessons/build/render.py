"""Make the two notebooks of a lesson: the same cells, with stubs for learners and with solutions."""

import hashlib
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from moe_lessons.build import blocks, paths
from moe_lessons.build.first_cell import first_cell
from moe_lessons.build.source import STUB, STUB_OF_A_PUZZLE, read_cells, without_solution
from moe_lessons.course.show import count
from moe_lessons.exercises import registry
from moe_lessons.exercises.habits import asks_gradient
from moe_lessons.exercises.published import with_solution
from moe_lessons.exercises.puzzle import Puzzle
from moe_lessons.exercises.spec import Exercise, Lesson

_CARD = re.compile(r"^\{\{(?P<kind>exercise|puzzle) (?P<id>[\w.]+)\}\}$")
_START = re.compile(r'^start\(("\w+")\)', re.MULTILINE)
_CHECK = re.compile(r'^check\("(?P<id>[\w.]+)"\)', re.MULTILINE)


def notebook(lesson_file: Path, *, solutions: bool) -> NotebookNode:
    """Build one notebook of a lesson, not executed."""
    lesson = registry.lesson(lesson_file.stem)
    cells = [new_markdown_cell(_header(lesson))]
    for cell in read_cells(lesson_file):
        card = _CARD.match(cell.source.strip())
        if cell.cell_type == "markdown" and card:
            cells.append(new_markdown_cell(_carded(card["kind"], card["id"])))
            continue
        if cell.metadata.pop("only", "") == "solutions":
            if not solutions:
                continue
            cell.metadata.update(moe_lessons={"block": "change"})  # what came out of a cell to change
        if "setup" in cell.metadata.get("tags", []):
            cells.append(first_cell())
        cells.append(_code(cell, solutions) if cell.cell_type == "code" else cell)
        check = _CHECK.search(cell.source) if cell.cell_type == "code" else None
        if check:
            hints = new_markdown_cell(_hints(registry.exercise(check["id"])))
            hints.metadata.update(moe_lessons={"block": "exercise"})
            cells.append(hints)
    cells.append(new_markdown_cell(_footer(lesson)))
    built = new_notebook(cells=blocks.mark(cells))
    built.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        moe_lessons={"lesson": lesson.id},
    )
    _identify(built)
    return built


def text(built: NotebookNode) -> str:
    """A notebook as the text of its file: sorted keys, one trailing newline."""
    nbformat.validate(built)
    return nbformat.writes(built, version=4).rstrip("\n") + "\n"


def _code(cell: NotebookNode, solutions: bool) -> NotebookNode:
    puzzle = cell.metadata.pop("puzzle", None)
    stub = STUB_OF_A_PUZZLE if puzzle else STUB
    cell.source = with_solution(cell.source) if solutions else without_solution(cell.source, stub)
    if puzzle:
        cell.metadata.update(moe_lessons={"puzzle": puzzle})
    cell.outputs, cell.execution_count = [], None
    if solutions and "setup" in cell.metadata.get("tags", []):
        cell.source = _START.sub(r"start(\1, keep=False)", cell.source)
    answer = cell.metadata.pop("answer", None)
    if answer:
        points = registry.exercise(answer).points
        cell.metadata.update(moe_lessons={"answer": answer, "points": points}, deletable=False)
    if cell.metadata.pop("change", False):
        cell.metadata.update(moe_lessons={"change": True})
    if cell.metadata.pop("draw", False):
        blocks.fold(cell)
    check = _CHECK.search(cell.source)
    if check:
        cell.metadata.update(moe_lessons={"check": check["id"]}, deletable=False, editable=False)
    return cell


def _identify(built: NotebookNode) -> None:
    """Give each cell an id that depends on what it is, not on chance or on its place."""
    seen: dict[str, int] = {}
    for cell in built.cells:
        about = cell.metadata.get("moe_lessons", {})
        name = "-".join(f"{kind}-{about[kind]}" for kind in ("answer", "check", "puzzle") if kind in about)
        base = name.replace(".", "-") or hashlib.sha256(cell.source.encode()).hexdigest()[:12]
        seen[base] = seen.get(base, 0) + 1
        cell.id = base if seen[base] == 1 else f"{base}-{seen[base]}"


def _links(lesson: str) -> str:
    """Where to open a lesson without installing, as text: a badge's image would be fetched from elsewhere."""
    return f"Open in [Binder]({paths.binder_url(lesson)}) · [Colab]({paths.colab_url(lesson)})"


def _header(lesson: Lesson) -> str:
    goals = "\n".join(f"- {goal}" for goal in lesson.goals)
    return (
        f"# {lesson.number} · {lesson.title}\n\n{_links(lesson.id)}\n\n*{lesson.question}*\n\n"
        f"**You will be able to**\n\n{goals}\n\n"
        f"**Time** about {lesson.minutes} minutes · **Exercises** {len(lesson.exercises)} "
        f"({count(lesson.points, 'point')}) · **Before this** {'; '.join(lesson.prerequisites)}"
    )


def _carded(kind: str, id: str) -> str:
    return _question(registry.puzzle(id)) if kind == "puzzle" else _card(registry.exercise(id))


def _question(puzzle: Puzzle) -> str:
    return f"**Puzzle** · one line, not graded · before exercise {puzzle.before}\n\n{puzzle.question}"


def _card(exercise: Exercise) -> str:
    flows = " A gradient must flow back through your function." if asks_gradient(exercise) else ""
    stars = "●" * exercise.difficulty + "○" * (5 - exercise.difficulty)
    return (
        f"### Exercise {exercise.id}: {exercise.title}\n\n"
        f"Difficulty {stars} ({exercise.difficulty} of 5) · about {exercise.minutes} minutes · "
        f"{count(exercise.points, 'point')}\n\n{exercise.task}{flows}\n\n"
        "Fill in the next cell and run it, then run the check below it."
    )


def _hints(exercise: Exercise) -> str:
    folds = [
        f"<details><summary>Hint {n} of {len(exercise.hints)}</summary>\n\n{hint}\n\n</details>"
        for n, hint in enumerate(exercise.hints, 1)
    ]
    folds.append(
        "<details><summary>Solution</summary>\n\n"
        f"It is in the [solutions notebook](../solutions/{_lesson_id(exercise)}.ipynb), with its output. "
        "Try the third hint first.\n\n</details>"
    )
    return "\n\n".join(folds)


def _lesson_id(exercise: Exercise) -> str:
    return registry.lesson(exercise.lesson).id


def _footer(lesson: Lesson) -> str:
    parts = []
    if lesson.sources:
        parts.append("## Sources\n\n" + "\n".join(f"- {source}" for source in lesson.sources))
    order = [found.id for found in registry.lessons()]
    place = order.index(lesson.id)
    links = []
    if place > 0:
        links.append(f"← [{registry.lesson(order[place - 1]).title}]({order[place - 1]}.ipynb)")
    if place + 1 < len(order):
        links.append(f"[{registry.lesson(order[place + 1]).title}]({order[place + 1]}.ipynb) →")
    parts.append("---\n\n" + " · ".join(links))
    return "\n\n".join(parts)
