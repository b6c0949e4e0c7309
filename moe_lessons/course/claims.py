"""``claim``: settle a sentence that explainers make, with what a cell has computed."""

import html
import re
import textwrap

from moe_lessons.course import starting
from moe_lessons.course.looks import BLOCKS, SHOWN, SMALL, VERDICTS, chip, outlined
from moe_lessons.course.show import Card, count, inline, link, never_raises, say, show
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
    show(card(*_settled[id]))


def card(found: Claim, holds: bool) -> Card:
    """The claim, its verdict, whether this experiment shows it, what is true, and where that was read."""
    told = f"{found.verdict.capitalize()}. {found.truth}" if holds else _denied(found)
    lines = (f'{found.id}: "{found.said}"', f"     {told}", f"     Source: {found.source}")
    block = BLOCKS["claim"]
    body = (
        f"<div>{chip(block, f'{block} {found.id}')}{_chips(found, holds)}</div>"
        f'<div style="margin:.4em 0">“{inline(found.said)}”</div>'
        f"<div>{inline(found.truth if holds else _denied(found))}</div>{_source(found)}"
    )
    return Card("\n".join(map(_wrapped, lines)), body, block.color)


def _denied(found: Claim) -> str:
    return f"This experiment does NOT show it {found.verdict}."


def _chips(found: Claim, holds: bool) -> str:
    return chip(VERDICTS[found.verdict]) + outlined(SHOWN[holds])


def _source(found: Claim) -> str:
    return f'<div style="margin:.4em 0 0;font-size:{SMALL}">Source: {linked(found.source)}</div>'


def _wrapped(line: str) -> str:
    """Lines of at most 100 characters, for a terminal; a page wraps its own."""
    return textwrap.fill(line, 100, subsequent_indent=" " * 5, break_long_words=False, break_on_hyphens=False)


_ADDRESSES = (
    (r"(?:arXiv )?(?<![\d.])(\d{4}\.\d{4,5})(?![\d.]*\d)", r"https://arxiv.org/abs/\1"),
    (r"transformers,? issue #?(\d+)", r"https://github.com/huggingface/transformers/issues/\1"),
    (r"((?:\w[\w-]*\.)+(?:com|org|ai|fm)(?:/[\w./-]*\w)?)", r"https://\1"),
)
_ANY = re.compile("|".join(f"(?:{pattern})" for pattern, _ in _ADDRESSES))


def linked(source: str) -> str:
    """A source as HTML; what has an address (an arXiv id, a repository, an issue, a page) leads there.

    Examples
    --------
    >>> linked("arXiv 2101.03961, eq. 2")  # doctest: +ELLIPSIS
    '<a href="https://arxiv.org/abs/2101.03961" ...>arXiv 2101.03961</a>, eq. 2'
    """

    def to_address(found: re.Match[str]) -> str:
        for pattern, address in _ADDRESSES:
            if re.fullmatch(pattern, found[0]):
                return link(re.sub(f"^{pattern}$", address, found[0]), found[0])
        return found[0]

    return _ANY.sub(to_address, html.escape(source, quote=False))


@never_raises
def claims_table() -> None:
    """Show every claim that this lesson settled: what is said, the verdict, what is true and where."""
    lesson = starting.current_lesson()
    known = [c.id for c in registry.lesson(lesson).claims] if lesson else []
    rows = sorted(_settled.values(), key=lambda row: (len(row[0].id), row[0].id))
    open_ = len(set(known) - _settled.keys())
    if not rows:
        those = f"the {count(len(known), 'claim')} of this lesson" if known else "claims"
        say(f"Nothing to show yet: the cells above settle {those}, and none of them has run in this session.")
        say("Run them (in JupyterLab: Run, then Run All Above Selected Cell), then this cell again.")
        return
    words = {True: "shown here", False: "NOT supported here"}
    text = "\n".join(f"{c.id:<5} {c.verdict:<14} {words[ok]:<19} {c.said}" for c, ok in rows)
    body = "".join(
        f"<tr><td{_LEFT}>{c.id}</td><td{_LEFT}><div>{_chips(c, ok)}</div>"
        f'<div style="margin:.3em 0">“{inline(c.said)}”</div>'
        f"<div>{inline(c.truth)}</div>{_source(c)}</td></tr>"
        for c, ok in rows
    )
    head = f"<tr><th{_LEFT}>Claim</th><th{_LEFT}>Verdict, what is said, what is true, and where</th></tr>"
    table = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
    if open_:
        rest = f"Not settled yet: {count(open_, 'claim')}. Run the cells above, then this one again."
        text, table = f"{text}\n{rest}", f"{table}<div>{rest}</div>"
    show(Card(text, table, BLOCKS["claim"].color))
