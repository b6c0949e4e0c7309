"""``claim``: settle a sentence that explainers make, with what a cell has computed."""

import html
import textwrap

from moe_lessons.course import starting
from moe_lessons.course.show import Card, inline, never_raises, say, show
from moe_lessons.exercises import registry
from moe_lessons.exercises.spec import Claim

_LEFT = ' style="text-align:left;vertical-align:top"'
_settled: dict[str, tuple[Claim, bool]] = {}


@never_raises
def claim(id: str, verdict: str, *, holds: bool) -> None:
    """Settle a claim of this lesson.

    Parameters
    ----------
    id : str
        The claim, such as ``"L16"``.
    verdict : str
        correct, imprecise, outdated, wrong, contested or unconfirmable.
    holds : bool
        Whether the experiment supports the verdict: a value that was computed, never a literal.
    """
    lesson = starting.current_lesson()
    if lesson is None:
        say('Run the set-up cell first: start("...") says which lesson this is.')
        return
    claims = {c.id: c for c in registry.lesson(lesson).claims}
    if id not in claims:
        say(f"Lesson {lesson} has no claim {id!r}; it has {', '.join(claims)}.")
        return
    found = claims[id]
    if verdict != found.verdict:
        say(f"{id}: the sources say {found.verdict}, not {verdict}.")
        return
    _settled[id] = (found, bool(holds))
    if holds:
        settled = f"{verdict.capitalize()}. {found.truth}"
    else:
        settled = f"This experiment does NOT show it {verdict}."
    say(_wrapped(f'{id}: "{found.said}"'))
    say(_wrapped(f"     {settled}"))


def _wrapped(line: str) -> str:
    """Lines of at most 100 characters: JupyterLab cuts longer ones within a word."""
    return textwrap.fill(line, 100, subsequent_indent=" " * 5, break_long_words=False, break_on_hyphens=False)


@never_raises
def claims_table() -> None:
    """Show every claim that this lesson settled: what is said, the verdict, what is true and where."""
    rows = sorted(_settled.values(), key=lambda row: (len(row[0].id), row[0].id))
    shown = {True: "shown here", False: "NOT supported here"}
    text = "\n".join(f"{c.id:<5} {c.verdict:<14} {shown[ok]:<19} {c.said}" for c, ok in rows)
    columns = ("Claim", "Said", "Verdict", "What is true", "Source")
    head = "".join(f"<th{_LEFT}>{name}</th>" for name in columns)
    body = "".join(
        f"<tr><td{_LEFT}>{c.id}</td><td{_LEFT}>{inline(c.said)}</td>"
        f"<td{_LEFT}><strong>{c.verdict}</strong><br>{shown[ok]}</td>"
        f"<td{_LEFT}>{inline(c.truth)}</td><td{_LEFT}>{html.escape(c.source)}</td></tr>"
        for c, ok in rows
    )
    show(Card(text, f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"))
