"""Take the answer cells out of a notebook, whatever the file is; nothing else of it is used."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from moe_lessons.exercises import registry
from moe_lessons.grade.records import Notebook

MAX_FILE = 20 << 20
MAX_CELLS = 2000
MAX_ANSWER = 200_000
"""Characters in one answer cell."""


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
        found = parse(_bytes(path))
        cells = _cells(found)
        answers, warnings = _answers(cells)
        lesson = _lesson(found, answers)
    except _UnreadableError as error:
        return Notebook(name, problem=str(error))
    return Notebook(name, lesson, answers, tuple(warnings))


def parse(content: bytes) -> dict[str, Any]:
    """The notebook in a file's bytes."""
    if not content.strip():
        raise _UnreadableError("the file is empty")
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _UnreadableError("not a notebook: the text is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        reason = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "too deep or too long"
        raise _UnreadableError(f"not a notebook: the JSON is broken ({reason})") from None
    if not isinstance(found, dict) or not {"cells", "nbformat"} & set(found):
        raise _UnreadableError("not a notebook: JSON, but without cells")
    if found.get("nbformat") != 4:
        raise _UnreadableError(f"notebook format {str(found.get('nbformat'))[:20]}; format 4 is needed")
    return found


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


def _cells(found: dict[str, Any]) -> list[dict[str, Any]]:
    cells = found.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise _UnreadableError("not a notebook: its cells are malformed")
    if len(cells) > MAX_CELLS:
        raise _UnreadableError(f"{len(cells)} cells; at most {MAX_CELLS} are read")
    return cells


def _answers(cells: list[dict[str, Any]]) -> tuple[dict[str, str], list[str]]:
    answers: dict[str, str] = {}
    warnings, doubled = [], []
    for cell in cells:
        id = _ours(cell).get("answer")
        if not isinstance(id, str):
            continue
        source = _source(cell)
        problem = _problem(id, cell, source)
        if problem:
            warnings.append(problem)
            continue
        if id in answers:
            doubled.append(id)
        answers[id] = source or ""
    if doubled:
        names = ", ".join(dict.fromkeys(doubled))
        warnings.append(f"more than one cell answers {names}; the last one counts")
    return answers, list(dict.fromkeys(warnings))


def _problem(id: str, cell: dict[str, Any], source: str | None) -> str | None:
    try:
        registry.exercise(id)
    except KeyError:
        return f"an answer to {id[:60]!r}, which is no exercise of this course, is left out"
    if cell.get("cell_type") != "code":
        return f"the answer to {id} is not in a code cell and is left out"
    if source is None or len(source) > MAX_ANSWER:
        return f"the answer to {id} is malformed or longer than {MAX_ANSWER} characters and is left out"
    return None


def _lesson(found: dict[str, Any], answers: dict[str, str]) -> str:
    named = _ours(found).get("lesson")
    known = {lesson.id for lesson in registry.lessons()}
    if isinstance(named, str) and named in known:
        return named
    if answers:
        return registry.lesson(next(iter(answers))).id
    if isinstance(named, str):
        raise _UnreadableError(f"a notebook of lesson {named[:60]!r}, which this course does not have")
    raise _UnreadableError("a notebook of another course: it has no answer cells of this one")


def _ours(holder: dict[str, Any]) -> dict[str, Any]:
    metadata = holder.get("metadata")
    ours = metadata.get("moe_lessons") if isinstance(metadata, dict) else None
    return ours if isinstance(ours, dict) else {}


def _source(cell: dict[str, Any]) -> str | None:
    source = cell.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    return source if isinstance(source, str) else None
