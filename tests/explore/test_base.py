import json
import math
import sys
import types
import xml.etree.ElementTree as ET

import ipywidgets as widgets
import pytest

from moe_lessons import explore
from moe_lessons.course import store
from moe_lessons.explore import Calculator, Capacity, LiveView, Permutation, Router, Surface, widget
from moe_lessons.explore.permutation.state import Params as Rows
from moe_lessons.explore.permutation.state import simulate as permutation
from moe_lessons.explore.router.state import Params, lengthen
from moe_lessons.front import page

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def shown(page_of):
    return page_of(Router())


def test_controls_wait_for_every_prediction(shown):
    before = shown.shown["svg"]
    assert shown.locked("Its norm")
    assert 0 in shown.shown["shut"]
    shown.set("Its norm", 2.0)
    shown.go("Hot: 4")
    assert shown.explorable.params == Params()
    assert shown.shown["svg"] == before
    shown.commit(0)
    assert shown.locked("Its norm")
    assert shown.asked["question"] == 1
    shown.commit(0)
    assert not shown.locked("Its norm")
    assert shown.shown["shut"] == []
    assert shown.asked["question"] is None


def test_nothing_is_committed_without_a_choice(shown):
    shown.send()
    assert shown.explorable.choices == []
    assert shown.shown["error"] == ""


def test_a_choice_that_is_not_there_is_said_and_commits_nothing(shown):
    shown.commit(7)
    assert shown.explorable.choices == []
    assert "choose 0 to 2, not 7" in shown.shown["error"]


def test_prediction_and_truth_show_together(shown):
    shown.commit(2)
    (verdict,) = shown.asked["verdicts"]
    assert "✘ You predicted: It shrinks" in verdict["text"]
    assert "What happens: It grows" in verdict["text"]
    assert not verdict["right"]
    assert "At K=1, doubling router vector 0" in verdict["svg"]


def test_a_drag_redraws_and_controls_follow_the_expert(shown):
    shown.explorable.unlock()
    frame = shown.shown["svg"]
    shown.set("Its norm", 2.0)
    assert shown.explorable.params == lengthen(Params(), 2.0)
    assert shown.shown["svg"] != frame
    shown.set("Expert", 3)
    assert shown.shown["values"]["Its norm"] == 1.0
    assert shown.shown["values"]["Its angle (°)"] == Params().angles[3]
    assert shown.explorable.params.norms == lengthen(Params(), 2.0).norms


def test_values_are_set_in_their_order(shown):
    """A tip taken hold of says first which expert is meant."""
    shown.explorable.unlock()
    shown.send(set={"Expert": 3, "Its norm": 2.0})
    assert shown.explorable.params.norms == (1, 1, 1, 2, 1, 1)


def test_landmarks_move_the_controls(shown):
    shown.explorable.unlock()
    shown.go("K=4, norm × 2")
    assert shown.shown["values"]["K"] == 4
    assert shown.shown["values"]["Its norm"] == 2.0
    shown.go("Start")
    assert shown.explorable.params == Params()


@pytest.mark.parametrize("wish", [{"K": 7}, {"Its norm": -0.1}, {"Expert": 6}, {"Typo": 1}])
def test_what_no_control_allows_is_refused(shown, wish):
    shown.explorable.unlock()
    shown.send(set=wish)
    assert shown.explorable.params == Params()
    assert next(iter(wish)) in shown.shown["error"]
    shown.send(set={"K": 2})
    assert shown.shown["error"] == ""
    assert shown.explorable.params.k == 2


def test_a_value_between_the_options_stands_and_is_told(page_of):
    """A landmark may lead to where no option of a list is."""
    page = page_of(Calculator(ask=False))
    page.explorable.unlock()
    page.go("Cache overtakes")
    assert page.explorable.params.context == 196_533
    assert page.shown["values"]["Context"] == -1
    assert page.shown["texts"]["Context"] == "196,533"
    page.set("K", 3)
    assert page.explorable.params.context == 196_533
    page.set("Context", 4)
    assert page.explorable.params.context == 4096


def test_every_control_of_every_explorable_has_a_name_of_its_own():
    for name in explore.__all__:
        if name != "LiveView":
            labels = [control.label for control in getattr(explore, name)().controls()]
            assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("name", [name for name in explore.__all__ if name != "LiveView"])
def test_what_a_picture_marks_names_controls_of_its_own(name):
    explorable = getattr(explore, name)(locked=False)
    controls = {control.label: control for control in explorable.controls()}
    svg = ET.fromstring(explorable.frame())
    assert svg.get("data-body")
    for one in svg.iter():
        marks = json.loads(one.get("data-handle") or "{}")
        at, first = marks.get("at", {}), marks.get("first", {})
        picked = json.loads(one.get("data-pick") or "{}")
        assert {*at, *first, *picked} <= set(controls)
        for label, value in at.items():
            assert controls[label].low <= value <= controls[label].high
    static = explorable.static().svg
    assert "data-handle" not in static
    assert "data-pick" not in static


