"""``start``: the one call of a lesson's set-up cell."""

import warnings

from moe_lessons.course import store
from moe_lessons.course.show import count, never_raises, say
from moe_lessons.exercises import registry

_current: str | None = None


@never_raises
def start(lesson: str, *, keep: bool = True) -> None:
    """Begin a lesson: say which one, how to use it, and how many of its exercises you have passed.

    Parameters
    ----------
    lesson : str
        The lesson's id, such as ``"01_router"``.
    keep : bool
        False in the solutions notebooks: what is passed or answered there is not the learner's progress.
    """
    global _current
    try:
        found = registry.lesson(lesson)
    except KeyError as error:
        say(error.args[0])
        return
    _current = found.id
    if not keep:
        store.keep_apart()
    # Other packages' deprecations are not the learner's business, and would differ between machines.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    exercises, points = count(len(found.exercises), "exercise"), count(found.points, "point")
    say(f"Lesson {found.number} · {found.title}: {exercises}, {points}.")
    passed = [id for id, record in store.load()["exercises"].items() if record["passed"]]
    mine = [exercise for exercise in found.exercises if exercise.id in passed]
    if mine:
        say(f"Welcome back: {len(mine)} of {exercises} passed.")


def current_lesson() -> str | None:
    """Id of the lesson that ``start`` was called with, or None."""
    return _current
