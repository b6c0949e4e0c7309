"""Find a lesson, an exercise, a quiz or a prediction by its id; a lesson's module loads when asked for."""

import difflib
import importlib
from collections.abc import Callable, Iterable
from typing import TypeVar

from moe_lessons.exercises.puzzle import Puzzle
from moe_lessons.exercises.spec import Claim, Exercise, Lesson, Prediction, Quiz

_MODULES = {
    "00": "start_here",
    "01": "router",
    "02": "moe_layer",
    "03": "counting",
    "04": "collapse",
    "05": "load_loss",
    "06": "routing_zoo",
    "07": "capacity",
    "08": "dispatch",
    "09": "triton_kernels",
    "10": "mini_transformer",
    "11": "fine_grained",
    "12": "what_experts_learn",
    "13": "adaptation",
    "14": "expert_parallel",
    "15": "serving",
    "16": "frontier",
    "17": "capstone",
}
"""Lesson number to module of this package; each defines ``LESSON``."""

Item = TypeVar("Item", Exercise, Quiz, Prediction, Claim, Puzzle)


class UnknownId(KeyError):
    """Nothing has this id; in a notebook the message alone is shown, for where it was raised is of no help.

    Examples
    --------
    >>> print(UnknownId("no lesson '77'"))
    no lesson '77'
    """

    def __str__(self) -> str:
        return str(self.args[0])

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [str(self)]


def lessons() -> list[Lesson]:
    """All lessons, in teaching order."""
    return [lesson(number) for number in sorted(_MODULES)]


def lesson(name: str) -> Lesson:
    """The lesson with this number or id (``"01"`` or ``"01_router"``).

    Raises
    ------
    UnknownId
        If there is no such lesson (a KeyError); the message lists those there are.
    """
    return importlib.import_module(f"moe_lessons.exercises.{module(name)}").LESSON


def module(name: str) -> str:
    """Name of the module of this package that holds a lesson's exercises; UnknownId as in ``lesson``."""
    number = str(name).split("_")[0].split(".")[0]
    if number not in _MODULES:
        raise UnknownId(f"no lesson {name!r}; there are {', '.join(sorted(_MODULES))}")
    return _MODULES[number]


def exercise(id: str) -> Exercise:
    """The exercise with this id, such as ``"01.router_logits"``; UnknownId names the nearest otherwise."""
    return _find("exercise", id, lambda found: found.exercises)


def quiz(id: str) -> Quiz:
    """The quiz question with this id."""
    return _find("quiz", id, lambda found: found.quizzes)


def prediction(id: str) -> Prediction:
    """The prediction with this id."""
    return _find("prediction", id, lambda found: found.predictions)


def puzzle(id: str) -> Puzzle:
    """The puzzle with this id."""
    return _find("puzzle", id, lambda found: found.puzzles)


def _find(kind: str, id: str, of: Callable[[Lesson], Iterable[Item]]) -> Item:
    number = str(id).split(".")[0]
    if number not in _MODULES:
        raise UnknownId(f"no {kind} {id!r}; an id starts with its lesson's number, such as '01.'")
    items = {item.id: item for item in of(lesson(number))}
    if id not in items:
        near = difflib.get_close_matches(id, items, n=1)
        known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(items) or 'none'}"
        raise UnknownId(f"no {kind} {id!r} in lesson {number}; {known}")
    return items[id]
