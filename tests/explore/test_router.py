import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.explore.router import view as router_view
from moe_lessons.explore.router.explorable import Router
from moe_lessons.explore.router.state import (
    E,
    Params,
    T,
    cloud,
    heat,
    lengthen,
    router_vectors,
    simulate,
    topk,
    turn,
    wedges,
)

SEEDS = range(20)
settings_of = st.builds(
    Params,
    angles=st.tuples(*[st.integers(0, 359)] * E),
    norms=st.tuples(*[st.floats(0, 4)] * E),
    k=st.integers(1, E),
    temperature=st.floats(0.1, 4),
    token=st.integers(0, T - 1),
    expert=st.integers(0, E - 1),
    seed=st.integers(0, 3),
)


def load(params):
    return float(simulate(params).routed.load_E[params.expert])


def reaches(params):
    return (np.array(simulate(params).routed.topk_ids_TK) == params.expert).any(axis=1)


# What it proves.


@settings(deadline=None)
@given(settings_of)
def test_logits_are_inner_products(params):
    vectors = router_vectors(params.angles, params.norms)
    by_hand = [[x * a + y * b for a, b in vectors] for x, y in cloud(params.seed)]
    np.testing.assert_allclose(simulate(params).routed.logits_TE, by_hand, atol=1e-12)


@settings(deadline=None)
@given(settings_of, st.floats(1.05, 4))
def test_a_longer_vector_never_loses_a_positive_logit_nor_wins_a_negative_one(params, factor):
    longer = lengthen(params, params.norms[params.expert] * factor)
    before, after = reaches(params), reaches(longer)
    logits = np.array(simulate(params).routed.logits_TE)[:, params.expert]
    assert not (before & ~after & (logits > 0)).any()
    assert not (~before & after & (logits < 0)).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_at_k_1_doubling_makes_every_expert_more_popular(seed):
    for expert in range(E):
        start = Params(k=1, seed=seed, expert=expert)
        assert load(lengthen(start, 2.0)) > load(start)


@pytest.mark.parametrize("seed", SEEDS)
def test_at_k_4_doubling_loses_only_tokens_with_a_negative_logit(seed):
    lost_by_all = 0.0
    for expert in range(E):
        start = Params(k=4, seed=seed, expert=expert)
        before, after = reaches(start), reaches(lengthen(start, 2.0))
        logits = np.array(simulate(start).routed.logits_TE)[:, expert]
        assert (logits[before & ~after] < 0).all()
        lost_by_all += load(start) - load(lengthen(start, 2.0))
    assert lost_by_all > 0


def test_the_answers_of_the_questions_hold_on_the_page():
    for question, k in zip(Router.questions, (1, 4), strict=True):
        change = load(lengthen(Params(k=k), 2.0)) - load(Params(k=k))
        assert question.truth == (0 if change > 0 else 2)


@settings(deadline=None)
@given(settings_of, st.floats(0.1, 4))
def test_temperature_alone_never_changes_the_chosen_set(params, temperature):
    cold, warm = simulate(params), simulate(heat(params, temperature))
    assert cold.chosen == warm.chosen
    np.testing.assert_array_equal(cold.routed.topk_ids_TK, warm.routed.topk_ids_TK)
    # Nor would choosing by the probabilities themselves change it, ties aside.
    logits = np.array(cold.routed.logits_TE)
    for t in (params.temperature, temperature):
        scaled = np.exp((logits - logits.max(1, keepdims=True)) / t)
        ids = np.array(topk(tuple(map(tuple, scaled.tolist())), params.k))
        picked = np.take_along_axis(logits, ids, 1)
        np.testing.assert_allclose(picked.min(1), np.sort(logits, 1)[:, -params.k], atol=1e-9)


def test_temperature_does_change_the_probabilities():
    assert max(simulate(heat(Params(), 0.2)).probs_E) > max(simulate(heat(Params(), 4.0)).probs_E) + 0.1


# The state.


@settings(deadline=None)
@given(settings_of)
def test_plain_python_gives_what_numpy_gives(params):
    state = simulate(params)
    turn = np.deg2rad(params.angles)
    vectors = np.array(params.norms)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    logits = np.array(cloud(params.seed)) @ vectors.T
    np.testing.assert_allclose(state.routed.logits_TE, logits, atol=1e-12)
    scaled = logits[params.token] / params.temperature
    np.testing.assert_allclose(state.probs_E, np.exp(scaled) / np.exp(scaled).sum(), atol=1e-9)
    ids = np.argsort(-np.array(state.routed.logits_TE), axis=1, kind="stable")[:, : params.k]
    np.testing.assert_array_equal(state.routed.topk_ids_TK, ids)
    load = np.bincount(ids.ravel(), minlength=E) / T
    np.testing.assert_allclose(state.routed.load_E, load)


