"""What a learner has built: by lesson from the progress, and the training runs of a folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moe_lessons.course import store
from moe_lessons.exercises import registry
from moe_lessons.exercises.needs import runnable
from moe_lessons.exercises.spec import Lesson, Prediction


@dataclass(frozen=True)
class Share:
    """So many of so many.

    Examples
    --------
    >>> print(Share(3, 4))
    3 of 4
    """

    done: int
    of: int

    def __str__(self) -> str:
        return f"{self.done} of {self.of}"


@dataclass(frozen=True)
class Row:
    """What was done in one lesson: points, own functions, and predictions and quizzes that came true."""

    lesson: Lesson
    points: Share
    functions: tuple[str, ...]
    lines: int
    predictions: Share
    quizzes: Share

    @property
    def is_begun(self) -> bool:
        """Whether anything was done at all."""
        return bool(self.points.done or self.functions or self.predictions.of or self.quizzes.of)


@dataclass(frozen=True)
class Run:
    """A training run as its log tells it; a number is None where the log has none."""

    name: str
    steps: int
    tokens: int
    bits: float | None
    effective_experts: float | None


def row_of(lesson: Lesson, progress: store.Progress) -> Row:
    """One lesson's row."""
    records = progress["exercises"]
    exercises = runnable(lesson.exercises)
    passed = [one for one in exercises if records.get(one.id, {}).get("passed")]
    own = [one for one in passed if "source" in records[one.id]]
    predicted = [one for one in lesson.predictions if one.id in progress["predictions"]]
    answered = [one for one in lesson.quizzes if one.id in progress["quizzes"]]
    return Row(
        lesson,
        Share(sum(one.points for one in passed), sum(one.points for one in exercises)),
        tuple(one.entry for one in own),
        sum(lines_of(records[one.id]["source"]) for one in own),
        Share(sum(progress["predictions"][one.id] == one.truth for one in predicted), len(predicted)),
        Share(sum(progress["quizzes"][one.id] for one in answered), len(answered)),
    )


def lines_of(source: str) -> int:
    """Lines of code of a cell, without blank ones and comments.

    Examples
    --------
    >>> lines_of("# mine\\n\\ndef f(x):\\n    return x  # as it is")
    2
    """
    lines = (line.strip() for line in source.splitlines())
    return sum(bool(line) and not line.startswith("#") for line in lines)


def missed_predictions(progress: store.Progress) -> list[tuple[Prediction, int]]:
    """Predictions that the experiment did not bear out, with what was predicted, in teaching order."""
    made = progress["predictions"]
    asked = [one for lesson in registry.lessons() for one in lesson.predictions]
    return [
        (one, made[one.id])
        for one in asked
        if one.id in made and made[one.id] != one.truth and made[one.id] in range(len(one.options))
    ]


def runs_in(folder: Path) -> list[Run]:
    """The runs in a folder, by name; what has no log that can be read is left out.

    Parameters
    ----------
    folder : Path
        With a folder for each run, as ``moe-lessons train`` makes it.

    Examples
    --------
    >>> runs_in(Path("no such folder"))
    []
    """
    try:
        logs = sorted(folder.glob("*/log.jsonl"))
    except OSError:
        return []
    return [run for log in logs if (run := _run(log)) is not None]


def _run(log: Path) -> Run | None:
    records = []
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
        for line in lines:
            records.append(json.loads(line))
    except (OSError, ValueError, RecursionError):
        pass  # a killed run may not have finished its last line
    records = [one for one in records if isinstance(one, dict) and isinstance(one.get("step"), int)]
    if not records:
        return None
    bits = [
        one for one in map(_number, (r.get("validation_bits_per_byte") for r in records)) if one is not None
    ]
    layers = records[-1].get("effective_experts_by_layer")
    used = [_number(layer) for layer in layers] if isinstance(layers, list) else []
    found = [layer for layer in used if layer is not None]
    return Run(
        log.parent.name,
        records[-1]["step"],
        int(_number(records[-1].get("tokens")) or 0),
        min(bits) if bits else None,
        min(found) if found else None,
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
