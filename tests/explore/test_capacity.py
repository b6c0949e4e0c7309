import statistics
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import capacity as cap
from moe_lessons.explore.capacity import view as capacity_view
from moe_lessons.explore.capacity.explorable import Capacity
from moe_lessons.explore.capacity.panels import _hatched
from moe_lessons.explore.capacity.state import (
    FACTORS,
    Params,
    choices,
    curves,
    overflow,
    places,
    reach,
    shares,
    simulate,
)

settings_of = st.builds(
    Params,
    factor=st.sampled_from(FACTORS),
    n_tokens=st.integers(1, 32).map(lambda n: 16 * n),
    n_experts=st.sampled_from([4, 8, 16, 32, 64]),
    skew=st.integers(0, 30).map(lambda n: n / 20),
    k=st.integers(1, 2),
    seed=st.integers(0, 30),
)


# What it proves.


@pytest.mark.parametrize(
    ("params", "percent"),
    [
        (Params(), 13.1),
        (Params(n_tokens=512), 4.7),
        (Params(n_tokens=512, n_experts=64), 13.8),
        (Params(k=2), 8.6),
        (Params(n_tokens=512, k=2), 3.1),
        (Params(n_tokens=512, n_experts=64, k=2), 9.8),
    ],
)
def test_drops_of_a_perfectly_random_router(params, percent):
    assert round(100 * simulate(params).expected_dropped, 1) == percent


@pytest.mark.parametrize(
    "params", [Params(), Params(k=2), Params(skew=1.0), Params(skew=0.5, k=2, factor=1.25)]
)
def test_draws_agree_with_what_is_expected(params):
    states = [simulate(replace(params, seed=seed)) for seed in range(300)]
    for drawn, expected in (("dropped", "expected_dropped"), ("empty", "expected_empty")):
        values = [getattr(state, drawn) for state in states]
        error = statistics.stdev(values) / len(values) ** 0.5
        assert statistics.mean(values) == pytest.approx(getattr(states[0], expected), abs=4 * error)


def test_the_answers_of_the_questions_hold_on_the_page():
    first, second = Capacity.questions
    start, large = simulate(Params()), simulate(Params(n_tokens=512, n_experts=64))
    assert first.options[first.truth] == f"About {100 * start.expected_dropped:.0f} %"
    assert "same" in second.options[second.truth]
    assert large.expected_dropped == pytest.approx(start.expected_dropped, rel=0.1)
    assert simulate(Params(n_tokens=512)).expected_dropped < 0.5 * start.expected_dropped


@given(settings_of)
def test_at_factor_1_every_refused_row_leaves_a_place_empty(params):
    state = simulate(replace(params, factor=1.0, n_tokens=64 * (1 + params.n_tokens % 8)))
    assert state.dropped == pytest.approx(state.empty)
    assert state.expected_dropped == pytest.approx(state.expected_empty)


@given(settings_of)
def test_a_larger_factor_never_drops_more_and_never_wastes_less(params):
    c = curves(params.n_tokens, params.n_experts, params.skew, params.k)
    assert all(a >= b - 1e-12 for a, b in zip(c.dropped, c.dropped[1:], strict=False))
    assert all(a <= b + 1e-12 for a, b in zip(c.empty, c.empty[1:], strict=False))


# The state.


@given(settings_of)
def test_state_adds_up(params):
    state = simulate(params)
    p = params
    assert state.capacity == cap.expert_capacity(p.n_tokens, p.n_experts, p.k, p.factor)
    assert sum(map(len, state.queues)) == p.n_tokens * p.k
    assert all(
        list(queue) == sorted(set(queue)) for queue in state.queues
    )  # no token twice, first come first
    over = [max(0, len(queue) - state.capacity) for queue in state.queues]
    assert sum(state.drops_T) == sum(over) == pytest.approx(state.dropped * p.n_tokens * p.k)
    served = sum(min(len(queue), state.capacity) for queue in state.queues)
    assert state.empty == pytest.approx(1 - served / (p.n_experts * state.capacity))
    refused = [0] * p.n_tokens
    for queue in state.queues:
        for token in queue[state.capacity :]:
            refused[token] += 1
    assert tuple(refused) == state.drops_T


@given(st.integers(2, 64), st.floats(0, 1.5))
def test_reach_is_a_probability_and_sums_to_k(n_experts, skew):
    for k in (1, 2):
        reach_E = reach(shares(n_experts, skew), k)
        assert sum(reach_E) == pytest.approx(k)
        assert max(reach_E) <= 1 + 1e-9


def test_reach_of_two_choices_is_what_is_drawn():
    drawn = Counter(expert for seed in range(60) for row in choices(512, 4, 1.0, 2, seed) for expert in row)
    drawn_E = [drawn[expert] / (60 * 512) for expert in range(4)]
    assert drawn_E == pytest.approx(reach(shares(4, 1.0), 2), abs=0.01)
    with pytest.raises(ValueError, match="k is 3: choose 1 or 2"):
        reach(shares(4, 1.0), 3)


