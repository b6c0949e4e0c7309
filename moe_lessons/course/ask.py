"""Show a question: a card to answer on where widgets show, the same to read elsewhere, text in a terminal."""

import re
import string
from collections.abc import Callable
from typing import Any

from moe_lessons.course.show import in_notebook, say
from moe_lessons.front import card, page
from moe_lessons.front.card import Answer, Face, letter

_live: dict[str, card.LiveCard] = {}
"""The card of each question now on a page; running its cell again closes the one before."""


def parse(answer: Any, n_options: int) -> int | None:
    """An answer as an index: a letter or a number from 0; None if it is neither.

    Examples
    --------
    >>> parse("b", 3), parse("B) ", 3), parse(2, 3), parse("z", 3)
    (1, 1, 2, None)
    """
    if isinstance(answer, str):
        found = re.fullmatch(r"([a-z])\b.*", answer.strip().lower())
        answer = string.ascii_lowercase.index(found[1]) if found else None
    in_range = isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < n_options
    return answer if in_range else None


class Sheet:
    """A face as it is stored: HTML, with a text twin.

    Examples
    --------
    >>> Sheet("two words", Face("1", "Predict", "<b>?</b>"))
    two words
    """

    def __init__(self, text: str, face: Face, alive: bool = False) -> None:
        self.text = text
        self.face = face
        self.alive = alive

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.face.html(self.alive)


def question_text(title: str, question: str, options: tuple[str, ...], how: str) -> str:
    """The question with its options, and how to answer."""
    lines = [f"  {letter(i)}) {option}" for i, option in enumerate(options)]
    return "\n".join([f"{title}. {question}", *lines, *([f"  Answer with {how}"] if how else [])])


def put(text: str, face: Face, changing: bool = False) -> Callable[[str, Face], None]:
    """Show a face; ``changing`` returns a function that puts another in its place, in a notebook."""
    return _display(Sheet(text, face), changing)


def put_card(text: str, face: Face, on_answer: Callable[[Answer], tuple[str, Face]]) -> None:
    """Show a card to answer on, over its HTML twin, which every answer brings up to date.

    Parameters
    ----------
    text : str
        What a terminal shows.
    face : Face
        What it shows first.
    on_answer : callable
        Gets an answer; returns text and face to show then.
    """
    before = _live.pop(face.id, None)
    if before is not None:
        before.close()
    if not in_notebook() or not page.available():
        put(text, face)
        return
    replace = _display(Sheet(text, face, alive=True), changing=True)

    def answered(answer: Answer) -> Face:
        said, after = on_answer(answer)
        replace(said, after)
        return after

    _live[face.id] = live = card.LiveCard(face, answered)
    from IPython.display import display

    display(live.bundle(), raw=True)


def refresh(face: Face) -> None:
    """Show a face on the card that is on the page for its question, if one is."""
    if face.id in _live:
        _live[face.id].show(face)


def _display(sheet: Sheet, changing: bool) -> Callable[[str, Face], None]:
    if not in_notebook():
        say(sheet)
        return lambda text, face: None
    from IPython.display import display

    shown = display(sheet, display_id=True) if changing else display(sheet)

    def replace(text: str, face: Face) -> None:
        if shown is not None:
            shown.update(Sheet(text, face, sheet.alive))

    return replace
