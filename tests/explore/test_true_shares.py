"""No picture says the opposite, continued: explorables whose scale holds whatever can be dragged.

One test for each explorable, over many settings, and beside each a view that breaks it and must be caught.
"""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside the tests
from marks import Readings, assert_one_scale, marks, of, some

from moe_lessons.explore import scale as scale_module
from moe_lessons.explore.collapse import state as collapse
from moe_lessons.explore.collapse import view as collapse_view
from moe_lessons.explore.granularity import state as granularity
from moe_lessons.explore.granularity import view as granularity_view
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

INK = surface_panels.INK


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
        numbers = [*state.routed.load_E, *state.probs_E]
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
        highest = max(state.probs_E)
        return fixed(replace(state, probs_E=tuple(p / highest for p in state.probs_E)), *place)

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


# How fine?: errors and their means on one axis, whatever is picked; three bars, each with an end of its own.


def granularity_settings(rng):
    picked = (granularity.AT_ONCE, granularity.GRAINS, granularity.RATES, (False, True))
    return granularity.Params(*(rng.choice(values) for values in picked))


def granularity_readings(settings):
    found = Readings()
    for params in settings:
        state = granularity.simulate(params)
        page = marks(granularity_view.draw(state))
        errors = [error for column in state.columns for error in column.errors]
        dots = of(page, "circle", width=6)
        means = [mark for mark in of(page, "line", width=52, height=0) if mark.right < 460]
        assert (len(dots), len(means)) == (len(errors), len(state.columns))
        for error, dot in zip(errors, dots, strict=True):
            found.add("error", error, -dot.y)
        for column, mark in zip(state.columns, means, strict=True):
            found.add("error", column.mean, -mark.y)
        values = (state.choices_bits, state.router_share, state.wins(params.granularity))
        bars = [mark for mark in of(page, "rect", height=14) if mark.fill == granularity_view.ACCENT]
        for name, value, bar in zip(("bits", "router", "seeds better"), values, bars, strict=True):
            found.add(name, value, bar.width)
    return found


def test_granularity():
    assert_one_scale(granularity_readings(some(granularity_settings)))


def test_granularity_that_rescales_its_errors_is_caught(monkeypatch):
    fixed = granularity_view._errors

    def rescaled(state):
        monkeypatch.setattr(granularity_view, "HIGHEST", max(max(c.errors) for c in state.columns))
        return fixed(state)

    monkeypatch.setattr(granularity_view, "_errors", rescaled)
    with pytest.raises(AssertionError, match="error"):
        assert_one_scale(granularity_readings(some(granularity_settings)))
