"""What an exercise needs of the machine: kernels need Triton, which exists for Linux only."""

import importlib.util
from collections.abc import Iterable

from moe_lessons.exercises.spec import Exercise


def missing(exercise: Exercise) -> str:
    """Say what this machine lacks for an exercise; empty if nothing.

    Examples
    --------
    >>> from moe_lessons.exercises import registry
    >>> missing(registry.exercise("01.router_logits"))
    ''
    """
    lacks = exercise.driver == "kernel" and importlib.util.find_spec("triton") is None
    return "needs Linux" if lacks else ""


def runnable(exercises: Iterable[Exercise]) -> tuple[Exercise, ...]:
    """Those that this machine can run: no score counts the others."""
    return tuple(exercise for exercise in exercises if not missing(exercise))
