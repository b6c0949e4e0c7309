"""Slip's picture read back: every mark lies where its number says, and what is off a scale is marked."""

import json
import math
import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside the tests
from marks import Readings, assert_marked, assert_one_scale, marks, of, said

from moe_lessons.explore import Slip
from moe_lessons.explore import scale as scale_module
from moe_lessons.explore.slip import strips, view
from moe_lessons.explore.slip.state import ORDERS, Params, recorded, simulate

FOUND = recorded()
N, LAYERS, LAST = FOUND.n_tokens, len(FOUND.margins), len(FOUND.sizes) - 1
EVERY = [Params(size, order, bf16) for size in range(LAST + 1) for order in ORDERS for bf16 in (False, True)]
params_of = st.sampled_from(EVERY)


def spots(svg):
    """Where dots and squares lie: (x, y) of each, in the order of the paths, apart by their caps."""
    found, root = {"round": [], "square": []}, ET.fromstring(svg)
    top = float(root.get("data-body").split()[0])
    for path in root.iter():
        if path.tag.endswith("}path"):
            pairs = re.findall(r"M([-\d.]+),([-\d.]+)h0", path.get("d"))
            assert "".join(f"M{x},{y}h0" for x, y in pairs) == path.get("d")
            found[path.get("stroke-linecap")].append([(float(x), float(y) + top) for x, y in pairs])
    return found


@given(params_of)
def test_every_state_draws_valid_svg_of_one_size(params):
    root = ET.fromstring(Slip.draw(simulate(params)))
    assert root.get("role") == "img"
    assert (root.get("width"), root.get("height")) == ("720", SIZE)


SIZE = ET.fromstring(Slip.draw(simulate(Params()))).get("height")


@given(params_of)
def test_every_token_has_its_mark_and_those_that_slip_have_squares(params):
    state = simulate(params)
    drawn = spots(Slip.draw(state))
    n_squares = sum(map(len, drawn["square"]))
    assert n_squares == sum(s.count("1") for s in state.slipped) + 2 * sum(state.astray)
    assert sum(map(len, drawn["round"])) + n_squares == N * LAYERS + 2 * len(state.run.own)


def strip_readings(params):
    """Margins, places, letters and log ratios against where their marks lie."""
    found, state = Readings(), simulate(params)
    drawn = spots(Slip.draw(state))
    polygons = [p for p in marks(Slip.draw(state)) if p.kind == "polygon" and p.fill == view.MUTED]
    rows = [(strips.values(params.order, layer), slipped) for layer, slipped in enumerate(state.slipped)]
    astray = "".join("01"[is_so] for is_so in state.astray)
    rows += [(state.run.own, astray), (state.run.replayed, astray)]
    for kind, digit in (("round", "0"), ("square", "1")):
        left = list(drawn[kind])
        for i, (values, digits) in enumerate(rows):
            mine = [value for value, is_so in zip(values, digits, strict=True) if is_so == digit]
            if not mine:
                continue
            scale = strips.SCALES[params.order] if i < LAYERS else strips.RATIOS
            for value, (x, y) in zip(mine, left.pop(0), strict=True):
                if not scale.low <= value <= scale.high:
                    beside = [p for p in polygons if abs(p.y - y) < view.ROW / 2]
                    outwards = 1 if value > scale.high else -1
                    found.beyond(value, any(outwards * (p.x - x) > 0 for p in beside))
                    continue
                named = params.order if i < LAYERS else "ratio"
                found.add(named, math.log10(value) if scale.log else value, x)
        assert not left
    return found


@pytest.mark.parametrize("params", [replace(EVERY[0], size=n, order=o) for n in (0, 5, LAST) for o in ORDERS])
def test_marks_lie_where_the_numbers_say(params):
    assert_one_scale(strip_readings(params))


def test_what_is_off_the_scale_is_marked():
    found = Readings()
    for size in range(LAST + 1):
        found.off += strip_readings(Params(size, "margin")).off
    assert_marked(found)


def test_an_unmarked_end_is_caught(monkeypatch):
    monkeypatch.setattr(scale_module.Scale, "beyond", lambda self, value: 0)
    with pytest.raises(AssertionError):
        assert_marked(strip_readings(Params(0, "margin")))


def share_readings(settings):
    found = Readings()
    for params in settings:
        state = simulate(params)
        page = marks(view.draw(state))
        bars = [bar for bar in of(page, "rect", height=view.TALL) if bar.fill == view.SLIPS]
        ticks = [mark for mark in of(page, "line", height=16) if mark.stroke == view.INK and mark.left > 460]
        arrows = [p for p in page if p.kind == "polygon" and p.fill == view.SLIPS]
        for share, bar in zip(state.shares, bars, strict=True):
            assert f"{100 * share:.1f} %" in said(page)
            if share > view.BARS.high:
                found.beyond(share, any(abs(arrow.y - bar.y) < 1 for arrow in arrows))
            else:
                found.add("share", share, bar.width)
        for share, tick in zip(state.bf16_shares, ticks, strict=True):
            assert share <= view.BARS.high
            found.add("bf16", share, tick.x)
    return found


def test_bars_have_one_scale_and_those_that_leave_it_an_arrow():
    found = share_readings(Params(size, "margin") for size in range(LAST + 1))
    assert_one_scale(found)
    assert_marked(found)


def test_bars_that_rescale_are_caught(monkeypatch):
    whole = view._shares

    def rescaled(state):
        monkeypatch.setattr(view, "BARS", replace(view.BARS, high=max(state.shares)))
        return whole(state)

    monkeypatch.setattr(view, "_shares", rescaled)
    with pytest.raises(AssertionError):
        assert_one_scale(share_readings(Params(size, "margin") for size in (0, 5)))


def test_bars_that_are_cut_without_an_arrow_are_caught(monkeypatch):
    monkeypatch.setattr(scale_module.Scale, "beyond", lambda self, value: 0)
    with pytest.raises(AssertionError):
        assert_marked(share_readings([Params(LAST, "margin")]))


def test_the_line_stands_at_the_size_of_the_error_and_is_dragged_there():
    for size in range(LAST + 1):
        root = ET.fromstring(view.draw(simulate(Params(size, "margin"))))
        (grip,) = [e for e in root.iter() if e.get("data-handle")]
        touch = json.loads(grip.get("data-handle"))
        assert float(grip.get("cx")) == pytest.approx(strips.SCALES["margin"].at(FOUND.sizes[size]), abs=0.06)
        assert touch["at"] == {"Error": size}
        # The sizes are nearly, not quite, equal steps of the logarithm: the hand is never far from the line.
        (x0, x1), (low, high) = touch["x"]["pixels"], touch["x"]["values"]
        assert abs(x0 + (x1 - x0) * (size - low) / (high - low) - float(grip.get("cx"))) < 4
    assert "data-handle" not in view.draw(simulate(Params(order="place")))


def test_rings_are_those_that_slip_in_bf16():
    n_slips = sum(s.count("1") for s in FOUND.bf16_slipped)
    for order in ORDERS:
        page = marks(view.draw(simulate(Params(5, order, True))))
        assert len(of(page, "circle", width=11)) == n_slips
        assert not of(marks(view.draw(simulate(Params(5, order)))), "circle", width=11)
