"""No picture says the opposite: what is more is drawn as more, on one scale, and what does not fit is marked.

One test for each explorable, over many settings, and beside each a view that breaks it and must be caught.
"""

import math
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside the tests
from marks import Readings, assert_marked, assert_one_scale, marks, of, said

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
from moe_lessons.explore.collapse import state as collapse
from moe_lessons.explore.collapse import view as collapse_view
from moe_lessons.explore.permutation import state as permutation
from moe_lessons.explore.permutation import view as permutation_view
from moe_lessons.explore.router import panels as router_panels
from moe_lessons.explore.router import state as router
from moe_lessons.explore.router import view as router_view
from moe_lessons.explore.routing_strip import state as strips
from moe_lessons.explore.routing_strip import view as strips_view
from moe_lessons.explore.rows import columns
from moe_lessons.explore.sorted_layer import state as sorted_layer
from moe_lessons.explore.sorted_layer import view as sorted_view
from moe_lessons.explore.surface import panels as surface_panels
from moe_lessons.explore.surface import state as surface
from moe_lessons.explore.surface import view as surface_view

INK = calculator_panels.INK
N = 40
"""Settings of each explorable that are drawn."""


def some(make, n=N):
    """Draw the same settings in every run."""
    rng = random.Random(7)
    return [make(rng) for _ in range(n)]


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

    def rescaled(state, *place):
        longest = max(state.capacity, *map(len, state.queues))
        monkeypatch.setattr(capacity_panels, "queue_scale", lambda *sizes: longest)
        return fixed(state, *place)

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


# The collapse race: shares on a bar of 100 %, effective experts from 1 to 8.


def collapse_settings(rng):
    return collapse.Params(
        rng.choice(collapse.MUS),
        rng.choice(collapse.STARTS),
        rng.choice(collapse.KS),
        rng.randrange(collapse.SEEDS),
        rng.choice(collapse.STEPS),
    )


def collapse_readings(settings, draw=collapse_view.draw):
    found = Readings()
    for params in settings:
        state = collapse.simulate(params)
        page = marks(draw(state))
        bars = [bar for bar in of(page, "rect", height=20, left=58) if bar.fill != "#f2f2f2"]
        for share, bar in zip(state.shares_E, bars, strict=True):
            found.add("share", share, bar.width)
        (dot,) = of(page, "circle", width=9)
        found.add("effective experts", state.effective_S[params.seed], -dot.y)
        found.add("step", params.step, dot.x)
    return found


def test_collapse():
    assert_one_scale(collapse_readings(some(collapse_settings)))


def test_collapse_that_rescales_is_caught():
    def rescaled(state):
        largest = max(state.shares_E)
        return collapse_view.draw(replace(state, shares_E=[share / largest for share in state.shares_E]))

    with pytest.raises(AssertionError, match="share"):
        assert_one_scale(collapse_readings(some(collapse_settings), rescaled))


# The router playground: loads, a softmax, and the lengths of the vectors.


def router_settings(rng):
    p = router.Params(
        k=rng.randint(1, router.E), expert=rng.randrange(router.E), token=rng.randrange(router.T)
    )
    norms = tuple(rng.uniform(0, 4) for _ in range(router.E))
    return replace(p, norms=norms, temperature=rng.uniform(0.1, 4))


