"""The hostile corpus: every row of the threat table as submissions, with what each has honestly earned.

A case is a learner's folder: a notebook of lesson 01 in which the first exercise is attacked and the second
is solved honestly, so that a case also shows whether an attack costs its own learner more than the exercise.
Attack code says so itself where it gets through, in words that start with ``ESCAPE``.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import classroom
from attacks import ANSWERS, BESIDE
from broken import FILES
from cells import CHANGES

from moe_lessons.exercises import registry

LESSON = next(lesson for lesson in classroom.LESSONS if lesson.number == "01")
FIRST, SECOND = [id for id in classroom.IDS if id.startswith("01.")][:2]
ENTRY = registry.exercise(FIRST).entry
SECOND_POINTS = registry.exercise(SECOND).points


@dataclass(frozen=True)
class Case:
    """A hostile learner: files by name, the points that were earned, and which threat it stands for."""

    name: str
    threat: str
    files: dict[str, bytes]
    earned: int
    links: dict[str, str] = field(default_factory=dict)
    quick: bool = True


def cases(place: dict[str, str]) -> Iterator[Case]:
    """All cases; ``place`` says what attacks may know, such as where the canary lies."""
    for threat, answers in ANSWERS.items():
        for name, code in answers.items():
            # Attacks that take the whole time limit stand in the full run only.
            quick = not name.startswith("slow ")
            files = {"01.ipynb": _attacked(code, place)}
            yield Case(_slug(name), threat, files, SECOND_POINTS, quick=quick)
    for name, change in CHANGES.items():
        yield Case(_slug(name), "cells and outputs", {"01.ipynb": _changed(change)}, _earned(change))
    for name, content in FILES.items():
        yield Case(_slug(f"file {name}"), "unreadable files", {"01.ipynb": content}, 0)
    yield Case("a-link", "unreadable files", {}, 0, links={"01.ipynb": place["honest"]})
    for name, files in BESIDE.items():
        beside = {file: text.format(**place).encode() for file, text in files.items()}
        yield Case(_slug(name), "shadow modules", {"01.ipynb": _attacked("", place), **beside}, SECOND_POINTS)


def _attacked(code: str, place: dict[str, str]) -> bytes:
    for name, value in {**place, "entry": ENTRY}.items():
        code = code.replace(f"<{name}>", value)
    return classroom.files({FIRST: code, SECOND: classroom.ANSWERS[SECOND]})[f"{LESSON.id}.ipynb"].encode()


def _changed(change: Callable[[dict, str], None]) -> bytes:
    content = json.loads(_attacked("def <entry>(*args):\n    return 0", {}))
    change(content, FIRST)
    return json.dumps(content).encode()


def _earned(change: Callable[[dict, str], None]) -> int:
    return getattr(change, "earned", SECOND_POINTS)


def _slug(name: str) -> str:
    return "-".join(name.replace("/", " ").split())
