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
    """The ledger as a page in Markdown; a script filters it, and without one everything is shown.

    A claim that two lessons settle, each by an experiment of its own, has a row under both.
    """
    settled: dict[str, list[Lesson]] = {}
    for lesson in lessons:
        for claim in lesson.claims:
            settled.setdefault(claim.id, []).append(lesson)
    parts = [INTRODUCTION, _block(_filters(distinct(lessons)))]
    for lesson in lessons:
        if lesson.claims:
            rows = "\n".join(_row(claim, lesson, settled[claim.id]) for claim in lesson.claims)
            parts += [f"## {lesson.number} · {lesson.title}\n", _block(rows)]
    return "\n".join(parts)


def distinct(lessons: list[Lesson]) -> list[Claim]:
    """Every claim once, as the first lesson that settles it has it."""
    found: dict[str, Claim] = {}
    for lesson in lessons:
        for claim in lesson.claims:
            found.setdefault(claim.id, claim)
    return list(found.values())


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


def _row(claim: Claim, lesson: Lesson, settled_by: list[Lesson]) -> str:
    anchor = _anchor(claim, lesson, settled_by)
    also = "".join(
        f' · <a href="#{_anchor(claim, other, settled_by)}">also in lesson {other.number}</a>'
        for other in settled_by
        if other is not lesson
    )
    return (
        f'<article class="ledger-claim" id="{anchor}" data-claim="{claim.id}" data-verdict="{claim.verdict}">'
        f"<p>{chip(VERDICTS[claim.verdict])}<strong>{claim.id}</strong> “{inline(claim.said)}”</p>"
        f"<p>{inline(claim.truth)}</p>"
        f'<p class="ledger-source">Source: {linked(claim.source)} · '
        f'<a href="lessons/{lesson.id}.html#claim-{claim.id}">{claim.id}: the cell that settles it, '
        f"in lesson {html.escape(lesson.number)}</a>{also}</p></article>"
    )


def _anchor(claim: Claim, lesson: Lesson, settled_by: list[Lesson]) -> str:
    return claim.id if lesson is settled_by[0] else f"{claim.id}-{lesson.number}"


def _block(markup: str) -> str:
    """Markup that Markdown leaves alone: no line of it is empty."""
    return f"<div>{markup}</div>\n"
