"""No picture says the opposite: what is more is drawn as more, on one scale, and what does not fit is marked.

One test for each explorable, over many settings, and beside each a view that breaks it and must be caught.
"""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside the tests
from marks import Readings, assert_marked, assert_one_scale, marks, of, said, some

from moe_lessons import svg
from moe_lessons.explore import scale as scale_module
from moe_lessons.explore.balancing_race import lanes as race_lanes
from moe_lessons.explore.balancing_race import price as race_price
from moe_lessons.explore.balancing_race import state as race
from moe_lessons.explore.balancing_race import view as race_view
from moe_lessons.explore.calculator import panels as calculator_panels
from moe_lessons.explore.calculator import state as calculator
from moe_lessons.explore.calculator import view as calculator_view
from moe_lessons.explore.capacity import panels as capacity_panels
from moe_lessons.explore.capacity import state as capacity
from moe_lessons.explore.capacity import view as capacity_view

INK = calculator_panels.INK


def silent(monkeypatch):
    """Break every scale: nothing is beyond it, so that a clamped value has no mark."""
    monkeypatch.setattr(scale_module.Scale, "beyond", lambda self, value: 0)


# The calculator: bars that add up for the parameters, dots on logarithmic axes for bytes and FLOPs.


def calculator_settings(rng):
    p = calculator.choose(calculator.Params(), rng.choice(calculator.MODELS[:3]))
    p = calculator.with_top_k(calculator.with_experts(p, 2 ** rng.uniform(0, 9)), 2 ** rng.uniform(0, 5))
    return replace(
        p,
        d_expert=64 * round(2 ** rng.uniform(0, 9)),
        n_shared=rng.choice((0, 0, 1, 8)),
        dtype=rng.choice(calculator.DTYPES),
        context=round(2 ** rng.uniform(8, 21)),
        latent_cache=rng.random() < 0.5,
    )