@pytest.mark.parametrize("explorable", [Router, Surface, Capacity])
def test_a_handle_stands_where_its_values_are(explorable):
    """The pixel range that a handle gives says the same as the place at which it is drawn."""
    drawn = explorable(locked=False)
    seen = 0
    for one in ET.fromstring(drawn.frame()).iter():
        if not one.get("data-handle"):
            continue
        marks = json.loads(one.get("data-handle"))
        x = float(one.get("cx") or one.get("x1"))
        y = float(one.get("cy") or 0)
        if "around" in marks:
            angle, length = (marks["at"][marks["around"][part]] for part in ("angle", "length"))
            assert math.hypot(x, y) / marks["around"]["unit"] == pytest.approx(length, abs=0.02)
            assert math.degrees(math.atan2(-y, x)) % 360 == pytest.approx(angle, abs=2)
        for place, axis in ((x, "x"), (y, "y")):
            if axis in marks:
                (p, q), (v, w) = marks[axis]["pixels"], marks[axis]["values"]
                value = v + (place - p) / (q - p) * (w - v)
                # Places are whole: 64 tokens over 8 experts get one more for each 1/8 of the factor.
                slack = 1 / 8 if "place" in marks["name"] else 0.02 * abs(w - v)
                assert value == pytest.approx(marks["at"][marks[axis]["control"]], abs=slack)
        seen += 1
    assert seen


def test_rows_come_from_where_they_were():
    """Every row that flies has an origin in the frame before."""
    for at in range(1, 6):
        frames = [ET.fromstring(Permutation.draw(permutation(Rows(stage=s)))) for s in (at, at + 1)]
        before, after = ([one for one in frame.iter() if one.get("data-key")] for frame in frames)
        keys = {one.get("data-key") for one in before}
        assert len(keys) == len(before)
        for one in after:
            assert one.get("data-key") in keys or one.get("data-from") in keys


def test_running_the_cell_again_closes_the_first_instance(shown):
    first = shown.widget
    again = Router()
    again._repr_mimebundle_()
    assert first.comm is None
    assert again._view._widget._widget.comm is not None
    again.close()
    assert again._view is None


def test_closing_leaves_other_widgets_alone(shown):
    mine = widgets.Button()
    shown.explorable.close()
    assert mine.comm is not None
    mine.close()


def test_callbacks_and_order_of_commitments():
    seen = []
    playground = Router(on_commit=lambda question, choice: seen.append((question, choice)))
    playground.commit(1)
    assert playground.locked
    playground.commit(2)
    assert not playground.locked
    assert seen == [(0, 1), (1, 2)]
    with pytest.raises(ValueError, match="already"):
        playground.commit(0)


def test_a_bad_choice_commits_nothing():
    playground = Router()
    for bad in (-1, 3, "a"):
        with pytest.raises(ValueError, match="choose"):
            playground.commit(bad)
    assert playground.choices == []


def test_the_caller_may_ask_instead(page_of):
    page = page_of(Router(ask=False))
    assert page.asked == {"verdicts": [], "question": None}
    assert page.locked("K")
    page.explorable.unlock()
    assert not page.locked("K")


def test_open_from_the_start():
    assert Router(locked=False).asks == ()


def test_the_bundle_teaches_without_a_kernel(shown):
    bundle = shown.explorable._repr_mimebundle_()
    assert bundle[WIDGET_MIME]["model_id"] == shown.widget.model_id
    explorable = shown.explorable
    picture = explorable.frame() if explorable.locked else explorable.static().svg
    assert bundle["image/svg+xml"] == picture
    assert "needs anywidget" in bundle["text/plain"]


def test_in_a_notebook_a_still_picture_stands_in_for_a_widget_that_is_no_longer_there(monkeypatch, page_of):
    outputs = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: outputs.append(bundle))
    explorable = page_of(Surface(locked=False)).explorable
    explorable._ipython_display_()
    still, alive = outputs
    assert alive[WIDGET_MIME]["model_id"] == explorable._view._widget._widget.model_id
    assert explorable.static().svg in still["text/html"]
    assert "Run this cell to bring it to life." in still["text/html"]
    assert WIDGET_MIME not in still
    outputs.clear()
    monkeypatch.setattr(page, "available", lambda: False)
    explorable._ipython_display_()
    assert [set(bundle) for bundle in outputs] == [{"text/plain", "image/svg+xml"}]


def test_without_anywidget_the_strip_remains_and_a_sentence_says_why(monkeypatch, capsys):
    monkeypatch.setattr(page, "available", lambda: False)
    monkeypatch.setattr(widget, "in_notebook", lambda: True)
    bundle = Router(locked=False)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/svg+xml"}
    assert bundle["image/svg+xml"] == Router().static().svg
    assert "anywidget is not installed" in capsys.readouterr().out


def test_what_is_locked_does_not_answer_its_prediction(monkeypatch):
    monkeypatch.setattr(page, "available", lambda: False)
    locked = Router(ask=False)
    bundle = locked._repr_mimebundle_()
    title = locked.static().alt.split(".")[0]
    assert title not in bundle["image/svg+xml"] + bundle["text/plain"]
    locked.unlock()
    assert title in locked._repr_mimebundle_()["image/svg+xml"]
    monkeypatch.setattr(store, "_apart", True)  # a solutions notebook, which nobody commits in
    assert title in Router(ask=False)._repr_mimebundle_()["image/svg+xml"]


def test_live_view_redraws_one_display(monkeypatch):
    shown = []

    class Handle:
        def update(self, drawing):
            shown.append(("update", drawing))

    def display(drawing, display_id=None):
        shown.append(("display", drawing))
        return Handle()

    fake = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    live = LiveView(every_s=1e9)
    live.update("first")
    live.update(lambda: pytest.fail("too soon: must not be drawn"))
    live.finish(lambda: "last")
    assert shown == [("display", "first"), ("update", "last")]


def test_live_view_is_silent_in_plain_python(capsys):
    live = LiveView(every_s=0)
    live.update("x")
    live.finish("x")
    assert capsys.readouterr().out == ""
