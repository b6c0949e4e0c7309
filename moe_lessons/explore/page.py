"""The engine behind explorables on a web page: messages in, messages out, as JSON.

Pyodide runs it in a worker of the page (``web/static/course/worker.js``); the page has the same front end as
a notebook. Everything it needs is in the standard library.
"""

import json
from collections.abc import Callable
from typing import Any

from moe_lessons import explore
from moe_lessons.course.numeric import judged_or_asked_again
from moe_lessons.explore import widget
from moe_lessons.explore.base import Explorable
from moe_lessons.front import stage
from moe_lessons.front.card import Face


class Page:
    """The explorables that are alive on one page.

    Examples
    --------
    >>> page = Page()
    >>> opened = page.open("first", "Router", asks=False)
    >>> opened["fixed"]["name"], len(opened["shown"]["locked"])
    ('Router playground', 6)
    >>> page.unlock("first")["shown"]["locked"]
    []
    >>> page.request("first", {"view": "a", "n": 1, "set": {"K": 4}})["shown"]["values"]["K"]
    4
    """

    def __init__(self) -> None:
        self._shown: dict[str, tuple[Explorable[Any], stage.Engine]] = {}
        self._asked: dict[str, stage.Message] = {}  # what a page knows of the questions

    def open(self, key: str, name: str, asks: bool) -> stage.Message:
        """Bring an explorable to life, locked; where nothing on the page unlocks it, it asks its own.

        Parameters
        ----------
        key : str
            By which the page calls it.
        name : str
            Its class.
        asks : bool
            Whether it asks; without questions of its own it is open then.
        """
        shown: Explorable[Any] = getattr(explore, name)(ask=asks)
        if asks and not shown.asks:
            shown.unlock()
        engine = stage.Engine(lambda request: widget.act(shown, request), lambda: widget.state(shown))
        self._shown[key] = shown, engine
        return {"fixed": widget.fixed(shown), **self._parts(key, engine.state())}

    def request(self, key: str, request: stage.Message) -> stage.Message | None:
        """Answer a request of the front end; None where a newer one was answered."""
        answer = self._shown[key][1].answer(request)
        return None if answer is None else self._parts(key, answer)

    def unlock(self, key: str, part: str = "") -> stage.Message:
        """Let the reader use the controls, or one part of an explorable that has several locks."""
        shown, engine = self._shown[key]
        lock: Any = shown.switch(part) if part else shown  # type: ignore[attr-defined]
        lock.unlock()
        return self._parts(key, engine.state())

    def _parts(self, key: str, state: stage.Message) -> stage.Message:
        """What the page does not have yet: the questions' pictures are large, and seldom new."""
        asked = state.pop("asked", {})
        if asked == self._asked.get(key):
            return {"shown": state}
        self._asked[key] = asked
        return {"asked": asked, "shown": state}


def judge(card: stage.Message, answer: float, rtol: float, feedback: str, typed: str) -> stage.Message:
    """Judge a number typed on a card; returns the card to show then."""
    known = {key: value for key, value in card.items() if key not in ("name", "seen")}
    face = Face(**{**known, "options": tuple(card["options"])})
    return judged_or_asked_again(face, typed, answer, rtol, feedback)[1].state(card["seen"] + 1)


_page = Page()


def handle(message: str) -> str:
    """Answer a message ``{call, ...arguments}``, both as JSON: `Page.open`, `request`, `unlock`, or `judge`.

    Examples
    --------
    >>> json.loads(handle('{"call": "open", "key": "k", "name": "Surface", "asks": true}'))["shown"]["error"]
    ''
    """
    arguments = json.loads(message)
    calls: dict[str, Callable[..., Any]]
    calls = {"open": _page.open, "request": _page.request, "unlock": _page.unlock, "judge": judge}
    return json.dumps(calls[arguments.pop("call")](**arguments))