def calculator_readings(settings, draw=calculator_view.draw):
    found = Readings()
    for params in settings:
        state = calculator.simulate(params)
        page = marks(draw(state))
        off = [mark for mark in page if mark.kind == "text" and mark.said.endswith("off the scale")]
        names = [mark for mark in page if mark.kind == "text" and mark.right < 165 and mark.bottom < 230]
        rows = {mark.said: mark for mark in names if mark.said.startswith(("=", "exp", "att", "emb", "den"))}
        counts = {**dict(calculator.parts(state)), "= total": state.parameters.total}
        counts["= active"] = state.parameters.active
        assert len(rows) == 7
        for name, mark in rows.items():
            beside = [bar for bar in of(page, "rect", height=16) if abs(bar.y - mark.y) < 8]
            if any(abs(words.y - mark.y) < 4 and words.left > 560 for words in off):
                found.beyond(counts[name], True)
            else:
                found.add(("parameters", params.model), counts[name], beside[0].width if beside else 0.0)
        dots = [dot.x for dot in of(page, "circle", width=11)]
        amounts = [state.weight_bytes, state.active_bytes, state.cache_bytes]
        amounts += [state.flops.matrices, state.flops.head, state.flops.context]
        assert len(dots) == 6, "a dot has left its axis"
        for i, (amount, x) in enumerate(zip(amounts, dots, strict=True)):
            found.add(("bytes", "FLOPs")[i // 3], math.log10(amount), x)
    return found


def test_calculator():
    found = calculator_readings(some(calculator_settings))
    assert_one_scale(found)
    assert_marked(found)


def test_calculator_that_rescales_is_caught(monkeypatch):
    def rescaled(state):
        monkeypatch.setattr(calculator_panels, "published_state", lambda model: state)
        return calculator_view.draw(state)

    with pytest.raises(AssertionError, match="drawn"):
        assert_one_scale(calculator_readings(some(calculator_settings), rescaled))


def test_calculator_that_clamps_is_caught(monkeypatch):
    torn = calculator_panels.bar
    clamped = lambda x, y, h, value, full, *more: torn(x, y, h, min(value, full), full, *more)  # noqa: E731
    monkeypatch.setattr(calculator_panels, "bar", clamped)
    with pytest.raises(AssertionError, match="drawn"):
        assert_one_scale(calculator_readings(some(calculator_settings)))


def test_calculator_shows_what_twice_the_experts_buy():
    """The reported picture: the total's bar doubles, the active one stays, and its dot too."""

    def sums(params):
        page = marks(calculator_view.draw(calculator.simulate(params)))
        return [bar.width for bar in of(page, "rect", height=16) if bar.left < 170 and bar.fill == INK]

    before, after = sums(calculator.Params()), sums(calculator.Params(n_experts=16))
    assert after[0] == pytest.approx(before[0], abs=0.11)
    assert after[1] == pytest.approx(before[1] * 91.8 / 46.7, rel=2e-3)


# The balancing race: columns of load, and the map of error against MaxVio.


def race_settings(rng):
    step = rng.choice((0, 0, 20, 40, 60, 580, rng.randrange(0, race.STEPS, race.EVERY)))
    return race.Params(rng.choice(race.ALPHAS), rng.choice(race.RATES), step, rng.randrange(race.SEEDS))


def race_readings(settings):
    found = Readings()
    for params in settings:
        state = race.simulate(params)
        page = marks(race_view.draw(state))
        columns_of = [bar for bar in of(page, "rect", width=29) if bar.right < 300]
        loads = [share for lane in state.lanes for share in lane.load_E]
        for share, bar in zip(loads, columns_of, strict=True):
            if share * race.E > race_lanes.FULL:
                over = f"▲ {100 * share:.0f} %"
                found.beyond(share, any(t.said == over and abs(t.x - bar.x) < 3 for t in page))
            else:
                found.add("load", share, bar.height)
        badges = {badge_of(page, disc): disc for disc in of(page, "circle", width=18) if disc.x > 400}
        rings = [ring for ring in of(page, "circle", width=8, fill="#ffffff") if ring.x > 400]
        for i, lane in enumerate(state.lanes):
            cost, letter = 1000 * state.cost(i), race_lanes.LETTERS[i]
            if not race_price.LOWEST <= cost <= race_price.HIGHEST:
                words = f"{letter} {race_lanes.thousandths(state.cost(i))}"
                arrow = arrows(page, race_lanes.INKS[i], 11)
                found.beyond(cost, words in said(page) and len(arrow) == 1)
                found.add("MaxVio", lane.vio, arrow[0].x if arrow else 0)
                outwards = arrow[0].points[0][1] - arrow[0].points[1][1] if arrow else 0
                assert not arrow or (outwards > 0) == (cost < 0), "an arrow points inwards"
                continue
            # A badge that stepped aside has left a ring at its spot.
            spot = badges[letter]
            spot = next((ring for ring in rings if ring.stroke == race_lanes.INKS[i]), spot)
            found.add("MaxVio", lane.vio, spot.x)
            found.add("error", cost, -spot.y)
    return found


def badge_of(page, disc):
    """The letter on a badge."""
    return next(t.said for t in page if t.kind == "text" and len(t.said) == 1 and t.meets(disc))


def arrows(page, ink, size):
    """The triangles of one ink and size."""
    return [p for p in page if p.kind == "polygon" and p.fill == ink and abs(p.height - size) < 0.2]


def test_balancing_race():
    found = race_readings(some(race_settings))
    assert_one_scale(found)
    assert_marked(found)


def test_balancing_race_that_clamps_without_a_mark_is_caught(monkeypatch):
    silent(monkeypatch)
    with pytest.raises(AssertionError):
        assert_marked(race_readings(some(race_settings)))


def test_balancing_race_that_rescales_its_columns_is_caught(monkeypatch):
    fixed = race_view.lane_of

    def rescaled(state, *place):
        monkeypatch.setattr(race_lanes, "FULL", race.E * max(max(lane.load_E) for lane in state.lanes))
        return fixed(state, *place)

    monkeypatch.setattr(race_view, "lane_of", rescaled)
    settings = [p for p in some(race_settings) if p.step > 0]
    with pytest.raises(AssertionError, match="load"):
        assert_one_scale(race_readings(settings))


def test_every_setting_of_the_race_has_room_for_its_maxvio():
    curves = [race.simulate(race.Params(step=step)) for step in range(0, race.STEPS, race.EVERY)]
    every = [vio for state in curves for vio, _ in (*state.loss_curve, *state.bias_curve)]
    assert max(every + [lane.vio for state in curves for lane in state.lanes]) <= race_price.MOST_VIO


@pytest.mark.parametrize("params", some(race_settings, 12))
def test_no_badge_of_the_race_covers_a_tick_label_or_another_badge(params):
    page = [mark for mark in marks(race_view.draw(race.simulate(params))) if mark.left > 390]
    badges = of(page, "circle", width=18)
    badges += [pill for pill in of(page, "rect", height=18) if pill.width > 30]
    labels = [t for t in page if t.kind == "text" and t.fill == race_lanes.MUTED]
    for i, badge in enumerate(badges):
        assert not [label.said for label in labels if badge.meets(label)]
        for other in badges[:i]:
            assert not badge.meets(other) or math.hypot(badge.x - other.x, badge.y - other.y) > 17


def test_a_badge_on_a_tick_label_is_caught(monkeypatch):
    """What the race once did: tick labels right below the axis, where badges stand."""
    monkeypatch.setattr(race_price, "STRIP", 0.0)
    caught = 0
    for params in some(race_settings, 12):
        try:
            test_no_badge_of_the_race_covers_a_tick_label_or_another_badge(params)
        except AssertionError:
            caught += 1
    assert caught


# Capacity: the queues, and both shares against the factor.


def capacity_settings(rng):
    sizes = rng.choice(((64, 8), (64, 8), (512, 8), (512, 64), (16, 64)))
    return capacity.Params(
        rng.choice(capacity.FACTORS),
        *sizes,
        rng.choice((0.0, 0.0, 1.0, 1.5)),
        rng.choice((1, 2)),
        rng.randrange(9),
    )


def capacity_readings(settings):
    found = Readings()
    for params in settings:
        state = capacity.simulate(params)
        page = marks(capacity_view.draw(state))
        full = capacity_panels.queue_scale(params.n_tokens, params.n_experts, params.k)
        landmark = (params.n_tokens, params.n_experts, params.k)
        row = 286 / params.n_experts
        tall = min(0.8 * row, 24)
        cells = [r for r in of(page, "rect", left=32) if r.fill == capacity_panels.SERVED]
        lost = [r for r in page if r.kind == "rect" and r.fill == svg.tint(capacity_panels.LOST, 0.3)]
        points = [p for p in page if p.kind == "polygon" and p.fill == capacity_panels.DARK]
        for e, queue in enumerate(state.queues):
            y = 28 + 24 + row * (e + 0.5)  # below the title, which has one line
            mine = [r for r in (*cells, *lost) if abs(r.y - y) < tall / 2]
            length = max((r.right for r in mine), default=32) - 32
            if len(queue) > full:
                found.beyond(len(queue), any(abs(p.y - y) < 0.2 for p in points))
            else:
                found.add(landmark, len(queue), length)
        edge = next(m for m in page if m.kind == "line" and m.stroke == INK and m.width < 0.1)
        found.add(landmark, state.capacity, edge.x - 32)
    return found


def test_capacity():
    found = capacity_readings(some(capacity_settings))
    assert_one_scale(found)
    assert_marked(found)


def test_capacity_that_rescales_is_caught(monkeypatch):
    fixed = capacity_view.queues

    def rescaled(state, *place, **how):
        longest = max(state.capacity, *map(len, state.queues))
        monkeypatch.setattr(capacity_panels, "queue_scale", lambda *sizes: longest)
        return fixed(state, *place, **how)

    monkeypatch.setattr(capacity_view, "queues", rescaled)
    with pytest.raises(AssertionError, match="drawn"):
        assert_one_scale(capacity_readings(some(capacity_settings)))


def test_capacity_that_cuts_without_a_mark_is_caught(monkeypatch):
    monkeypatch.setattr(capacity_panels, "_torn", lambda *place: "")
    with pytest.raises(AssertionError):
        assert_marked(capacity_readings(some(capacity_settings)))


def test_a_torn_queue_says_how_long_it_is():
    state = capacity.simulate(capacity.Params(skew=1.0))
    assert str(max(map(len, state.queues))) in said(marks(capacity_view.draw(state)))
    assert max(map(len, state.queues)) > capacity_panels.queue_scale(64, 8, 1)
