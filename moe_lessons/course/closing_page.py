"""``closing``: what you built, in numbers, from your progress and from the runs in a folder."""

import html
from pathlib import Path

from moe_lessons.course import store
from moe_lessons.course.built import Row, Run, Share, missed_predictions, row_of, runs_in
from moe_lessons.course.looks import SMALL
from moe_lessons.course.show import Card, count, inline, never_raises, show
from moe_lessons.exercises import registry
from moe_lessons.exercises.needs import runnable
from moe_lessons.exercises.spec import Prediction

_LEFT = ' style="text-align:left;vertical-align:top"'
_MOST_RUNS = 20


@never_raises
def closing(runs: str | Path = "runs") -> None:
    """Show what you built in the whole course: functions, points, predictions right and wrong, runs.

    Parameters
    ----------
    runs : path
        The folder that ``moe-lessons train`` writes to, relative to where the notebook runs.
    """
    progress = store.load()
    rows = [row_of(lesson, progress) for lesson in registry.lessons()]
    trained = runs_in(Path(runs))
    if store.is_apart():  # a published notebook tells of itself: no runs beside it, no other lessons
        rows, trained = [row for row in rows if row.is_begun], []
    missed = missed_predictions(progress)
    show(Card(_text(rows, trained, missed, progress), _body(rows, trained, missed, progress)))


def _summary(rows: list[Row], progress: store.Progress) -> list[str]:
    """Sentences with the numbers of the whole course."""
    points = Share(sum(row.points.done for row in rows), sum(row.points.of for row in rows))
    functions = sum(len(row.functions) for row in rows)
    lines = sum(row.lines for row in rows)
    begun = sum(row.is_begun for row in rows)
    predicted = Share(sum(row.predictions.done for row in rows), sum(row.predictions.of for row in rows))
    answered = Share(sum(row.quizzes.done for row in rows), sum(row.quizzes.of for row in rows))
    mine = f"{count(functions, 'function')} of your own, {count(lines, 'line')} of code"
    said = [f"{mine}, in {begun} of {count(len(rows), 'lesson')}: {points} points."]
    if predicted.of:
        missed = predicted.of - predicted.done
        said.append(
            f"{count(predicted.of, 'prediction')}: {predicted.done} came true, {missed} did not. "
            "The second kind is where something was learned."
        )
    if answered.of:
        said.append(
            f"{count(answered.of, 'question')} answered, {answered.done} of them right at the last try."
        )
    tries = {id: record["attempts"] for id, record in progress["exercises"].items() if record["passed"]}
    longest = max(tries, key=lambda id: tries[id], default="")
    if longest and tries[longest] > 2:
        said.append(f"Most attempts went into {longest}: {tries[longest]}.")
    return said


def _open(rows: list[Row], progress: store.Progress) -> str:
    """What is left, if anything."""
    done = {id for id, record in progress["exercises"].items() if record["passed"]}
    left = [one.id for row in rows for one in runnable(row.lesson.exercises) if one.id not in done]
    if store.is_apart():
        return "In a notebook of your own this tells of the whole course, and of your runs."
    if not left:
        return "Every exercise of the course has passed."
    shown = ", ".join(left[:5])
    return f"Still open: {shown}{f' and {len(left) - 5} more' if len(left) > 5 else ''}."


_HEAD = ("Lesson", "Points", "Your functions", "Lines", "Predictions", "Questions")


def _cells(row: Row) -> tuple[str, ...]:
    of = [str(share) if share.of else "" for share in (row.predictions, row.quizzes)]
    lines = f"{row.lines:,}" if row.lines else ""
    return (f"{row.lesson.number}  {row.lesson.title}", str(row.points), ", ".join(row.functions), lines, *of)


def _run_cells(run: Run) -> tuple[str, ...]:
    bits = "" if run.bits is None else f"{run.bits:.3f}"
    used = "" if run.effective_experts is None else f"{run.effective_experts:.1f}"
    return (run.name, f"{run.steps:,}", f"{run.tokens:,}", bits, used)


_RUN_HEAD = ("Run", "Steps", "Tokens", "Best bits per byte, held out", "Effective experts, worst layer")


def _text(
    rows: list[Row], trained: list[Run], missed: list[tuple[Prediction, int]], progress: store.Progress
) -> str:
    lines = ["What you built", *(f"  {said}" for said in _summary(rows, progress))]
    for row in filter(lambda row: row.is_begun, rows):
        name, points, functions, code, predictions, quizzes = _cells(row)
        parts = [f"{points} points", f"{code} lines: {functions}" if functions else ""]
        parts += [
            f"predictions {predictions}" if predictions else "",
            f"questions {quizzes}" if quizzes else "",
        ]
        lines.append(f"  {name}: {'; '.join(filter(None, parts))}")
    if trained:
        lines.append(f"  {count(len(trained), 'run')} of training:")
        for run in trained[:_MOST_RUNS]:
            name, steps, tokens, bits, _ = _run_cells(run)
            lines.append(
                f"    {name}: {steps} steps, {tokens} tokens" + (f", {bits} bits per byte" if bits else "")
            )
    lines += [
        f"  {_question(one)}\n    you: {_option(one, at)}; the experiment: {_option(one)}"
        for one, at in missed
    ]
    return "\n".join([*lines, f"  {_open(rows, progress)}"])


def _body(
    rows: list[Row], trained: list[Run], missed: list[tuple[Prediction, int]], progress: store.Progress
) -> str:
    parts = ["<p><strong>What you built</strong></p>"]
    parts += [
        f'<p style="margin:.3em 0">{html.escape(said, quote=False)}</p>' for said in _summary(rows, progress)
    ]
    begun = [_cells(row) for row in rows if row.is_begun]
    parts.append(_table(_HEAD, begun))
    if trained:
        parts.append(_table(_RUN_HEAD, [_run_cells(run) for run in trained[:_MOST_RUNS]]))
        if len(trained) > _MOST_RUNS:
            parts.append(f"<p>And {count(len(trained) - _MOST_RUNS, 'more run')}.</p>")
    if missed:
        told = "".join(
            f"<li>{inline(_question(one))}<br>You: {inline(_option(one, at))}. The experiment: "
            f"{inline(_option(one))}. {inline(one.because)}</li>"
            for one, at in missed
        )
        summary = f"{count(len(missed), 'prediction')} that did not come true"
        parts.append(f"<details><summary>{summary}</summary><ol>{told}</ol></details>")
    parts.append(f'<p style="font-size:{SMALL}">{_open(rows, progress)}</p>')
    return "".join(parts)


def _question(one: Prediction) -> str:
    return f"{one.id}: {one.question}"


def _option(one: Prediction, at: int | None = None) -> str:
    return one.options[one.truth if at is None else at].rstrip(".")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    names = "".join(f"<th{_LEFT}>{name}</th>" for name in head)
    body = "".join(
        f"<tr>{''.join(f'<td{_LEFT}>{html.escape(cell, quote=False)}</td>' for cell in row)}</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"
