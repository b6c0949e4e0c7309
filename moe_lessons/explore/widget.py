"""The widget view of an explorable: core ipywidgets only, within what versions 7 and 8 share.

Frames are SVG text in one ``HTML`` widget: a frame costs milliseconds, where redrawing a figure costs
hundreds. Nothing is printed or displayed from a callback.
"""

import html
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from moe_lessons.explore.base import (
    Choice,
    Control,
    Explorable,
    Landmark,
    Question,
    Slider,
    Switch,
    Text,
    show_with,
)

_open: dict[str, "View"] = {}
"""The view of each explorable now on a page; running its cell again closes the one before."""

_WIDTHS: dict[type, str] = {Switch: "auto", Text: "704px"}
"""Of the controls that are not as wide as a slider."""

_TEXT = '<div style="max-width:720px;line-height:1.45">{}</div>'


def available() -> bool:
    """Whether ipywidgets can be imported.

    Examples
    --------
    >>> available() in (True, False)
    True
    """
    return find_spec("ipywidgets") is not None


class View:
    """Questions, controls, landmarks and the frame of one explorable."""

    def __init__(self, shown: Explorable[Any]) -> None:
        import ipywidgets as widgets

        previous = _open.pop(shown.name, None)
        if previous is not None:
            previous.close()
        self._lib = widgets
        self._shown = shown
        self._quiet = False
        # JupyterLab may run callbacks on several threads at once.
        self._lock = threading.RLock()
        self._controls = [(c, self._make(c)) for c in shown.controls()]
        self._landmarks = [(m, self._button(m.label, m.hint, self._jump(m))) for m in shown.landmarks()]
        self._asked = widgets.VBox([])
        self._frame = widgets.HTML()
        wrap = widgets.Layout(flex_flow="row wrap", max_width="720px")
        switches = [w for c, w in self._controls if isinstance(c, Switch)]
        rows = [w for c, w in self._controls if not isinstance(c, Switch)]
        self.box = widgets.VBox(
            [
                self._asked,
                self._frame,
                widgets.HBox([w for _, w in self._landmarks], layout=wrap),
                *([widgets.HBox(switches, layout=wrap)] if switches else []),
                widgets.HBox(rows, layout=wrap),
            ]
        )
        self._ask()
        self.refresh()
        _open[shown.name] = self

    def mime(self) -> dict[str, Any]:
        """What tells a front end to show the widget; both ipywidgets 7 and 8 read it."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        return {"application/vnd.jupyter.widget-view+json": view}

    def refresh(self) -> None:
        """Redraw, and bring the controls in line with the parameters and the lock."""
        with self._hushed():
            for spec, widget in self._controls:
                widget.value = spec.read(self._shown.params)
                widget.disabled = self._shown.waits(spec)
                if isinstance(spec, Switch):  # a dark page hardly shows that a box is disabled
                    widget.description = f"{spec.label} (locked)" if widget.disabled else spec.label
            for landmark, button in self._landmarks:
                button.disabled = self._shown.waits(landmark)
            self._draw()

    def close(self) -> None:
        """Close every widget of this view, and no other."""
        if _open.get(self._shown.name) is self:
            del _open[self._shown.name]
        _close(self.box)

    def _draw(self) -> None:
        self._frame.value = self._shown.frame()

    @contextmanager
    def _hushed(self) -> Iterator[None]:
        """Setting a widget's value calls its observers: keep them still."""
        with self._lock:
            before, self._quiet = self._quiet, True
            try:
                yield
            finally:
                self._quiet = before

    def _make(self, spec: Control[Any]) -> Any:
        lib, value = self._lib, spec.read(self._shown.params)
        common = {"description": spec.label, "disabled": True, "style": {"description_width": "110px"}}
        if isinstance(spec, Choice):
            widget = lib.Dropdown(options=spec.options, value=value, **common)
        elif isinstance(spec, Switch):
            widget = lib.Checkbox(value=value, indent=False, **common)
            widget.layout.margin = "2px 20px 2px 2px"
        elif isinstance(spec, Text):
            widget = lib.Text(value=value, placeholder=spec.hint, continuous_update=True, **common)
        else:
            whole = float(spec.step).is_integer() and float(spec.low).is_integer()
            kind, cast = (lib.IntSlider, int) if whole else (lib.FloatSlider, float)
            ends = {"min": cast(spec.low), "max": cast(spec.high), "step": cast(spec.step)}
            widget = kind(value=cast(value), **ends, **common)
        widget.layout.width = _WIDTHS.get(type(spec), "350px")
        if hasattr(widget, "tooltip"):
            widget.tooltip = spec.hint  # at least "": None shows as "null"
        widget.observe(self._dragged(spec), "value")
        return widget

    def _button(self, label: str, hint: str, pressed: Callable[[Any], None]) -> Any:
        button = self._lib.Button(description=label, tooltip=hint, layout=self._lib.Layout(width="auto"))
        button.on_click(pressed)
        return button

    def _dragged(self, spec: Control[Any]) -> Callable[[Any], None]:
        def changed(change: Any) -> None:
            with self._lock:
                params = self._shown.params
                if self._quiet or self._shown.waits(spec) or _only_rounded(spec, change["new"], params):
                    return
                self._shown.params = spec.write(params, change["new"])
                # One control may set what another shows: the angle is that of the chosen expert.
                self.refresh()

        return changed

    def _jump(self, landmark: Landmark[Any]) -> Callable[[Any], None]:
        def pressed(_: Any) -> None:
            with self._lock:
                if not self._shown.waits(landmark):
                    self._shown.params = landmark.go(self._shown.params)
                    self.refresh()

        return pressed

    def _ask(self) -> None:
        """Show the verdicts so far, then the next question."""
        shown, lib = self._shown, self._lib
        parts: list[Any] = []
        for index, choice in enumerate(shown.choices):
            parts.append(lib.HTML(_TEXT.format(html.escape(shown.asks[index].verdict(choice)))))
            picture = shown.reveal(index)
            if picture is not None:
                parts.append(lib.HTML(picture.svg))
        if len(shown.choices) < len(shown.asks):
            parts += self._question(shown.asks[len(shown.choices)])
        for old in self._asked.children:
            _close(old)
        self._asked.children = parts

    def _question(self, question: Question) -> list[Any]:
        lib, number = self._lib, len(self._shown.choices) + 1
        total = len(self._shown.asks)
        heading = f"<strong>Predict ({number} of {total}).</strong> {html.escape(question.text)}"
        radio = lib.RadioButtons(
            options=[(text, i) for i, text in enumerate(question.options)],
            value=None,
            layout=lib.Layout(width="100%", max_width="720px"),
        )

        def pressed(_: Any) -> None:
            with self._lock:
                if radio.value is not None:
                    self._shown.commit(radio.value)
                    self._ask()

        submit = self._button("Commit", "The controls unlock once you have committed", pressed)
        submit.disabled = True
        submit.button_style = "primary"
        # A column stretches what it holds.
        submit.layout.align_self = "flex-start"

        def chosen(change: Any) -> None:
            submit.disabled = radio.value is None

        radio.observe(chosen, "value")
        return [lib.HTML(_TEXT.format(heading)), radio, submit]


def _only_rounded(spec: Control[Any], new: Any, params: Any) -> bool:
    """Whether nobody dragged: a page puts a slider's handle on its nearest step and reports where it is."""
    return isinstance(spec, Slider) and abs(new - spec.read(params)) <= spec.step / 2


def _close(widget: Any) -> None:
    """Close a widget and what it holds."""
    for child in getattr(widget, "children", ()):
        _close(child)
    widget.close()


show_with(lambda shown: View(shown) if available() else None)
