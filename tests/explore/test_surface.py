import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from moe_lessons.balancing import load_balancing_loss
from moe_lessons.explore.surface import view as surface_view
from moe_lessons.explore.surface.explorable import Surface
from moe_lessons.explore.surface.state import LOWEST, Params, bounds, loss, simulate

shares = st.floats(0, 1)
pairs = st.builds(Params, f=shares, P=shares)


# What it proves.


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=40))
def test_every_batch_of_tokens_lies_within_the_bounds(leads):
    """Logits of two experts -> f and P as the package counts them: never in the hatched region."""
    assume(all(abs(lead) > 1e-9 for lead in leads))
    logits_TE = torch.tensor([[lead, 0.0] for lead in leads], dtype=torch.float64)
    ids_T1 = logits_TE.argmax(dim=-1, keepdim=True)
    f, P = (ids_T1 == 0).double().mean().item(), logits_TE.softmax(dim=-1)[:, 0].mean().item()
    low, high = bounds(f)
    assert low - 1e-12 <= P <= high + 1e-12
    assert simulate(Params(f, P)).reachable
    assert load_balancing_loss(logits_TE, ids_T1).item() == pytest.approx(loss(f, P))


@given(pairs)
def test_a_pair_within_the_bounds_has_tokens_and_one_outside_has_none(params):
    state = simulate(params)
    inside = state.low <= params.P <= state.high
    if min(abs(params.P - state.low), abs(params.P - state.high)) > 1e-6:
        assert state.reachable == inside
    if state.sure is not None:
        own, others = state.sure
        assert 0 <= others <= 0.5 <= own <= 1
        assert params.f * own + (1 - params.f) * others == pytest.approx(params.P, abs=1e-6)


def test_the_lowest_reachable_loss_is_seven_eighths_and_only_there():
    grid = np.linspace(0, 1, 401)
    found = {(f, P): loss(f, P) for f in grid for P in grid if simulate(Params(f, P)).reachable}
    lowest = min(found.values())
    assert lowest == pytest.approx(0.875)
    where = sorted(pair for pair, value in found.items() if value < lowest + 1e-9)
    np.testing.assert_allclose(where, [(0.25, 0.625), (0.75, 0.375)])
    assert loss(*LOWEST) == 0.875


def test_the_hatched_pairs_would_go_lower():
    """Without the bounds the minimum would be 0, so they matter."""
    assert loss(1.0, 0.0) == 0
    assert not simulate(Params(1.0, 0.0)).reachable


@given(pairs)
def test_co_sorted_means_one_or_more(params):
    state = simulate(params)
    assert state.co_sorted == (state.loss >= 1 - 1e-12)
    agree = (params.f - 0.5) * (params.P - 0.5)
    if abs(agree) > 1e-9:
        assert state.co_sorted == (agree > 0)


@given(shares)
def test_an_even_load_makes_the_loss_flat(P):
    state = simulate(Params(0.5, P))
    assert (state.loss, state.slope) == (pytest.approx(1), 0)


@given(pairs, st.floats(-0.1, 0.1))
def test_the_slope_is_the_derivative_in_P(params, step):
    state = simulate(params)
    moved = loss(params.f, params.P + step)
    assert moved - state.loss == pytest.approx(state.slope * step, abs=1e-12)


def test_the_answers_of_the_questions_hold_on_the_page():
    first, second = Surface.questions
    assert first.truth == 2
    assert simulate(Params(*LOWEST)).reachable
    assert simulate(Params(*LOWEST)).loss < 1
    assert second.options[second.truth] == f"{100 * bounds(0.75)[0]:g} %"


# The drawing.


def texts(markup):
    return [e.text for e in ET.fromstring(markup).iter() if e.tag.endswith("}text")]


@settings(deadline=None)
@given(pairs)
def test_every_state_draws_valid_svg_of_one_size(params):
    root = ET.fromstring(Surface.draw(simulate(params)))
    assert root.get("role") == "img"
    assert (root.get("width"), root.get("height")) == ("720", SIZE)


SIZE = ET.fromstring(Surface.draw(simulate(Params()))).get("height")


def test_the_frame_names_axes_units_and_regions():
    shown = texts(Surface.draw(simulate(Params())))
    assert "f₁: tokens that go to expert 1 (%)" in shown
    assert "P₁: mean probability of expert 1 (%)" in shown
    assert {"co-sorted: 1 or more", "no tokens can do this", "below 1", "0.875"} <= set(shown)


def test_an_impossible_pair_says_what_would_be_possible():
    shown = texts(Surface.draw(simulate(Params(0.75, 0.2))))
    assert "P₁ has to lie between 37.5 and 87.5 %" in shown
    assert "P₁ has to lie between 37.5 and 87.5 %" not in texts(Surface.draw(simulate(Params(0.75, 0.4))))


@pytest.mark.parametrize(
    "params",
    [
        Params(),
        Params(0.5, 0.8),
        Params(0.9, 0.5),
        Params(*LOWEST),
        Params(0.6, 0.45),
        Params(1, 1),
        Params(0, 1),
    ],
)
def test_captions_ask_and_differ(params):
    question = surface_view.question(simulate(params))
    assert "?" in question
    others = [m.go(Params()) for m in Surface().landmarks()]
    assert len({surface_view.question(simulate(p)) for p in others}) >= 5


def test_controls_and_landmarks():
    surface = Surface(locked=False)
    f, P = surface.controls()
    moved = P.write(f.write(surface.params, 75), 37.5)
    assert moved == Params(*LOWEST)
    assert (f.read(moved), P.read(moved)) == (75, 37.5)
    assert simulate(surface.landmarks()[-1].go(moved)).reachable is False


def test_static_strip_and_reveals():
    surface = Surface()
    strip = surface.static()
    assert strip.svg == Surface().static().svg
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    assert len(texts(strip.svg)) > 20
    for question in (0, 1):
        assert "0.875" in surface.reveal(question).alt


def test_a_frame_is_fast(within):
    times = []
    for i in range(30):
        start = time.process_time()
        Surface.draw(simulate(Params(i / 30, 1 - i / 40)))
        times.append(time.process_time() - start)
    within(statistics.median(times), 0.030)


def test_the_callback_path_needs_no_torch():
    code = (
        "import sys; from moe_lessons.explore import Surface; Surface(locked=False).frame(); "
        "print({'torch', 'matplotlib', 'ipywidgets', 'anywidget', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
