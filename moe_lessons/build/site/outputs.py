"""What a cell shows, for a page: drawings in its markup, and marks on what a script can bring alive.

A script finds explorables, predictions and quizzes by these marks; without it, what they hold stands::

    <div class="explorable" data-name="Router">the static strip</div>
    <div class="prediction" data-id="01.norm">the question and its options</div>
    <div class="reveal" data-id="01.norm">the same with what came out</div>
    <div class="quiz" data-id="01.q_norm">the question and its answer</div>
    <div class="claim" id="claim-L16">the claim, its verdict and its source</div>
    <div class="forget" data-lesson="01">nothing yet: where answers can be forgotten</div>
"""

import ast
import html
import re
from collections.abc import Iterable

from nbformat import NotebookNode
from nbformat.v4 import new_output

from moe_lessons.build import paths, rooms
from moe_lessons.build.execute import EXPLORABLE
from moe_lessons.course.looks import BLOCKS
from moe_lessons.course.show import inline
from moe_lessons.exercises.spec import Lesson, Prediction, Quiz

_ID = re.compile(r'\bid="([^"]+)"')
_CLAIM = re.compile(rf"{BLOCKS['claim']} (L\d+)<")
_PREDICT, _QUIZ = (f"<strong>{BLOCKS[kind]}.</strong> " for kind in ("predict", "quiz"))


class Seen:
    """What a lesson's cells have shown so far: the names of explorables, and which predictions stood before.

    Parameters
    ----------
    lesson : Lesson
        Whose predictions, quizzes and claims are looked for.
    """

    def __init__(self, lesson: Lesson) -> None:
        self.lesson = lesson
        self._explorables: dict[str, str] = {}  # a variable, and the class of what it holds
        self._asked: set[str] = set()

    def marked(self, cell: NotebookNode) -> list[NotebookNode]:
        """The outputs of the next cell, with their marks.

        Raises
        ------
        ValueError
            If a picture of an explorable, a prediction or a quiz cannot be told which it is.
        """
        names = self._shown_by(cell.source)
        marked = []
        for n, output in enumerate(cell.outputs):
            data = output.get("data", {})
            drawing, body = data.get("image/svg+xml"), data.get("text/html")
            if drawing and EXPLORABLE in output.metadata:
                if not names:
                    raise ValueError(f"cell {cell.id} shows an explorable, and its code does not say which")
                output = _html(explorable(names.pop(0), _own_ids(drawing, f"{cell.id}-{n}")))
            elif drawing:
                output = _html(scrolled(_own_ids(drawing, f"{cell.id}-{n}")))
            elif body:
                output = _html(self._mark(body))
            marked.append(output)
        return marked

    def _shown_by(self, code: str) -> list[str]:
        """The explorables that a cell shows, as names of classes, in their order."""
        classes = rooms.lazy_names(paths.PACKAGE / "explore")
        tree = ast.parse(re.sub(r"^[%!].*$", "", code, flags=re.MULTILINE))
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and (name := _called(node.value)) in classes:
                self._explorables |= {ast.unparse(target): name for target in node.targets}
        shown = []
        for value in _displayed(tree):
            name = _called(value) or self._explorables.get(ast.unparse(value), "")
            shown += [name] if name in classes else []
        return shown

    def _mark(self, body: str) -> str:
        if _PREDICT in body:
            id = _by_question(self.lesson.predictions, body, _PREDICT)
            kind = "reveal" if id in self._asked else "prediction"
            self._asked.add(id)
            return f'<div class="{kind}" data-id="{id}">{body}</div>'
        if _QUIZ in body:
            return (
                f'<div class="quiz" data-id="{_by_question(self.lesson.quizzes, body, _QUIZ)}">{body}</div>'
            )
        if found := _CLAIM.findall(body):
            return f'<div class="claim" id="claim-{found[0]}">{body}</div>'
        return f'<div class="shown">{body}</div>'


def explorable(name: str, strip: str) -> str:
    """The place of an explorable: its static strip, where a script can put it alive.

    Examples
    --------
    >>> explorable("Router", "<svg/>")[:44]
    '<div class="explorable" data-name="Router"><'
    """
    return f'<div class="explorable" data-name="{name}">{scrolled(strip)}</div>'


def forget(lesson: str = "") -> str:
    """The place where a reader can forget the answers of a lesson, or of all, which a script fills.

    Examples
    --------
    >>> forget("01"), forget()
    ('<div class="forget" data-lesson="01"></div>', '<div class="forget"></div>')
    """
    return f'<div class="forget" data-lesson="{lesson}"></div>' if lesson else '<div class="forget"></div>'


def scrolled(drawing: str) -> str:
    """A drawing in a frame that scrolls where the page is narrower than the drawing can be read.

    The frame takes the focus, so that the arrow keys scroll it too.
    """
    title = re.search(r'aria-label="([^"]*)"', drawing)
    label = title[1] if title else "picture"
    return f'<div class="drawing" tabindex="0" role="group" aria-label="{label}">{drawing}</div>'


def _called(value: ast.expr) -> str:
    return value.func.id if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) else ""


def _displayed(tree: ast.Module) -> list[ast.expr]:
    """What a cell displays: the arguments of `display`, and its last line if that is an expression."""
    shown: list[ast.expr] = []
    for node in tree.body:
        if isinstance(node, ast.Expr):
            call = node.value
            if isinstance(call, ast.Call) and _called(call) == "display":
                shown += call.args
            elif node is tree.body[-1]:
                shown.append(call)
    return shown


def _by_question(items: Iterable[Prediction] | Iterable[Quiz], body: str, mark: str) -> str:
    found = [item.id for item in items if mark + inline(item.question) in body]
    if len(found) != 1:
        raise ValueError(f"{len(found)} questions of the lesson read like {body.partition(mark)[2][:60]!r}")
    return found[0]


def _own_ids(drawing: str, of: str) -> str:
    """A drawing whose ids are its own: several stand on one page."""
    start = drawing.find("<svg")
    drawing = drawing[start:]
    for id in set(_ID.findall(drawing)):
        own = html.escape(f"{id}-{of}")
        drawing = drawing.replace(f'id="{id}"', f'id="{own}"').replace(f'"#{id}"', f'"#{own}"')
        drawing = drawing.replace(f"url(#{id})", f"url(#{own})")
    return drawing


def _html(body: str) -> NotebookNode:
    return new_output("display_data", data={"text/html": body})
