"""The ledger: every claim of every lesson with its verdict, and a link to the cell that settles it."""

import html
from collections import Counter

from moe_lessons.course.claims import linked
from moe_lessons.course.looks import VERDICTS, chip
from moe_lessons.course.show import count, inline
from moe_lessons.exercises.spec import Claim, Lesson

INTRODUCTION = """# The claims ledger

Explainers and papers say many things about Mixture-of-Experts. Each lesson takes some of these sentences
and settles them, by what a cell computes. Here are all of them. A verdict is about the sentence as it is
quoted: it says what the source given with it and our experiment bear out. A link leads to the cell that
settles the claim.
"""


def page(lessons: list[Lesson]) -> str:
    """The ledger as a page in Markdown; a script filters it, and without one everything is shown."""
    claims = [(claim, lesson) for lesson in lessons for claim in lesson.claims]
    return f"{INTRODUCTION}\n{_block(_filters([claim for claim, _ in claims]))}\n" + "\n".join(
        f"## {lesson.number} · {lesson.title}\n\n"
        + _block("\n".join(_row(claim, lesson) for claim in lesson.claims))
        for lesson in lessons
        if lesson.claims
    )


def _filters(claims: list[Claim]) -> str:
    """A line to search in and a box for each verdict, hidden until the script that answers them has run."""
    found = Counter(str(claim.verdict) for claim in claims)
    boxes = "".join(
        f'<label><input type="checkbox" name="verdict" value="{verdict}" checked> {chip(VERDICTS[verdict])}'
        f"{found[verdict]}</label>"
        for verdict in VERDICTS
        if found[verdict]
    )
    return (
        '<form class="ledger-filters" role="search" hidden>'
        '<label class="ledger-words">Search the claims <input type="search" name="words" '
        'placeholder="capacity, Mixtral, L28"></label>'
        f"<fieldset><legend>Verdict</legend>{boxes}</fieldset>"
        f'<p role="status">{count(len(claims), "claim")}</p></form>'
    )


def _row(claim: Claim, lesson: Lesson) -> str:
    cell = f"lessons/{lesson.id}.html#claim-{claim.id}"
    return (
        f'<article class="ledger-claim" id="{claim.id}" data-verdict="{claim.verdict}">'
        f"<p>{chip(VERDICTS[claim.verdict])}<strong>{claim.id}</strong> “{inline(claim.said)}”</p>"
        f"<p>{inline(claim.truth)}</p>"
        f'<p class="ledger-source">Source: {linked(claim.source)} · <a href="{cell}" '
        f'aria-label="{claim.id}: the cell that settles it">the cell that settles it, in lesson '
        f"{html.escape(lesson.number)}</a></p></article>"
    )


def _block(markup: str) -> str:
    """Markup that Markdown leaves alone: no line of it is empty."""
    return f"<div>{markup}</div>\n"