# Plain Python and the package's tensors.


@given(settings_of)
def test_places_and_who_is_dropped_are_the_package_s(params):
    p, state = params, simulate(params)
    assert places(p.n_tokens, p.n_experts, p.k, p.factor) == cap.expert_capacity(
        p.n_tokens, p.n_experts, p.k, p.factor
    )
    ids_TK = torch.tensor(choices(p.n_tokens, p.n_experts, p.skew, p.k, p.seed))
    kept_TK = cap.admit(
        ids_TK, torch.ones(ids_TK.shape), n_experts=p.n_experts, capacity=state.capacity
    ).kept_TK
    assert state.drops_T == tuple((~kept_TK).sum(dim=1).tolist())


@given(st.integers(0, 512), st.floats(1e-4, 1))
def test_overflow_is_the_package_s(n_tokens, p):
    theirs = cap.expected_overflow(n_tokens, torch.tensor([p], dtype=torch.float64))[0].tolist()
    assert overflow(n_tokens, p) == pytest.approx(theirs, abs=1e-9)


def test_choices_are_those_of_gumbel_noise_in_torch():
    noise = torch.rand(512, 64, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    scores_TE = torch.tensor(shares(64, 0.5), dtype=torch.float64).log() - (-noise[:, :64].log()).log()
    ids_TK = scores_TE.topk(2, dim=1).indices
    assert choices(512, 64, 0.5, 2, 9) == tuple(map(tuple, ids_TK.tolist()))


def test_a_factor_off_the_slider_is_refused():
    with pytest.raises(ValueError, match=r"factor is 3: choose 0.5 to 2.5"):
        simulate(Params(factor=3))


# The drawing.


def texts(markup):
    return [e.text for e in ET.fromstring(markup).iter() if e.tag.endswith("}text")]


SIZE = ET.fromstring(Capacity.draw(simulate(Params()))).get("height")


@settings(deadline=None, max_examples=60)
@given(settings_of)
def test_every_state_draws_valid_svg_of_one_size(params):
    root = ET.fromstring(Capacity.draw(simulate(params)))
    assert root.get("role") == "img"
    # A frame that changes its height would move the controls under the pointer.
    assert (root.get("width"), root.get("height")) == ("720", SIZE)


def test_the_frame_names_both_shares_and_the_tokens_that_were_dropped():
    state = simulate(Params())
    shown = texts(Capacity.draw(state))
    assert f"{100 * state.dropped:.1f} %" in shown
    assert {"rows dropped", "places empty", "capacity factor", "mean 13.1 %"} <= set(shown)
    assert {str(t) for t, drops in enumerate(state.drops_T) if drops} <= set(shown)


def test_the_locked_frame_gives_no_answer_and_moves_nothing():
    explorable = Capacity(ask=False)
    before = explorable.frame()
    assert ET.fromstring(before).get("height") == SIZE
    assert not any("%" in (said or "") or said == "×" for said in texts(before))
    assert "dropped" not in before
    explorable.unlock()
    assert explorable.frame() == Capacity.draw(simulate(Params()))


@given(st.floats(0, 400), st.floats(2, 40))
def test_hatching_stays_in_its_box(width, height):
    markup = _hatched(10.0, 20.0, width, height)
    for step in markup.split(' d="')[1].split('"')[0].split("M")[1:] if " d=" in markup else []:
        for point in step.split("L"):
            x, y = map(float, point.split())
            assert 10 - 0.06 <= x <= 10 + width + 0.06
            assert 20 - 0.06 <= y <= 20 + height + 0.06


@pytest.mark.parametrize(
    "change", [{}, {"skew": 1.0}, {"skew": 1.0, "factor": 2.5}, {"factor": 0.5}, {"factor": 1.5}]
)
def test_captions_ask(change):
    assert capacity_view.question(simulate(replace(Params(), **change))).endswith("?")


def test_static_strip_and_reveals():
    explorable = Capacity()
    strip = explorable.static()
    assert strip.svg == Capacity().static().svg
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    assert len(texts(strip.svg)) > 20
    for question in (0, 1):
        ET.fromstring(explorable.reveal(question).svg)


def test_controls_write_what_they_read():
    explorable = Capacity()
    for control in explorable.controls():
        assert control.read(control.write(Params(), control.read(Params()))) == control.read(Params())
    for landmark in explorable.landmarks():
        simulate(landmark.go(Params(seed=3)))


@pytest.mark.parametrize(("n_tokens", "n_experts"), [(64, 8), (512, 4), (512, 64)])
def test_a_frame_is_fast(n_tokens, n_experts, within):
    times = []
    for i in range(30):
        params = Params(FACTORS[i], n_tokens, n_experts, skew=0.5, k=1 + i % 2, seed=i)
        start = time.process_time()
        Capacity.draw(simulate(params))
        times.append(time.process_time() - start)
    within(statistics.median(times), 0.030)
