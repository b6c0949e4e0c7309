"""The engine's side of a stage: requests in, states out. It draws nothing and knows no explorable."""

import threading
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from moe_lessons.front import page

Message = dict[str, Any]

MISSING = (
    "This is a still picture: anywidget is not installed, so nothing can be dragged. "
    "`pip install anywidget`, restart the kernel and reload the page to bring it to life."
)


class Engine:
    """Answers the requests of a stage, each of them at most once, and says what went wrong.

    Parameters
    ----------
    act : callable
        Does what a request asks for.
    look : callable
        Returns the present state: everything of ``shown`` but ``of`` and ``error``, and ``asked``.

    Examples
    --------
    >>> values = {"K": 1}
    >>> engine = Engine(lambda request: values.update(request["set"]), lambda: {"values": dict(values)})
    >>> engine.answer({"view": "a", "n": 1, "set": {"K": 2}})
    {'values': {'K': 2}, 'of': ['a', 1], 'error': ''}
    >>> engine.answer({"view": "a", "n": 1, "set": {"K": 3}}) is None
    True
    """

    def __init__(self, act: Callable[[Message], None], look: Callable[[], Message]) -> None:
        self._act, self._look = act, look
        self._newest: dict[str, int] = {}
        self._last: Message = {}
        # JupyterLab may run callbacks on several threads at once.
        self.lock = threading.RLock()

    def answer(self, request: Message) -> Message | None:
        """Do what a request asks for and return the state after it; None where a newer one was answered."""
        with self.lock:
            view, n = str(request["view"]), int(request["n"])
            if n <= self._newest.get(view, 0):
                return None
            self._newest[view] = n
            error = ""
            try:
                self._act(request)
            except Exception as raised:
                error = in_words(raised)
            return self.state([view, n], error)

    def state(self, of: list[Any] | None = None, error: str = "") -> Message:
        """Return the present state; where it cannot be drawn, the last one that could, and why."""
        with self.lock:
            try:
                self._last = self._look()
            except Exception as raised:
                error = error or in_words(raised)
            return {**self._last, "of": of, "error": error}


def in_words(error: Exception) -> str:
    """Say what was raised, and where.

    Examples
    --------
    >>> in_words(ValueError("K is 9: at most 8"))
    'ValueError: K is 9: at most 8'
    """
    words = "".join(traceback.format_exception_only(error)).strip()
    places = traceback.extract_tb(error.__traceback__)
    if not places:
        return words
    last = places[-1]
    return f"{words} ({Path(last.filename).name}, line {last.lineno})"


@cache
def _widget_class() -> Any:
    import anywidget
    import traitlets

    class Stage(anywidget.AnyWidget):
        """A stage in a notebook's page."""

        _esm = page.source("stage.js")
        _css = page.css("stage.css")
        fixed = traitlets.Dict().tag(sync=True)
        asked = traitlets.Dict().tag(sync=True)
        shown = traitlets.Dict().tag(sync=True)
        id = traitlets.Unicode().tag(sync=True)  # by which the page asks whether this kernel still listens

    return Stage


class Widget:
    """A stage on a page, driven by an engine in this kernel."""

    def __init__(self, fixed: Message, engine: Engine) -> None:
        self._engine = engine
        shown = engine.state()
        self._widget = _widget_class()(fixed=fixed, asked=shown.pop("asked", {}), shown=shown)
        self._widget.id = self._widget.model_id
        self._widget.on_msg(self._asked)

    def refresh(self) -> None:
        """Show the present state."""
        with self._engine.lock:
            self._show(self._engine.state())

    def close(self) -> None:
        """Leave the page."""
        self._widget.close()

    def mime(self) -> Message:
        """What tells a front end to show the widget; both ipywidgets 7 and 8 read it."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        return {"application/vnd.jupyter.widget-view+json": view}

    def _asked(self, _: Any, request: Message, buffers: Any) -> None:
        with self._engine.lock:
            answer = self._engine.answer(request)
            if answer is not None:
                self._show(answer)

    def _show(self, shown: Message) -> None:
        # Sent only if it differs from what the page has; `shown` always does, by what it answers.
        self._widget.asked = shown.pop("asked", {})
        self._widget.shown = shown
