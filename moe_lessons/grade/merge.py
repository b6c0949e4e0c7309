"""Put the parts of a class together that were graded apart, with ``--shard``."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from moe_lessons.grade import results
from moe_lessons.grade.records import ClassGrades, RefusedError


def merge(parts: Sequence[Path]) -> ClassGrades:
    """One class from the results of its parts.

    Parameters
    ----------
    parts : sequence of Path
        Folders that ``moe-lessons grade --out`` wrote, or their ``results.json``.

    Raises
    ------
    RefusedError
        If a part is no such thing or is missing, a learner is in two of them, or they were not graded alike.
    """
    found = [(path, _read(path)) for path in parts]
    first_path, first = found[0]
    seen: dict[str, Path] = {}
    for path, part in found:
        for what, mine, other in (
            ("version of the course", part.course, first.course),
            ("seed", part.seed, first.seed),
            ("limits", part.limits, first.limits),
            ("isolation", part.isolation.kind, first.isolation.kind),
        ):
            if mine != other:
                raise RefusedError(f"{path} has another {what} than {first_path}: {mine}, not {other}")
        for grade in part.grades:
            name = grade.submission.learner
            if name in seen:
                raise RefusedError(f"{name} is in {seen[name]} and in {path}")
            seen[name] = path
    _require_everyone([part for _, part in found])
    grades = sorted((grade for _, part in found for grade in part.grades), key=lambda g: g.submission.learner)
    lessons = sorted({number for _, part in found for number in part.lessons})
    seconds = round(sum(_seconds(path) for path in parts), 2)
    return replace(
        first, grades=tuple(grades), lessons=tuple(lessons), seconds=seconds, class_size=len(grades)
    )


def _seconds(part: Path) -> float:
    """How long a part took; 0 where nothing beside its results says so."""
    file = (part if part.is_dir() else part.parent) / "timing.json"
    try:
        return float(json.loads(file.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _require_everyone(parts: Sequence[ClassGrades]) -> None:
    """A part forgotten, or graded when there were other learners, would leave some out without a word."""
    sizes = {part.class_size for part in parts if len(part.grades) < part.class_size}
    there = sum(len(part.grades) for part in parts)
    if len(sizes) > 1:
        raise RefusedError(
            f"the class had {' and '.join(map(str, sorted(sizes)))} learners: grade all parts again"
        )
    if sizes and there != max(sizes):
        raise RefusedError(f"these parts hold {there} of {max(sizes)} learners: a part is missing")


def _read(path: Path) -> ClassGrades:
    file = path / "results.json" if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise RefusedError(f"cannot read {file}: give the folders that grade --shard wrote") from None
    return results.read(text, str(file))
