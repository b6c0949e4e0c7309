import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.explore import RoutingStrip
from moe_lessons.explore.routing_strip.state import Params, choose, make_strip, sample, simulate
from moe_lessons.explore.routing_strip.view import before_after, draw, question, strip_of


@st.composite
def params(draw):
    n, n_experts, n_layers = draw(st.integers(1, 60)), draw(st.integers(1, 12)), draw(st.integers(1, 3))
    k = draw(st.integers(1, n_experts))
    tokens = draw(st.lists(st.text(max_size=20), min_size=n, max_size=n))
    rng = draw(st.randoms(use_true_random=False))
    ids = [[rng.sample(range(n_experts), k) for _ in range(n)] for _ in range(n_layers)]
    weights = [[[rng.random() for _ in range(k)] for _ in range(n)] for _ in range(n_layers)]
    strip = make_strip(tokens, [ids], [weights], n_experts=n_experts)
    expert, layer = draw(st.integers(0, n_experts - 1)), draw(st.integers(0, n_layers - 1))
    return Params(strip, 0, layer, expert, draw(st.integers(0, n - 1)))


@settings(deadline=None)
@given(params())
def test_any_strip_is_drawn_and_counted(p):
    state = simulate(p)
    assert sum(state.load) == pytest.approx(1)
    assert 0 < state.constancy <= 1
    rows = p.strip.ids[p.step][p.layer]
    for token, n, everywhere in state.reads:
        places = [row for one, row in zip(p.strip.tokens, rows, strict=True) if one == token]
        assert everywhere == len(places)
        assert n == sum(p.expert in row for row in places)
    root = ET.fromstring(draw(state))
    assert float(root.get("width")) <= 720
    ET.fromstring(strip_of(p, (p.layer,)).svg)


def test_the_same_state_gives_the_same_bytes():
    assert draw(simulate(Params(sample()))) == draw(simulate(Params(sample())))


def test_the_heaviest_expert_comes_first():
    strip = make_strip(["a"], [[[[2, 0]]]], [[[[0.1, 0.9]]]], n_experts=3)
    assert strip.ids[0][0][0] == (0, 2)
    assert strip.weights[0][0][0] == (0.9, 0.1)


# What it proves: the right answer is borne out by the sample.


def test_a_random_router_sorts_by_token_far_above_chance():
    strip = sample()
    before = simulate(Params(strip, step=0, layer=0))
    assert RoutingStrip.questions[0].truth == 0
    assert before.constancy > 0.6
    assert before.constancy > 2 * before.by_chance
    after = simulate(Params(strip, step=1, layer=0))
    assert after.constancy > before.constancy


def test_dealing_at_random_is_near_a_simulation():
    import random
    from collections import Counter

    strip = sample()
    rows = strip.ids[0][0]
    firsts = [row[0] for row in rows]
    sizes = [n for n in Counter(strip.tokens).values() if n > 1]
    rng, found = random.Random(0), []
    for _ in range(200):
        found.append(sum(Counter(rng.choices(firsts, k=n)).most_common(1)[0][1] for n in sizes) / sum(sizes))
    mean = sum(found) / len(found)
    assert simulate(Params(strip)).by_chance == pytest.approx(mean, abs=0.06)


def test_the_widget_is_locked_for_the_sample_and_open_for_a_text_of_ones_own():
    strip = RoutingStrip()
    assert strip.locked
    assert strip.commit(0).startswith("✔")
    assert not strip.locked
    own = RoutingStrip(make_strip(["a", "b"], [[[[0], [1]]]], [[[[1.0], [1.0]]]], n_experts=2))
    assert not own.locked
    assert not own.asks
    assert [control.label for control in own.controls()] == ["Layer", "Expert", "From token"]


def test_controls_and_landmarks_lead_where_they_say():
    strip = RoutingStrip()
    start = strip.params
    assert [control.label for control in strip.controls()] == ["Step", "Layer", "Expert", "From token"]
    for control in strip.controls():
        for value in [v for _, v in getattr(control, "options", ())] or [0, 200]:
            moved = control.write(start, value)
            assert control.read(moved) == value
            draw(simulate(moved))
    assert [mark.go(start) for mark in strip.landmarks()] == [
        replace(start, step=0, layer=0),
        replace(start, layer=1),
        replace(start, step=1),
    ]
    assert choose(start, 3).expert == 3


def test_static_strip_and_reveal_say_what_they_show():
    strip = RoutingStrip()
    assert "expert's number means another expert" in strip.static().alt
    assert strip.reveal(0).svg == before_after().svg
    assert question(Params(sample())) != question(Params(sample(), layer=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [[[]]], [[[]]]), "tokens has 0"),
        ((["a"], [[[[5]]]], [[[[1.0]]]]), "outside 0 to 1"),
        ((["a", "b"], [[[[0]]]], [[[[1.0]]]]), "each of the 2 tokens"),
        ((["a"], [[[[0]]], [[[0]]]], [[[[1.0]]]]), "have 2 and 1 steps"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_strip(*arguments, n_experts=2)
