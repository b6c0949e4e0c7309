import sys
import types

import ipywidgets as widgets
import pytest

from moe_lessons.course import store
from moe_lessons.explore import Calculator, LiveView, Router, widget
from moe_lessons.explore.router.state import Params, lengthen

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def shown():
    playground = Router()
    playground._repr_mimebundle_()
    yield playground
    playground.close()


def parts(playground, kind):
    def walk(w):
        yield w
        for child in getattr(w, "children", ()):
            yield from walk(child)

    return [w for w in walk(playground._view.box) if isinstance(w, kind)]


def control(playground, label):
    kinds = (widgets.IntSlider, widgets.FloatSlider, widgets.Dropdown)
    return next(w for w in parts(playground, kinds) if w.description == label)


def button(playground, label):
    return next(w for w in parts(playground, widgets.Button) if w.description == label)


def answer(playground, choice):
    parts(playground, widgets.RadioButtons)[0].value = choice
    button(playground, "Commit").click()


def test_controls_wait_for_every_prediction(shown):
    norm = control(shown, "Its norm")
    before = shown._view._frame.value
    assert norm.disabled
    assert button(shown, "Start").disabled
    norm.value = 2.0
    button(shown, "Hot: 4").click()
    assert shown.params == Params()
    assert shown._view._frame.value == before
    answer(shown, 0)
    assert norm.disabled
    answer(shown, 0)
    assert not norm.disabled
    assert not parts(shown, widgets.RadioButtons)


def test_nothing_is_committed_without_a_choice(shown):
    commit = button(shown, "Commit")
    assert commit.disabled
    commit.click()
    assert shown.choices == []


def test_prediction_and_truth_show_together(shown):
    answer(shown, 2)
    texts = [w.value for w in parts(shown, widgets.HTML)]
    assert any("✘ You predicted: It shrinks" in t and "What happens: It grows" in t for t in texts)
    assert any("At K=1, doubling router vector 0" in t for t in texts)


def test_a_drag_redraws_and_controls_follow_the_expert(shown):
    shown.unlock()
    frame = shown._view._frame.value
    control(shown, "Its norm").value = 2.0
    assert shown.params == lengthen(Params(), 2.0)
    assert shown._view._frame.value != frame
    control(shown, "Expert").value = 3
    assert control(shown, "Its norm").value == 1.0
    assert control(shown, "Its angle (°)").value == Params().angles[3]
    assert shown.params.norms == lengthen(Params(), 2.0).norms


def test_landmarks_move_the_controls(shown):
    shown.unlock()
    button(shown, "K=4, norm × 2").click()
    assert control(shown, "K").value == 4
    assert control(shown, "Its norm").value == 2.0
    button(shown, "Start").click()
    assert shown.params == Params()


def test_a_handle_put_on_its_nearest_step_is_no_drag():
    """JupyterLab reports a slider's value rounded to its step; a landmark between steps must stay."""
    calculator = Calculator(ask=False)
    calculator._repr_mimebundle_()
    calculator.unlock()
    context = control(calculator, "log2 context")
    button(calculator, "Cache overtakes").click()
    context.value = 17.5
    assert calculator.params.context == 196_533
    context.value = 17.75
    assert calculator.params.context == round(2**17.75)
    context.value = 17.5
    assert calculator.params.context == round(2**17.5)
    calculator.close()


def test_running_the_cell_again_closes_the_first_instance(shown):
    first = parts(shown, widgets.Widget)
    again = Router()
    again._repr_mimebundle_()
    assert all(w.comm is None for w in first)
    assert parts(again, widgets.Button)[0].comm is not None
    again.close()
    assert again._view is None


def test_closing_leaves_other_widgets_alone(shown):
    mine = widgets.Button()
    shown.close()
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


def test_the_caller_may_ask_instead():
    playground = Router(ask=False)
    playground._repr_mimebundle_()
    assert not parts(playground, widgets.RadioButtons)
    assert control(playground, "K").disabled
    playground.unlock()
    assert not control(playground, "K").disabled
    playground.close()


def test_open_from_the_start():
    assert Router(locked=False).asks == ()


def test_the_bundle_teaches_without_a_kernel(shown):
    bundle = shown._repr_mimebundle_()
    assert bundle[WIDGET_MIME]["model_id"] == shown._view.box.model_id
    assert bundle["image/svg+xml"] == (shown.frame() if shown.locked else shown.static().svg)
    assert "needs ipywidgets" in bundle["text/plain"]


def test_without_ipywidgets_the_strip_and_a_message_remain(monkeypatch):
    monkeypatch.setattr(widget, "available", lambda: False)
    bundle = Router(locked=False)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/svg+xml"}
    assert bundle["image/svg+xml"] == Router().static().svg


def test_what_is_locked_does_not_answer_its_prediction(monkeypatch):
    monkeypatch.setattr(widget, "available", lambda: False)
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
