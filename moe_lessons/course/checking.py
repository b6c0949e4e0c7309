"""``check`` and ``hint``: judge a learner's answer and say what to do next."""

import contextlib
import html
import sys
from collections.abc import Callable, Sequence
from typing import Any

from moe_lessons.course import after_pass, judged_cell, store
from moe_lessons.course.looks import RESULTS, SMALL, TITLE, chip
from moe_lessons.course.printed import Printed
from moe_lessons.course.show import Card, count, inline, never_raises, say, show
from moe_lessons.exercises import needs, registry
from moe_lessons.exercises.findings import Finding
from moe_lessons.exercises.judge import Report, judge, local
from moe_lessons.exercises.own_code import borrowed, from_other_cells
from moe_lessons.exercises.replies import an
from moe_lessons.exercises.spec import Exercise, Mistake

_MARKS = {True: "✔", False: "✘", None: "–"}


@never_raises
def check(id: str, answer: Callable[..., Any] | None = None, *, demo: bool = False) -> None:
    """Judge your answer to an exercise; show a card with the verdict, remember the result.

    The code of an answer that passes is kept with the progress: `yours` gives it from then on.

    Parameters
    ----------
    id : str
        The exercise, such as ``"01.router_logits"``.
    answer : callable, optional
        Your function; by default the one of the name that the exercise asks for, where ``check`` is called.
    demo : bool
        A lesson's demonstration with an answer of its own: shown, but not counted as an attempt of yours.
    """
    try:
        exercise = registry.exercise(id)
    except KeyError as error:
        say(error.args[0])
        return
    if needs.missing(exercise):
        say(f"– {id}: {needs.missing(exercise)}; it does not count here")
        return
    in_its_cell = answer is None and not demo
    judged = judged_cell.given(exercise.entry, answer)
    printed = Printed()
    # An endless stream of prints must not drown the card, nor a warning the line above it.
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        if in_its_cell:
            judged = judged_cell.find(exercise.entry, _caller_globals().get(exercise.entry))
        report = refused(exercise, judged.refused) if judged.refused else examine(exercise, judged.answer)
    if not demo:
        _remember(report, judged.source)
    notes = [judged.note] if judged.note else []
    if in_its_cell and report.status == "passed" and (names := from_other_cells(judged.answer)):
        notes.append(
            f"It needs {', '.join(names)} from another cell. A grader looks for that in the notebook too; "
            "it is safe once the answer's own cell imports or defines it."
        )
    show(card(report, printed.shown(), demo=demo, compare=not demo, notes=notes))


def _caller_globals() -> dict[str, Any]:
    """The globals of the cell that called into this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("moe_lessons.course."):
        frame = frame.f_back
    return frame.f_globals


def refused(exercise: Exercise, why: str) -> Report:
    """The report on a cell that is not run as Python, which a grader gives in the same words."""
    return Report(exercise, "failed", (Finding("runs without an error", False, why),))


def examine(exercise: Exercise, answer: Any) -> Report:
    """Judge a function object, with a report also for what is no function or is not the learner's own."""
    if answer is None:
        problem = f"there is no function `{exercise.entry}` yet: run the cell that defines it, then this one"
        return Report(exercise, "not attempted", (Finding(f"defines `{exercise.entry}`", False, problem),))
    if not callable(answer):
        problem = f"`{exercise.entry}` is {an(type(answer).__name__)}, not a function"
        return Report(exercise, "failed", (Finding(f"defines `{exercise.entry}`", False, problem),))
    found = borrowed(answer, exercise.forbidden)
    if found is not None:
        module = found.split(".<")[0]
        message = (
            f"Your function uses `{module}`. The exercise asks for your own code; torch is yours to use."
        )
        finding = Finding("your own code", False, f"uses {module}")
        return Report(exercise, "failed", (finding,), Mistake("borrowed", message, hint=0))
    return judge(exercise, local(answer))


@never_raises
def hint(id: str, number: int | None = None) -> None:
    """Show one of an exercise's three hints, by default the next (the notebook also has them, folded)."""
    try:
        exercise = registry.exercise(id)
    except KeyError as error:
        say(error.args[0])
        return
    last = len(exercise.hints)
    if number is None:
        number = min(store.load()["hints"].get(id, 0) + 1, last)
        store.update(lambda progress: progress["hints"].__setitem__(id, number))
    if number not in range(1, last + 1):
        say(f"There are hints 1 to {last}.")
        return
    say(f"Hint {number} of {last}: {exercise.hints[number - 1]}")


def _remember(report: Report, source: str) -> None:
    def change(progress: store.Progress) -> None:
        record = progress["exercises"].setdefault(report.exercise.id, {"attempts": 0, "passed": False})
        if report.status != "not attempted":
            record["attempts"] += 1
        record["passed"] = record["passed"] or report.status == "passed"
        if report.status == "passed" and source:
            record["source"] = source

    if report.status != "not attempted":
        store.update(change)


