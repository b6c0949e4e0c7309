"""The view of an explorable: its controls and state as the messages that `moe_lessons.front` describes."""

from functools import cache
from typing import Any

from moe_lessons.course.show import in_notebook
from moe_lessons.explore.base import Choice, Control, Explorable, Switch, Text, show_with
from moe_lessons.front import page, stage

_open: dict[str, "View"] = {}
"""The view of each explorable now on a page; running its cell again closes the one before."""


class View:
    """One explorable on a page."""

    def __init__(self, shown: Explorable[Any]) -> None:
        previous = _open.pop(shown.name, None)
        if previous is not None:
            previous.close()
        self._shown = shown
        engine = stage.Engine(lambda request: act(shown, request), lambda: state(shown))
        self._widget = stage.Widget(fixed(shown), engine)
        self.refresh, self.mime = self._widget.refresh, self._widget.mime
        _open[shown.name] = self

    def close(self) -> None:
        """Leave the page."""
        if _open.get(self._shown.name) is self:
            del _open[self._shown.name]
        self._widget.close()


def fixed(shown: Explorable[Any]) -> stage.Message:
    """Return what does not change while an explorable is on a page."""
    return {
        "name": shown.name,
        "controls": [_spec(control) for control in shown.controls()],
        "landmarks": [{"label": m.label, "hint": m.hint} for m in shown.landmarks()],
        "asks": [{"text": q.text, "options": list(q.options)} for q in shown.asks],
    }


def _spec(control: Control[Any]) -> stage.Message:
    common = {"label": control.label, "hint": control.hint}
    if isinstance(control, Choice):
        return {**common, "kind": "choice", "options": [text for text, _ in control.options]}
    if isinstance(control, Switch):
        return {**common, "kind": "switch"}
    if isinstance(control, Text):
        return {**common, "kind": "text"}
    ends = {"low": control.low, "high": control.high, "step": control.step}
    return {**common, "kind": "range", **ends, "play": control.play}


def state(shown: Explorable[Any]) -> stage.Message:
    """Return everything that the page shows now."""
    controls, landmarks, params = shown.controls(), shown.landmarks(), shown.params
    still_open = len(shown.choices) < len(shown.asks)
    verdicts = [_verdict(shown, index, choice) for index, choice in enumerate(shown.choices)]
    return {
        "svg": shown.frame(),
        "values": {c.label: _value(c, params) for c in controls},
        "texts": {c.label: _text(c, params) for c in controls},
        "locked": [c.label for c in controls if shown.waits(c)],
        "shut": [i for i, landmark in enumerate(landmarks) if shown.waits(landmark)],
        "asked": {"verdicts": verdicts, "question": len(shown.choices) if still_open else None},
    }


def _verdict(shown: Explorable[Any], index: int, choice: int) -> stage.Message:
    question = shown.asks[index]
    svg = _revealed(type(shown), index)
    return {"text": question.verdict(choice), "right": choice == question.truth, "svg": svg}


@cache
def _revealed(kind: type[Explorable[Any]], index: int) -> str:
    """What a question's experiment shows; drawn once, not at every frame."""
    picture = kind().reveal(index)
    return picture.svg if picture else ""


def _value(control: Control[Any], params: Any) -> Any:
    value = control.read(params)
    if isinstance(control, Choice):
        return next((i for i, (_, option) in enumerate(control.options) if option == value), -1)
    return value


def _text(control: Control[Any], params: Any) -> str:
    if isinstance(control, Switch | Text):
        return ""
    if control.say is not None:
        return control.say(params)
    value = control.read(params)
    if isinstance(control, Choice):
        return next((text for text, option in control.options if option == value), str(value))
    return f"{value:,.4g}" if value < 10_000 else f"{value:,.0f}"


def act(shown: Explorable[Any], request: stage.Message) -> None:
    """Do what a request asks for: commit, jump, set. What waits for a prediction stays where it is."""
    if "commit" in request:
        shown.commit(request["commit"])
    params = shown.params
    if "go" in request:
        landmark = shown.landmarks()[request["go"]]
        if not shown.waits(landmark):
            params = landmark.go(params)
    controls = {control.label: control for control in shown.controls()}
    for label, value in request.get("set", {}).items():
        if label not in controls:
            raise ValueError(f"no control {label!r}: choose one of {', '.join(controls)}")
        if not shown.waits(controls[label]):
            params = _write(controls[label], params, value)
    shown.params = params


def _write(control: Control[Any], params: Any, value: Any) -> Any:
    if isinstance(control, Choice):
        if value not in range(len(control.options)):
            raise ValueError(f"{control.label}: choose option 0 to {len(control.options) - 1}, not {value!r}")
        return control.write(params, control.options[value][1])
    if isinstance(control, Switch):
        return control.write(params, bool(value))
    if isinstance(control, Text):
        return control.write(params, str(value))
    if not control.low <= value <= control.high:
        raise ValueError(f"{control.label} is {value!r}: it goes from {control.low:g} to {control.high:g}")
    whole = float(control.step).is_integer() and float(control.low).is_integer()
    return control.write(params, int(value) if whole else float(value))


def _view(shown: Explorable[Any]) -> View | None:
    if page.available():
        return View(shown)
    if in_notebook():
        print(stage.MISSING)
    return None


show_with(_view)
