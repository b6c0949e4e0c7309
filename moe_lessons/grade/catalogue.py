"""What grading must know of lessons and exercises, without what their references need.

References need torch. The command itself computes nothing with it, it waits for runs that have their own, and
a copy more would cost some 170 MB. So another process reads the exercises, once.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from moe_lessons.grade import lifeline
from moe_lessons.grade.records import RefusedError

_START = "import sys; sys.path.append(sys.argv[1]); from moe_lessons.grade import catalogue; catalogue.tell()"


@dataclass(frozen=True)
class Asked:
    """An exercise, as far as it is not judged here; ``right`` is the judge's line on a right answer."""

    id: str
    title: str
    lesson: str
    entry: str
    points: int
    driver: str
    right: str


@dataclass(frozen=True)
class Part:
    """A lesson."""

    id: str
    number: str
    title: str
    exercises: tuple[Asked, ...]


@cache
def lessons() -> tuple[Part, ...]:
    """All lessons, in teaching order."""
    if "torch" in sys.modules:  # there is nothing to save
        return _read()
    place = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-I", "-c", _START, place], capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise RuntimeError(f"the exercises could not be read: {said[-1]}")
    return tuple(
        Part(**{**part, "exercises": tuple(Asked(**one) for one in part["exercises"])})
        for part in json.loads(done.stdout)
    )


def lesson(number: str) -> Part:
    """The lesson with this number."""
    return next(part for part in lessons() if part.number == number)


def require(numbers: Iterable[str]) -> None:
    """Refuse the number of a lesson that there is not."""
    known = [part.number for part in lessons()]
    for number in numbers:
        if number not in known:
            raise RefusedError(f"no lesson {number!r}; there are {', '.join(known)}")


def exercise(id: str) -> Asked:
    """The exercise with this id."""
    return next(one for one in lesson(id.split(".")[0]).exercises if one.id == id)


def tell() -> None:
    """Print the catalogue, for the process that asked."""
    lifeline.die_with_parent()
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    print(json.dumps([asdict(part) for part in _read()]))


def _read() -> tuple[Part, ...]:
    from moe_lessons.exercises import registry
    from moe_lessons.exercises.judge import Report

    return tuple(
        Part(
            found.id,
            found.number,
            found.title,
            tuple(
                Asked(e.id, e.title, e.lesson, e.entry, e.points, e.driver, Report(e, "passed").line)
                for e in found.exercises
            ),
        )
        for found in registry.lessons()
    )
