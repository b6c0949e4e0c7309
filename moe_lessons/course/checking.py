"""``check`` and ``hint``: judge a learner's answer and say what to do next."""

import html
import sys
from collections.abc import Callable
from typing import Any

from moe_lessons.course import store
from moe_lessons.course.show import Card, inline, show
from moe_lessons.exercises import registry
from moe_lessons.exercises.findings import Finding
from moe_lessons.exercises.judge import Report, judge, local
from moe_lessons.exercises.own_code import borrowed
from moe_lessons.exercises.spec import Exercise, Misconception

_MARKS = {True: "✔", False: "✘", None: "–"}


def check(id: str, answer: Callable[..., Any] | None = None) -> None:
    """Judge your answer to an exercise; print one line, show a card, remember the result.

    Parameters
    ----------
    id : str
        The exercise, such as ``"01.router_logits"``.
    answer : callable, optional
        Your function; by default the one of the name that the exercise asks for, where ``check`` is called.
    """
    try:
        exercise = registry.exercise(id)
    except KeyError as error:
        print(error.args[0])
        return
    if answer is None:
        answer = sys._getframe(1).f_globals.get(exercise.entry)
    report = examine(exercise, answer)
    _remember(report)
    print(report.line)
    if report.status != "not attempted":
        show(card(report))


def examine(exercise: Exercise, answer: Any) -> Report:
    """Judge a function object, with a report also for what is no function or is not the learner's own."""
    if answer is None:
        problem = f"there is no function `{exercise.entry}` yet: run the cell that defines it first"
        return Report(exercise, "failed", (Finding(f"defines `{exercise.entry}`", False, problem),))
    if not callable(answer):
        problem = f"`{exercise.entry}` is a {type(answer).__name__}, not a function"
        return Report(exercise, "failed", (Finding(f"defines `{exercise.entry}`", False, problem),))
    found = borrowed(answer, exercise.forbidden)
    if found is not None:
        module = found.split(".<")[0]
        message = (
            f"Your function uses `{module}`. The exercise asks for your own code; torch is yours to use."
        )
        finding = Finding("your own code", False, f"uses {module}")
        return Report(exercise, "failed", (finding,), Misconception("borrowed", message, wrong=answer))
    return judge(exercise, local(answer))


def hint(id: str) -> None:
    """Show the next of an exercise's three hints (the notebook also has them, folded)."""
    try:
        exercise = registry.exercise(id)
    except KeyError as error:
        print(error.args[0])
        return
    shown = min(store.load()["hints"].get(id, 0) + 1, len(exercise.hints))
    store.update(lambda progress: progress["hints"].__setitem__(id, shown))
    print(f"Hint {shown} of {len(exercise.hints)}: {exercise.hints[shown - 1]}")


def _remember(report: Report) -> None:
    def change(progress: store.Progress) -> None:
        record = progress["exercises"].setdefault(report.exercise.id, {"attempts": 0, "passed": False})
        if report.status != "not attempted":
            record["attempts"] += 1
        record["passed"] = record["passed"] or report.status == "passed"

    if report.status != "not attempted":
        store.update(change)


def card(report: Report) -> Card:
    """What a learner sees below the line: each finding, the mistake that was recognised, where to look."""
    return Card(_text(report), _body(report))


def _advice(report: Report) -> str:
    if report.status == "passed":
        return ""
    if report.misconception is None:
        return f'Not a mistake we know by name. A hint: hint("{report.exercise.id}")'
    if report.misconception.id == "borrowed":
        return ""
    return f"Hint {report.misconception.hint} below is about this."


def _text(report: Report) -> str:
    lines = [report.exercise.title]
    for finding in report.findings:
        detail = f": {finding.detail}" if finding.detail else ""
        lines.append(f"  {_MARKS[finding.passed]} {finding.name}{detail}")
    if report.misconception:
        lines.append(f"What may have happened: {report.misconception.message}")
    return "\n".join(filter(None, [*lines, _advice(report)]))


def _body(report: Report) -> str:
    rows = []
    for finding in report.findings:
        detail = f"<br><code>{html.escape(finding.detail)}</code>" if finding.detail else ""
        weight = ' style="font-weight:600"' if finding.passed is False else ""
        rows.append(f"<li{weight}>{_MARKS[finding.passed]} {inline(finding.name)}{detail}</li>")
    verdict = {"passed": "✔ Passed", "failed": "✘ Not right yet"}[report.status]
    parts = [f"<strong>{verdict}: {inline(report.exercise.title)}</strong>"]
    parts.append(f'<ul style="list-style:none;padding-left:0;margin:.4em 0">{"".join(rows)}</ul>')
    if report.misconception:
        parts.append(
            f"<p><strong>What may have happened.</strong> {inline(report.misconception.message)}</p>"
        )
    if _advice(report):
        parts.append(f"<p>{inline(_advice(report))}</p>")
    return "".join(parts)
