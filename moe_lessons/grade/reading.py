"""Read a file that a learner handed in, whatever it is: its answers, or the one problem with it."""

import os
import stat
from functools import cache
from pathlib import Path

from moe_lessons.grade import catalogue
from moe_lessons.grade.reader import Reader
from moe_lessons.grade.records import Notebook
from moe_lessons.grade.texts import Packed

MAX_FILE = 20 << 20


class _UnreadableError(Exception):
    pass


def read(path: Path, name: str) -> Notebook:
    """The answers in a file, or the problem with it; never raises for what a file holds.

    Parameters
    ----------
    path : Path
    name : str
        What results call the file.
    """
    try:
        found = _reader().read(_bytes(path))
    except _UnreadableError as error:
        return Notebook(name, problem=str(error))
    if "problem" in found:
        return Notebook(name, problem=found["problem"])
    return Notebook(
        name,
        found["lesson"],
        Packed(found["answers"]),
        tuple(found["warnings"]),
        beside=Packed(found["beside"]),
        stubs=tuple(found["stubs"]),
        looks={id: tuple(looks) for id, looks in found["looks"].items()},
    )


def rest() -> None:
    """End the process that reads, if there is one; the next file starts it again."""
    if _reader.cache_info().currsize:
        _reader().close()


@cache
def _reader() -> Reader:
    lessons = catalogue.lessons()
    return Reader(
        {
            "lessons": {lesson.number: lesson.id for lesson in lessons},
            "entries": {exercise.id: exercise.entry for lesson in lessons for exercise in lesson.exercises},
        }
    )


def _bytes(path: Path) -> bytes:
    try:
        _require_regular(os.lstat(path))
        # Again without following links or waiting for a pipe: the file may have been replaced in between.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with open(os.open(path, flags), "rb") as file:
            _require_regular(os.fstat(file.fileno()))
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise _UnreadableError(f"cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE:
        raise _UnreadableError(f"larger than {MAX_FILE >> 20} MB")
    return content


def _require_regular(about: os.stat_result) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise _UnreadableError("not a regular file (links are not followed)")