@settings(deadline=None)
@given(settings_of)
def test_state_adds_up(params):
    state = simulate(params)
    assert sum(state.routed.load_E) == pytest.approx(params.k)
    assert sum(state.probs_E) == pytest.approx(1)
    assert len(state.chosen) == params.k
    assert all(len(set(row)) == params.k for row in state.routed.topk_ids_TK)


@settings(deadline=None)
@given(settings_of)
def test_wedges_tile_the_plane_and_agree_with_every_token(params):
    tiles = wedges(router_vectors(params.angles, params.norms), params.k)
    assert sum(w.stop - w.start for w in tiles) == pytest.approx(360)
    state = simulate(params)
    for (x, y), row, logits in zip(
        state.tokens_T2, state.routed.topk_ids_TK, state.routed.logits_TE, strict=True
    ):
        ordered = np.sort(logits)[::-1]
        if params.k < E and ordered[params.k - 1] - ordered[params.k] < 1e-6:
            continue
        angle = np.rad2deg(np.arctan2(y, x)) % 360
        home = next(w for w in tiles if w.start <= angle < w.stop or w.start <= angle + 360 < w.stop)
        assert home.experts == frozenset(row)


def test_the_same_parameters_give_the_same_state():
    assert Router.draw(simulate(Params(k=3))) == Router.draw(simulate(Params(k=3)))


def test_angle_moves_one_vector_only():
    moved = turn(Params(expert=2), 10)
    assert moved.angles[2] == 10
    assert replace(moved, angles=Params().angles) == Params(expert=2)


# The drawing.


def texts(markup):
    return [e.text for e in ET.fromstring(markup).iter() if e.tag.endswith("}text")]


@settings(deadline=None)
@given(settings_of)
def test_every_state_draws_valid_svg_of_one_size(params):
    root = ET.fromstring(Router.draw(simulate(params)))
    assert root.get("role") == "img"
    # A frame that changes its height would move the controls under the pointer.
    assert (root.get("width"), root.get("height")) == ("720", SIZE)


SIZE = ET.fromstring(Router.draw(simulate(Params()))).get("height")


def test_the_frame_names_axes_units_and_experts():
    shown = texts(Router.draw(simulate(Params(k=2))))
    assert "tokens that reach the expert (%)" in shown
    assert {str(e) for e in range(E)} <= set(shown)
    assert sum("✓" in word for word in shown) == 3  # two chosen, one legend


@pytest.mark.parametrize("change", [{"k": 6}, {"k": 4}, {"temperature": 0.2}, {}])
def test_captions_ask(change):
    assert router_view.question(simulate(replace(Params(), **change))).endswith("?")


def test_caption_follows_what_happened():
    grown = router_view.question(simulate(lengthen(Params(), 2.0)))
    shrunk = router_view.question(simulate(lengthen(Params(k=4), 2.0)))
    assert "has grown" in grown
    assert "fewer tokens" in shrunk


def test_caption_takes_a_sliders_rounding_for_what_it_is():
    moved = router_view.question(simulate(replace(Params(), temperature=1.0000000000000002)))
    assert moved == router_view.question(simulate(Params()))


def test_static_strip_and_reveals():
    playground = Router()
    strip = playground.static()
    assert strip.svg == Router().static().svg
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    assert len(texts(strip.svg)) > 20
    for question in (0, 1):
        ET.fromstring(playground.reveal(question).svg)


def test_the_strip_token_goes_to_a_negative_logit():
    state = simulate(Params(k=4, token=router_view.STRIP_TOKEN))
    logits_E = state.routed.logits_TE[router_view.STRIP_TOKEN]
    assert min(logits_E[e] for e in state.chosen) < 0


def test_a_frame_is_fast():
    times = []
    for i in range(30):
        start = time.process_time()
        Router.draw(simulate(lengthen(Params(k=1 + i % E), 1 + i / 50)))
        times.append(time.process_time() - start)
    assert statistics.median(times) < 0.030


def test_the_callback_path_needs_no_torch_and_no_numpy():
    code = (
        "import sys; from moe_lessons.explore import Router; Router(locked=False).frame(); "
        "print({'numpy', 'torch', 'matplotlib', 'ipywidgets', 'anywidget'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
