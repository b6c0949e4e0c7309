"""A learner's feedback page: one HTML file that needs nothing else and never shows a solution."""

import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from moe_lessons.grade import catalogue, escape
from moe_lessons.grade.records import (
    CANNOT_RUN,
    FAILED,
    FAULT,
    NOT_ATTEMPTED,
    NOT_FOUND,
    NOT_HANDED_IN,
    PASSED,
    Grade,
    Outcome,
)

_SAID = {
    PASSED: "✔ Passed",
    FAILED: "✘ Not right yet",
    NOT_ATTEMPTED: "○ Not attempted",
    NOT_FOUND: "– The answer cell is missing",
    NOT_HANDED_IN: "– No notebook of this lesson",
    CANNOT_RUN: "– Not graded: the machine that graded lacks what it needs; it counts for no one",
    FAULT: "! The grader failed here; this is not your doing",
}
_MARKS = {True: "✔", False: "✘", None: "–"}


def page(grade: Grade, seed: int, note: str) -> str:
    """The page of one learner.

    Parameters
    ----------
    grade : Grade
    seed : int
        Of the run; shown so that a question about the grade can be settled.
    note : str
        What stood between answers and the grader.
    """
    lessons = []
    for number in sorted({outcome.exercise.split(".")[0] for outcome in grade.outcomes}):
        mine = [outcome for outcome in grade.outcomes if outcome.exercise.startswith(f"{number}.")]
        lessons.append(
            {
                "title": f"{number} · {catalogue.lesson(number).title}",
                "points": sum(outcome.points for outcome in mine),
                "of": sum(outcome.of for outcome in mine),
                "exercises": [_exercise(outcome, grade.comments) for outcome in mine],
            }
        )
    return _template().render(
        learner=grade.submission.learner,
        points=f"{grade.points:g}",
        of=grade.of,
        deducted=f"{grade.deducted:g}" if grade.deducted else "",
        comment=grade.comments.get("", ""),
        warnings=grade.submission.warnings,
        lessons=lessons,
        seed=seed,
        note=note,
    )


def file_names(learners: list[str]) -> dict[str, str]:
    """A file name for each learner, safe on every system and each different.

    Examples
    --------
    >>> file_names(["ada", "a/da", "a?da", "Zoë"])
    {'ada': 'ada.html', 'a/da': 'a_da.html', 'a?da': 'a_da-2.html', 'Zoë': 'Zoë.html'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for learner in learners:
        base = _safe(learner)
        name, number = base, 1
        while name.casefold() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.casefold())
        names[learner] = f"{name}.html"
    return names


def _safe(name: str) -> str:
    """Letters and digits of any script, and few signs; at most 200 bytes, which leaves room for a number."""
    composed = unicodedata.normalize("NFC", name)
    letters = (c if c in "._-" or unicodedata.category(c)[0] in "LMN" else "_" for c in composed)
    short = re.sub("_+", "_", "".join(letters)).encode()[:200].decode(errors="ignore").strip(".") or "learner"
    return f"_{short}" if re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", short) else short


def _exercise(outcome: Outcome, comments: dict[str, str]) -> dict[str, Any]:
    verdict = outcome.verdict
    mistake = verdict.misconception
    return {
        "id": outcome.exercise,
        "title": _inline(outcome.title),
        "points": outcome.points,
        "of": outcome.of,
        "status": verdict.status.replace(" ", "-"),
        "said": _SAID[verdict.status],
        # What was not reached says nothing to the learner.
        "findings": [
            (_MARKS[ok], _inline(name), more) for name, ok, more in verdict.findings if ok is not None
        ],
        "mistake": _inline(mistake[1]) if mistake else None,
        "observation": _inline(verdict.observation) if verdict.observation else None,
        "hint": advice(outcome),
        "comment": comments.get(outcome.exercise, ""),
    }


def advice(outcome: Outcome) -> str | None:
    """What to do next, as ``check`` would say it; None where there is nothing to say."""
    verdict = outcome.verdict
    if verdict.status == NOT_ATTEMPTED:
        return "Begin with the first hint below the exercise's check."
    mistake = verdict.misconception
    if verdict.status != FAILED or (mistake and mistake[0] == "borrowed"):
        return None
    ran = all(ok for _, ok, _ in verdict.findings[:2])
    hint = mistake[2] if mistake else 0
    if not hint and not ran:  # it did not run, or there is no such function, or it is of another shape
        return "Mend this first; then the rest can be compared. Hint 1 says how to begin."
    if not mistake:
        return "This is not a mistake we know by name. Compare with the line above, then read hint 1."
    if not hint:
        return None
    more = "" if ran else " The error above may be another mistake."
    return f"Read hint {hint} below the exercise's check.{more}"


def _inline(text: str) -> Markup:
    return Markup(escape.prose(text))


def _escaped(value: object) -> Markup:
    return value if isinstance(value, Markup) else Markup(escape.html(str(value)))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, finalize=_escaped, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((Path(__file__).parent / "feedback.html.j2").read_text(encoding="utf-8"))
