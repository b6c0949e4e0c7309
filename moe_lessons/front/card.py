"""A question card: what it shows, the same as plain HTML, and the widget that asks and answers.

One design for predictions, quizzes and explorables. `Face` is all that a card shows; whoever asks keeps
the rules. The card in the page (``card.js``) knows no answer: it gets a face, draws it, sends what was
chosen, and draws the face that comes back.

The wire, for whichever engine stands behind the page:

- to the page: the face as a JSON object (`Face.state`), whole, whenever it changes;
- from the page: ``{"answer": 1}``, an option's index, or ``{"answer": "3/4"}``, a number as it was typed.

Every answer is answered by a face, be it the same one again (``seen`` counts them).
"""

import html
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal

from moe_lessons.front import asleep, page
from moe_lessons.svg.palette import ACCENT

Answer = int | str

_BOX = (
    "border:1px solid #8a8a8a;border-left:6px solid {color};border-radius:4px;padding:.6em 1em;"
    "margin:.3em 0;max-width:46em;line-height:1.45"
)
_ROW = "margin:.25em 0;padding:.2em .6em;border:1px solid #8a8a8a;border-radius:4px"
_MARKED = "margin:.25em 0;padding:.2em .6em;border:2px solid;border-radius:4px"


@dataclass(frozen=True)
class Face:
    """What a card shows now; texts are HTML.

    Parameters
    ----------
    id : str
        The question's id; no two open cards share one.
    title, question : str
        What kind of question it is, and the question.
    options : tuple of str
        The options; none for a question after a number.
    action : str
        What the button says that sends the answer.
    mark : int or str, optional
        What the learner answered: an option's index, or a number as it was typed.
    final : bool
        Whether the answer stays as it is.
    truth : int, optional
        The right option, once it may be seen.
    yours, true : str
        What to write beside the two.
    verdict : str
        ``"right"``, ``"wrong"``, or ``"note"`` for what is neither.
    said : str
        What to say about the answer.
    picture : str
        SVG below that.
    how : str
        How to answer without the card: a call.
    color : str
        Of its edge; a mid-tone, for the same one serves both themes.
    """

    id: str
    title: str
    question: str
    options: tuple[str, ...] = ()
    action: str = "Answer"
    mark: Answer | None = None
    final: bool = False
    truth: int | None = None
    yours: str = "your answer"
    true: str = "right"
    verdict: Literal["", "right", "wrong", "note"] = ""
    said: str = ""
    picture: str = ""
    how: str = ""
    color: str = ACCENT

    def state(self, seen: int = 0) -> dict[str, Any]:
        """The face as it crosses the wire."""
        return {**asdict(self), "options": list(self.options), "name": self.name, "seen": seen}

    @property
    def name(self) -> str:
        """The class of its HTML twin: the widget hides the twin while it is alive.

        Examples
        --------
        >>> Face("01.norm", "Predict", "?").name
        'moe-twin-01-norm'
        """
        return f"moe-twin-{re.sub(r'[^A-Za-z0-9_]', '-', self.id)}"

    def html(self, alive: bool = False) -> str:
        """The same card to read: for GitHub, for a page without widgets, for a notebook opened again.

        Styles stand in the tags and words say what is marked, since a sanitizer leaves little else.

        Parameters
        ----------
        alive : bool
            Whether this is the twin of a card to answer on: the card hides it, while there is one.
        """
        rows = "".join(self._row(i, option) for i, option in enumerate(self.options))
        parts = [f"<div><strong>{self.title}.</strong> {self.question}</div>", rows]
        if isinstance(self.mark, str) and self.verdict in ("", "note"):  # else it is said how it was read
            parts.append(f"<div><em>{self.yours}:</em> {html.escape(self.mark, quote=False)}</div>")
        if self.said:
            parts.append(f'<div style="margin-top:.4em">{self.said}</div>')
        if self.how and not self.final and (alive or self.mark is None):
            way = f"<code>{html.escape(self.how, quote=False)}</code>"
            cell = (
                "Run this cell to bring it to life, or answer in another:" if alive else "Answer in a cell:"
            )
            parts.append(f'<div style="font-size:90%;margin-top:.4em">{cell} {way}</div>')
        twin = f'class="{asleep.TWIN} {self.name}" ' if alive else ""
        style = asleep.STYLE if alive else ""
        return f'<div {twin}style="{_BOX.format(color=self.color)}">{style}{"".join(parts)}</div>'

    def _row(self, index: int, option: str) -> str:
        marks = []
        if index == self.mark:
            marks.append(f"<strong>{self.yours}</strong>")
        if index == self.truth:
            marks.append(f"<strong>✔ {self.true}</strong>")
        beside = f" &nbsp; {' · '.join(marks)}" if marks else ""
        return f'<div style="{_MARKED if marks else _ROW}">{letter(index)}) {option}{beside}</div>'


def letter(index: int) -> str:
    """``0`` is ``"a"``."""
    return "abcdefghijklmnopqrstuvwxyz"[index]


@cache
def _kind() -> Any:
    import anywidget
    import traitlets

    class QuestionCard(anywidget.AnyWidget):
        _esm = page.source("card.js")
        _css = page.css("card.css")
        card = traitlets.Dict().tag(sync=True)
        id = traitlets.Unicode().tag(sync=True)  # by which the page asks whether this kernel still listens

    return QuestionCard


class LiveCard:
    """A card in the page that can be answered.

    Parameters
    ----------
    face : Face
        What it shows first.
    on_answer : callable
        Gets what was chosen or typed and returns the face to show then.

    Examples
    --------
    >>> asked = Face("1", "Quiz", "2 + 2?", ("3", "4"))
    >>> card = LiveCard(asked, lambda answer: Face("1", "Quiz", "2 + 2?", ("3", "4"), mark=answer))
    >>> card.receive({"answer": 1})
    >>> card.face.mark, card.widget.card["mark"]
    (1, 1)
    """

    def __init__(self, face: Face, on_answer: Callable[[Answer], Face]) -> None:
        self.face = face
        self._on_answer = on_answer
        self._seen = 0
        self.widget = _kind()(card=face.state())
        self.widget.id = self.widget.model_id
        self.widget.on_msg(lambda widget, content, buffers: self.receive(content))

    def show(self, face: Face) -> None:
        """Show another face."""
        self.face = face
        self.widget.card = face.state(self._seen)

    def receive(self, content: Any) -> None:
        """Take a message of the page; what is no answer to this card is left alone."""
        answer: Any = content.get("answer") if isinstance(content, dict) else None
        n = len(self.face.options)
        if isinstance(answer, bool) or not (answer in range(n) if n else isinstance(answer, str)):
            return
        self._seen += 1
        try:
            face = self._on_answer(answer)
        except Exception as error:  # a page that gets no answer would wait for one
            said = f"This did not work ({type(error).__name__}). Nothing is lost; run the cell again."
            face = replace(self.face, mark=answer, verdict="note", said=said)
        self.show(face)

    def bundle(self) -> dict[str, Any]:
        """What a front end turns into the card; its text is empty, for the twin says everything."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {"application/vnd.jupyter.widget-view+json": view, "text/plain": ""}

    def close(self) -> None:
        """Leave the page; the twin is read then."""
        self.widget.close()