def router_readings(settings):
    found = Readings()
    for params in settings:
        state = router.simulate(params)
        page = marks(router_view.draw(state))
        bars = [bar for bar in of(page, "rect", height=18) if bar.fill != "#f2f2f2"]
        numbers = [*state.routed.load_E.tolist(), *state.probs_E.tolist()]
        for i, (share, bar) in enumerate(zip(numbers, bars, strict=True)):
            found.add(("load", "softmax")[i // router.E], share, bar.width)
        order = [e for e in range(router.E) if e != params.expert] + [params.expert]
        middle = (8 + 198, 28 + 22 + 198)
        shafts = [
            line
            for line in page
            if line.kind == "line" and line.stroke in (INK, router_panels.MUTED) and line.right < 404
        ]
        shafts = [line for line in shafts if math.dist(line.points[0], middle) < 0.2]
        for e, line in zip(order, shafts, strict=True):
            found.add("norm", params.norms[e], math.dist(*line.points))
    return found


def test_router():
    assert_one_scale(router_readings(some(router_settings)))


def test_router_that_rescales_is_caught(monkeypatch):
    fixed = router_view.softmax

    def rescaled(state, *place):
        return fixed(replace(state, probs_E=state.probs_E / state.probs_E.max()), *place)

    monkeypatch.setattr(router_view, "softmax", rescaled)
    with pytest.raises(AssertionError, match="softmax"):
        assert_one_scale(router_readings(some(router_settings)))


def test_router_that_clamps_its_vectors_is_caught(monkeypatch):
    fixed = router_panels.router_vectors
    short = lambda angles, norms: fixed(angles, [min(n, 2.0) for n in norms])  # noqa: E731
    monkeypatch.setattr(router_panels, "router_vectors", short)
    with pytest.raises(AssertionError, match="norm"):
        assert_one_scale(router_readings(some(router_settings)))


# The routing strip: loads of a layer, and what an expert reads. The scale is the text's.


def strip_settings(rng):
    text = strips.sample()
    return strips.Params(
        text, rng.randrange(len(text.steps)), rng.randrange(text.n_layers), rng.randrange(text.n_experts)
    )


def strip_readings(settings, draw=strips_view.draw):
    found = Readings()
    for params in settings:
        state = strips.simulate(params)
        page = marks(draw(state))
        loads = [bar for bar in of(page, "rect", width=26) if bar.top > 250]
        for share, bar in zip(state.load, loads, strict=True):
            found.add("load", share, bar.height)
        bars = [bar for bar in of(page, "rect", height=16, left=464) if bar.top > 250]
        numbers = [n for _, held, everywhere in state.reads[:6] for n in (held, everywhere)]
        for n, bar in zip(numbers, bars, strict=True):
            found.add("places", n, bar.width)
    return found


def test_routing_strip():
    assert_one_scale(strip_readings(some(strip_settings)))


@pytest.mark.parametrize("landmark", ["load", "places"])
def test_routing_strip_that_rescales_is_caught(landmark):
    def rescaled(state):
        text = replace(state.params.strip)
        if landmark == "load":
            text.__dict__["fullest"] = max(state.load)
        else:
            text.__dict__["commonest"] = max(n for _, _, n in state.reads)
        return strips_view.draw(replace(state, params=replace(state.params, strip=text)))

    with pytest.raises(AssertionError, match=landmark):
        assert_one_scale(strip_readings(some(strip_settings), rescaled))


# The surface: the point, the gauge, and the arrow that pushes.


def surface_settings(rng):
    ends = (0.0, 1.0, rng.random(), rng.random(), rng.random())
    return surface.Params(rng.choice(ends), rng.choice(ends))


def surface_readings(settings):
    found = Readings()
    for params in settings:
        state = surface.simulate(params)
        page = marks(surface_view.draw(state))
        (point,) = of(page, "circle", width=14)
        found.add("f", params.f, point.x)
        found.add("P", params.P, -point.y)
        tips = [p for p in page if p.kind == "polygon" and p.fill == INK]
        found.add("loss", state.loss, next(p.x for p in tips if abs(p.height - 11) < 0.2 and p.left > 430))
        head = [p for p in tips if abs(p.height - 7) < 0.2 and abs(p.width - 10) < 0.2]
        if abs(state.slope) >= 0.02:
            shaft = page[page.index(head[0]) - 1]
            assert shaft.kind == "line"
            found.add("push", abs(state.slope), shaft.height)
            # Descent: a positive slope pushes P down, and y runs downwards.
            tip = head[0].points[2][1]
            assert (tip > head[0].points[0][1]) == (state.slope > 0)
    return found


def test_surface():
    assert_one_scale(surface_readings(some(surface_settings, 80)))


def test_surface_that_clamps_its_gauge_is_caught(monkeypatch):
    class Short(scale_module.Scale):
        def at(self, value):
            return super().at(max(value, 0.5))

    monkeypatch.setattr(surface_panels, "Scale", Short)
    with pytest.raises(AssertionError, match="loss"):
        assert_one_scale(surface_readings(some(surface_settings, 80)))


# Sorted rows: as many rows, as tall a matrix.


def rows_readings(states, draw):
    found = Readings()
    for state in states:
        page = marks(draw(state))
        names = [t for t in page if t.kind == "text" and t.said in ("W0", "W1", "W2", "W3")]
        for name in names:
            e = int(name.said[1])
            starts = (0, *state.ends[:-1])
            box = min((r for r in page if r.kind == "rect" and r.meets(name)), key=lambda r: r.width)
            found.add("rows of an expert", state.ends[e] - starts[e], box.height)
    return found


def permutation_states():
    return [permutation.simulate(permutation.Params(6, t, r)) for r in permutation.ROUTINGS for t in (0, 5)]


def sorted_states():
    return [sorted_layer.simulate(sorted_layer.Params(routing=r)) for r in sorted_layer.ROUTINGS]


@pytest.mark.parametrize(
    ("states", "draw"), [(permutation_states, permutation_view.draw), (sorted_states, sorted_view.draw)]
)
def test_permutation_and_sorted_layer(states, draw, monkeypatch):
    assert_one_scale(rows_readings(states(), draw))
    whole = columns._box
    short = lambda column, top, tall, *look: whole(column, top, min(tall, 45.0), *look)  # noqa: E731
    monkeypatch.setattr(columns, "_box", short)
    with pytest.raises(AssertionError, match="drawn"):
        assert_one_scale(rows_readings(states(), draw))


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
