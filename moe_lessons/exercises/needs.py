"""What an exercise needs of the machine: kernels need Triton, which exists for Linux only."""

import importlib.util
from collections.abc import Iterable
from typing import Protocol, TypeVar


class Needs(Protocol):
    """What is known of an exercise here."""

    @property
    def driver(self) -> str:
        """The name of what calls the answer."""


One = TypeVar("One", bound=Needs)


def missing(exercise: Needs) -> str:
    """Say what this machine lacks for an exercise; empty if nothing.

    Examples
    --------
    >>> from moe_lessons.exercises import registry
    >>> missing(registry.exercise("01.router_logits"))
    ''
    """
    lacks = exercise.driver == "kernel" and importlib.util.find_spec("triton") is None
    return "needs Linux" if lacks else ""


def runnable(exercises: Iterable[One]) -> tuple[One, ...]:
    """Those that this machine can run: no score counts the others."""
    return tuple(exercise for exercise in exercises if not missing(exercise))
