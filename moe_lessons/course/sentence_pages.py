"""``sentences`` and ``settled``: lesson 17's page of sentences by seed, and what is true of each."""

import html

from moe_lessons.course import store
from moe_lessons.course.claims import linked
from moe_lessons.course.looks import SMALL, VERDICTS, Mark, chip
from moe_lessons.course.show import Card, inline, never_raises, say, show
from moe_lessons.exercises.capstone_errors.bank import PAPERS, page
from moe_lessons.exercises.capstone_errors.sentence import Sentence

_LEFT = ' style="text-align:left;vertical-align:top"'
_EXERCISE = "17.find_errors"
_MARKS: dict[str, Mark] = {
    "right": Mark("✔", "Right", VERDICTS["correct"].color),
    "wrong": Mark("✘", "Wrong", VERDICTS["wrong"].color),
    "depends": Mark("⇄", "Depends", VERDICTS["contested"].color),
    "unknown": Mark("?", "Unknown", VERDICTS["unconfirmable"].color),
}


@never_raises
def sentences(seed: int) -> None:
    """Show the page of sentences that a seed draws, with the question behind each, and a table to copy.

    Parameters
    ----------
    seed : int
        Yours: any whole number from 0 on.
    """
    try:
        parts = page(seed)
    except ValueError as error:
        say(error)
        return
    title = f"The page of seed {seed}"
    text, body = [title], [f"<p><strong>{title}</strong></p>"]
    for part, drawn in parts.items():
        text.append(f"Part {part}")
        text += [f"{one.id:>4}  {_plain(one.said)} [{one.page}]\n      {_plain(one.asks)}" for one in drawn]
        rows = "".join(
            f"<tr><td{_LEFT}><strong>{one.id}</strong></td><td{_LEFT}>{inline(one.said)}"
            f"{_small(f'{_from(one)} {inline(one.asks)}')}</td></tr>"
            for one in drawn
        )
        body.append(f"<p>Part {part}</p><table><tbody>{rows}</tbody></table>")
    copied = html.escape(_table(seed), quote=False)
    body.append(f"<details><summary>A table to copy into the answer</summary><pre>{copied}</pre></details>")
    papers = "\n".join(f"{number:.5f}  {name}" for number, name in PAPERS.items())
    listed = html.escape(papers, quote=False)
    body.append(
        f"<details><summary>Papers that a question may ask for</summary><pre>{listed}</pre></details>"
    )
    show(Card("\n".join([*text, "", "A table to copy:", _table(seed), "", "Papers:", papers]), "".join(body)))


@never_raises
def settled(seed: int, *, anyway: bool = False) -> None:
    """Show what is true of each sentence of a page, and where that was read, once the exercise has passed.

    Parameters
    ----------
    seed : int
        Yours, as in ``sentences``.
    anyway : bool
        Show it before.
    """
    try:
        parts = page(seed)
    except ValueError as error:
        say(error)
        return
    passed = store.load()["exercises"].get(_EXERCISE, {}).get("passed")
    if not passed and not anyway:
        say(f"Once {_EXERCISE} has passed, this shows what is true of each sentence, and where it was read.")
        say(f"If you would rather read now: settled({seed}, anyway=True)")
        return
    drawn = [one for part in parts.values() for one in part]
    title = f"What is true: the page of seed {seed}"
    text = [title, *map(_told, drawn)]
    rows = "".join(
        f"<tr><td{_LEFT}><strong>{one.id}</strong></td>"
        f"<td{_LEFT}>{chip(_MARKS[one.verdict])}lesson {one.lesson}"
        f'<div style="margin:.3em 0">“{inline(one.said)}”</div><div>{inline(_truth(one))}</div>'
        f"{_small(f'Source: {linked(one.source)}')}</td></tr>"
        for one in drawn
    )
    show(Card("\n".join(text), f"<p><strong>{title}</strong></p><table><tbody>{rows}</tbody></table>"))


def _truth(one: Sentence) -> str:
    """What is true; where the sentence is wrong, as an answer to its question."""
    return f"{one.asks} {one.truth}" if one.verdict == "wrong" else one.truth


def _small(markup: str) -> str:
    return f'<div style="font-size:{SMALL};margin:.2em 0 0">{markup}</div>'


def _from(one: Sentence) -> str:
    return (
        f"From {'an' if one.page == 'essay' else 'a'} {one.page}." if one.page != "public code" else "Code."
    )


def _told(one: Sentence) -> str:
    said, truth = _plain(one.said), _plain(_truth(one))
    return f"{one.id:>4}  {_MARKS[one.verdict]} (lesson {one.lesson}): {said}\n      {truth} [{one.source}]"


def _table(seed: int) -> str:
    """The lines that stand in an answer, all verdicts open.

    Examples
    --------
    >>> print(_table(0).splitlines()[0])
    seed = 0
    """
    lines = [f"seed = {seed}", "table = {"]
    for part, drawn in page(seed).items():
        lines += [f"    {part}: [", *(f'        ({one.id}, "?", 0),' for one in drawn), "    ],"]
    return "\n".join([*lines, "}"])


def _plain(markdown: str) -> str:
    return markdown.replace("`", "")
