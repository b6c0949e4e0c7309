"""What an instructor states once for a class: the lessons that count, late days, comments, exports."""

import csv
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moe_lessons.grade import catalogue
from moe_lessons.grade.records import Grade, Late, Notebook, RefusedError, Submission

EXPORTS = ("canvas", "moodle", "gradescope")
ROSTER = ("learner", "name", "email", "login", "id", "sis_id", "section")
_KEYS = ("lessons", "roster", "late", "comments", "exports", "columns", "excel")


@dataclass(frozen=True)
class Settings:
    """A class file, read and checked."""

    lessons: tuple[str, ...] = ()
    roster: dict[str, dict[str, str]] = field(default_factory=dict)
    """By learner: what a platform knows them by."""
    late: dict[str, tuple[Late, ...]] = field(default_factory=dict)
    comments: dict[str, dict[str, str]] = field(default_factory=dict)
    """By learner and exercise ("" for all of it)."""
    exports: tuple[str, ...] = ()
    columns: str = "lesson"
    """What a column of an export stands for: a lesson, or an exercise."""
    excel: bool = False
    """Whether tables begin with a byte-order mark, by which Excel knows UTF-8."""


def read(path: Path) -> Settings:
    """The settings in a class file; RefusedError, in one line, for what is wrong in it.

    Parameters
    ----------
    path : Path
        A TOML file. Files that it names are looked for beside it.
    """
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RefusedError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RefusedError(f"{path.name} is not TOML: {error}") from None
    for key in said:
        if key not in _KEYS:
            raise RefusedError(f"{path.name}: no setting {key!r}; there are {', '.join(_KEYS)}")
    lessons = tuple(str(number) for number in _listed(said, "lessons", path))
    known = [lesson.number for lesson in catalogue.lessons()]
    for number in lessons:
        if number not in known:
            raise RefusedError(f"{path.name}: no lesson {number!r}; there are {', '.join(known)}")
    exports = tuple(_listed(said, "exports", path))
    for name in exports:
        if name not in EXPORTS:
            raise RefusedError(f"{path.name}: no export {name!r}; there are {', '.join(EXPORTS)}")
    columns = said.get("columns", "lesson")
    if columns not in ("lesson", "exercise"):
        raise RefusedError(f"{path.name}: columns = {columns!r}: give 'lesson' or 'exercise'")
    return Settings(
        lessons,
        _roster(said, path),
        _late(said, path),
        _comments(said, path),
        exports,
        columns,
        bool(said.get("excel", False)),
    )


def with_everyone(found: Sequence[Submission], settings: Settings) -> list[Submission]:
    """All who handed in, and those of the roster who did not."""
    there = {submission.learner for submission in found}
    absent = [name for name in settings.roster if name not in there]
    nothing = [Submission(n, (Notebook(n, problem="nothing was handed in"),), alone=False) for n in absent]
    return sorted([*found, *nothing], key=lambda one: one.learner)


def adjusted(grade: Grade, settings: Settings) -> Grade:
    """A grade with what the class file says about its learner."""
    name = grade.submission.learner
    return replace(grade, late=settings.late.get(name, ()), comments=dict(settings.comments.get(name, {})))


def _roster(said: dict[str, Any], path: Path) -> dict[str, dict[str, str]]:
    rows = _table(said, "roster", path, ("learner",), ROSTER)
    return {row["learner"]: row for row in rows}


def _late(said: dict[str, Any], path: Path) -> dict[str, tuple[Late, ...]]:
    found: dict[str, tuple[Late, ...]] = {}
    for row in _table(said, "late", path, ("learner", "days", "percent"), ("lesson",)):
        lesson = row.get("lesson", "")
        if lesson:
            _require(lesson in {one.number for one in catalogue.lessons()}, said["late"], row, "lesson")
        try:
            late = Late(lesson, float(row["days"] or 0), float(row["percent"] or 0))
        except ValueError:
            raise RefusedError(f"{said['late']}: days and percent are numbers, not {row}") from None
        _require(0 <= late.percent <= 100, said["late"], row, "percent")
        found[row["learner"]] = (*found.get(row["learner"], ()), late)
    return found


def _comments(said: dict[str, Any], path: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    known = {one.id for lesson in catalogue.lessons() for one in lesson.exercises}
    for row in _table(said, "comments", path, ("learner", "comment"), ("exercise",)):
        id = row.get("exercise", "")
        _require(not id or id in known, said["comments"], row, "exercise")
        mine = found.setdefault(row["learner"], {})
        mine[id] = f"{mine[id]}\n{row['comment']}" if id in mine else row["comment"]
    return found


def _require(holds: bool, file: str, row: dict[str, str], column: str) -> None:
    if not holds:
        raise RefusedError(f"{file}: {column} {row[column]!r} of {row['learner']} is none")


def _table(
    said: dict[str, Any], key: str, path: Path, needed: tuple[str, ...], more: tuple[str, ...]
) -> list[dict[str, str]]:
    if key not in said:
        return []
    file = path.parent / str(said[key])
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RefusedError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from None
    for row in rows:
        missing = [column for column in needed if row.get(column) is None]
        if missing:
            columns = ", ".join(dict.fromkeys([*needed, *more]))
            raise RefusedError(f"{file.name}: no {', '.join(missing)} in a row; its columns are {columns}")
    return [{str(k): (v or "").strip() for k, v in row.items() if k is not None} for row in rows]


def _listed(said: dict[str, Any], key: str, path: Path) -> list[Any]:
    found = said.get(key, [])
    if not isinstance(found, list):
        raise RefusedError(f'{path.name}: {key} is a list, such as {key} = ["01"]')
    return found