def card(
    report: Report,
    printed: str = "",
    *,
    demo: bool = False,
    compare: bool = False,
    notes: Sequence[str] = (),
) -> Card:
    """What a learner sees: the verdict, each finding, the mistake that was recognised, where to look.

    A ``demo`` says that it does not count, ``notes`` say what was judged. After a pass, ``compare`` adds what
    comes next and the published answer, folded.
    """
    uncounted = "Demonstration, not counted." if demo else ""
    text, body = _text(report, printed, uncounted, notes), _body(report, printed, uncounted, notes)
    made = Card(text, body, RESULTS[report.status].color)
    return after_pass.added(made, report.exercise) if compare and report.status == "passed" else made


def _later(report: Report) -> str:
    """What an earlier problem kept the judge from, in one line."""
    names = [finding.name for finding in report.findings if finding.passed is None]
    return f"{_MARKS[None]} not looked at yet: {', '.join(names)}" if names else ""


def _advice(report: Report) -> str:
    if report.status == "not attempted" and not report.findings:
        still = f"`{report.exercise.entry}` still comes to `raise NotImplementedError`"
        return f"{still}: put your code in its place, run that cell, then this one."
    if report.status != "failed" or (report.misconception and report.misconception.id == "borrowed"):
        return ""
    unhinted = report.misconception is None or report.misconception.hint == 0
    if unhinted and not _whole(report):
        return f'Mend this first; then the check can look at the rest. A hint: `hint("{report.exercise.id}")`'
    if report.misconception is None:
        return f'This is not a mistake we know by name. A hint: `hint("{report.exercise.id}")`'
    number = report.misconception.hint
    if unhinted:
        return ""
    advice = f'Hint {number} is about this: `hint("{report.exercise.id}", {number})`'
    # Recognised by the inputs that it ran on.
    return advice if _whole(report) else f"{advice}. The error above may be another mistake."


def _whole(report: Report) -> bool:
    """Whether the answer returned something to look at on all inputs (the first two findings)."""
    return all(finding.passed for finding in report.findings[:2])


def _reached(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.passed is not None]


def _text(report: Report, printed: str, uncounted: str, notes: Sequence[str]) -> str:
    lines = [f"{uncounted} {report.line}".strip(), *(f"  {note}" for note in notes)]
    if report.findings:
        lines.append(report.exercise.title)
    for finding in _reached(report):
        detail = f": {finding.detail}" if finding.detail else ""
        lines.append(f"  {_MARKS[finding.passed]} {finding.name}{detail}")
    if _later(report):
        lines.append(f"  {_later(report)}")
    if report.misconception:
        lines.append(f"What may have happened: {report.misconception.message}")
    if report.observation:
        lines.append(f"What agrees: {report.observation}")
    lines.append(_advice(report).replace("`", ""))
    if printed:
        lines.append(f"Your code printed:\n{printed}")
    return "\n".join(filter(None, lines))


def _body(report: Report, printed: str, uncounted: str, notes: Sequence[str]) -> str:
    points = (
        f" · {report.points} of {count(report.points, 'point')}" if report.points and not uncounted else ""
    )
    title = f'<strong style="font-size:{TITLE}">{inline(report.exercise.title)}</strong>{points}'
    parts = [f"<div>{chip(RESULTS[report.status])}{title}</div>"]
    parts += [
        f'<div style="margin:.4em 0 0;font-size:{SMALL}">{inline(note)}</div>'
        for note in filter(None, (uncounted, *notes))
    ]
    rows = []
    for finding in _reached(report):
        line = f"{_MARKS[finding.passed]} {inline(finding.name)}"
        if not finding.passed:
            line = f"<strong>{line}</strong>"
        if finding.detail:
            line += f'<div style="margin-left:1.4em"><code>{html.escape(finding.detail)}</code></div>'
        rows.append(f"<li>{line}</li>")
    if _later(report):
        rows.append(f'<li style="opacity:.7">{inline(_later(report))}</li>')
    if rows:
        parts.append(f'<ul style="list-style:none;padding-left:0;margin:.4em 0">{"".join(rows)}</ul>')
    if report.misconception:
        message = inline(report.misconception.message)
        parts.append(f'<p style="margin:.4em 0"><strong>What may have happened.</strong> {message}</p>')
    if report.observation:
        seen = inline(report.observation)
        parts.append(f'<p style="margin:.4em 0"><strong>What agrees.</strong> {seen}</p>')
    if _advice(report):
        parts.append(f'<p style="margin:.4em 0">{inline(_advice(report))}</p>')
    if printed:
        parts.append(
            f"<details><summary>Your code printed</summary><pre>{html.escape(printed)}</pre></details>"
        )
    return "".join(parts)
