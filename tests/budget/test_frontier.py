"""The search, the points, and what nobody gets by leaving the range in which anything was measured."""

import json
import math
import random
from dataclasses import asdict, replace
from functools import cache

import pytest

from moe_lessons.budget import (
    KINDS,
    RANGES,
    assess,
    refusals,
    score,
    search,
    shadow_prices,
    trained,
    usual,
)
from moe_lessons.budget.judging import RESOURCES
from moe_lessons.budget.mistakes import MISTAKES
from moe_lessons.budget.searching import loss_if_it_fits
from moe_lessons.build import paths

LAB, EIGHT = KINDS["small lab"], KINDS["eight-GPU server"]
GOOD = usual(2048, 256, 8, 512, tokens=2e11)


# Attacks: each of them would win, were it judged.

ATTACKS = {
    "a thousand slivers": usual(2048, 512, 512, 4, tokens=2e11),
    "experts of width 8": usual(2048, 256, 8, 8, tokens=2e11),
    "one in five hundred": usual(2048, 512, 1, 4096, tokens=2e11),
    "ten thousand experts": usual(2048, 10_000, 100, 512, tokens=2e11),
    "all attention": usual(4096, 64, 1, 512, tokens=2e11),
    "all experts chosen": usual(2048, 8, 8, 512, tokens=2e11),
    "more chosen than there are": usual(2048, 8, 16, 512, tokens=2e11),
    "nothing chosen": replace(GOOD, top_k=0),
    "shared experts alone": replace(GOOD, n_shared=64, top_k=1),
    "a dense model with shared experts": usual(2048, 1, 1, 8192, n_shared=1, tokens=2e11),
    "a dense model without a hidden layer": usual(4096, 1, 1, 64, tokens=2e11),
    "one layer": replace(GOOD, n_layers=1),
    "five hundred layers": replace(GOOD, n_layers=500),
    "no heads": replace(GOOD, n_heads=0),
    "one head": replace(GOOD, n_heads=1),
    "a width that heads do not fill": replace(GOOD, d_model=2000),
    "a very wide model": usual(65_536, 64, 8, 16_384, tokens=2e11),
    "one bit": replace(GOOD, bits=1),
    "no bits": replace(GOOD, bits=0),
    "half a bit": replace(GOOD, bits=0.5),
    "a thousand epochs": replace(usual(1024, 16, 4, 512), tokens=1e15),
    "no training": replace(GOOD, tokens=0),
    "negative text": replace(GOOD, tokens=-1e12),
    "endless text": replace(GOOD, tokens=math.inf),
    "text that is no number": replace(GOOD, tokens=math.nan),
    "text in words": replace(GOOD, tokens="all of it"),
    "negative width": replace(GOOD, d_model=-2048, d_expert=-512),
    "negative experts": replace(GOOD, n_experts=-256),
    "half an expert": replace(GOOD, n_experts=256.5),
    "whole numbers as floats": replace(GOOD, top_k=8.0),
    "a bool": replace(GOOD, top_k=True),
    "numbers beyond 64 bits": replace(GOOD, d_expert=10**30),
    "nan experts": replace(GOOD, n_experts=math.nan),
    "a layout of one's own": replace(GOOD, layout="teleport"),
    "devices that are not there": replace(GOOD, layout="experts"),
    "a model seen by few tokens": usual(8192, 256, 8, 2048, tokens=1e9),
    "a tiny model seen by very many": usual(512, 8, 4, 256, tokens=4e12),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_lies_outside_is_refused_in_lines_and_earns_nothing(name):
    verdict = assess(ATTACKS[name], LAB)
    assert verdict.refused
    assert verdict.loss is verdict.uses is None
    assert all(0 < len(line) < 200 and "\n" not in line for line in verdict.refused)
    found = score(ATTACKS[name], LAB)
    assert found.points == 0
    assert found.mistake is None


def test_what_is_measured_is_not_refused():
    assert refusals(GOOD, LAB) == ()
    for budget in KINDS.values():
        assert refusals(search(budget).design, budget) == ()


@pytest.mark.parametrize(
    ("design", "budget"),
    [
        (usual(4096, 100, 8, 1024, layout="experts", tokens=1e12), EIGHT),
        (usual(4096, 1, 1, 16_384, layout="experts", tokens=1e12), EIGHT),
        (usual(2048, 64, 8, 512, layout="all", tokens=1e12), EIGHT),
        (usual(4096, 64, 8, 1024, layout="experts", tokens=1e12), replace(EIGHT, batch=30)),
    ],
)
def test_layouts_that_cannot_be_are_refused(design, budget):
    assert any("8 devices cannot" in line for line in refusals(design, budget))


def test_a_refusal_names_quantity_value_range_and_source():
    (said,) = refusals(usual(2048, 512, 2, 2048, tokens=2e11), LAB)
    for part in ("active / all experts", "0.003906", "0.007812", "arXiv 2507.17702"):
        assert part in said
    assert all(limits.source and limits.low < limits.high for limits in RANGES.values())


def at_random(rng, budget):
    """A design inside the ranges, at their edges, or outside, in all ten choices."""
    d, g = 128 * rng.randint(6, 72), rng.choice((1, 2, 4, 8, 16, 16, rng.uniform(2, 16)))
    e = rng.choice((1, 8, 16, 32, 64, 128, 256, 256, 512, 512, rng.randint(2, 600)))
    hidden = rng.uniform(1.7, 7.3)
    k, f = (1, round(hidden * d)) if e == 1 else (max(1, round(hidden * g / 2)), max(1, round(2 * d / g)))
    design = usual(d, e, k, f, n_shared=0 if e == 1 else rng.choice((0, 1)), bits=rng.choice((4, 8, 8, 16)))
    design = replace(design, layout=rng.choice(("one", "experts", "all")) if budget.devices > 1 else "one")
    design = replace(design, n_layers=round(design.n_layers * rng.choice((1, 1, rng.uniform(0.9, 4)))))
    design = replace(design, n_heads=round(design.n_heads * rng.choice((1, 1, rng.uniform(0.9, 2.1)))))
    return trained(design, budget)


QUICK = ("phone", "little text", "eight-GPU server")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in KINDS]
)
def test_no_design_drawn_at_random_beats_the_frontier(kind):
    budget, rng = KINDS[kind], random.Random(kind)
    best, fit = search(budget), 0
    for _ in range(1000):
        verdict = assess(at_random(rng, budget), budget)
        if verdict.fits:
            fit += 1
            assert verdict.loss > 0.998 * best.loss
    assert best.verdict.fits


STEPS = {
    "d_model": (-256, -128, 128, 256),
    "n_layers": (-2, -1, 1, 2),
    "n_heads": (-4, -1, 1, 4),
    "n_experts": (-64, -8, 8, 64),
    "top_k": (-2, -1, 1, 2),
    "d_expert": (-256, -64, -16, 16, 64, 256),
    "n_shared": (-1, 1),
    "bits": (-4, 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["phone", "little text", "eight-GPU server"])
def test_climbing_in_all_choices_at_once_gains_less_than_half_a_per_cent(kind):
    budget, rng = KINDS[kind], random.Random(kind)
    start = search(budget)
    design, loss = start.design, start.loss
    for _ in range(1200):
        other = design
        for name in rng.sample(sorted(STEPS), rng.randint(1, 3)):
            other = replace(other, **{name: getattr(other, name) + rng.choice(STEPS[name])})
        if (
            min(other.d_model, other.n_layers, other.n_heads, other.n_experts, other.top_k, other.d_expert)
            < 1
        ):
            continue
        other = trained(other, budget)
        verdict = assess(other, budget)
        if verdict.fits and verdict.loss < loss:
            design, loss = other, verdict.loss
    assert loss > 0.995 * start.loss


def test_edges_of_the_ranges_do_not_pay():
    """From the best design, each choice alone to the end of its range: better by a trifle at most."""
    for budget in KINDS.values():
        best = search(budget)
        for change in (
            {"n_layers": round(best.design.d_model / 32)},
            {"n_heads": 2 * best.design.n_heads},
            {"bits": 16},
            {"bits": 4},
            {"n_shared": 1 - best.design.n_shared},
        ):
            loss = loss_if_it_fits(trained(replace(best.design, **change), budget), budget)
            assert loss is None or loss > 0.998 * best.loss, (budget.name, change)


# The frontier.


def test_the_search_is_the_same_every_time_and_what_it_finds_fits():
    again = search.__wrapped__(LAB)
    assert again == search(LAB)
    for budget in KINDS.values():
        found = search(budget)
        assert found.verdict == assess(found.design, budget)
        assert found.verdict.fits
        dense = search(budget, dense=True)
        assert dense is None or dense.design.dense
        assert dense is None or dense.loss >= found.loss


def test_one_budget_wants_a_dense_model_and_every_resource_binds_somewhere():
    dearest = {}
    for name, budget in KINDS.items():
        prices = prices_of(name)
        assert min(prices.values()) >= 0
        dearest[max(prices, key=prices.get)] = name
        assert search(budget).design.dense == (name == "little text")
    assert set(dearest) == set(RESOURCES)


@cache
def prices_of(name):
    return {row["budget"]: row["twice"] for row in on_record()}[name]


@cache
def on_record():
    return json.loads((paths.PACKAGE / "results" / "budget.json").read_text(encoding="utf-8"))["rows"]


@pytest.mark.parametrize("row", range(len(KINDS)))
def test_the_results_on_record_are_what_the_search_finds(row):
    said = on_record()[row]
    found = search(KINDS[said["budget"]])
    assert said["loss"] == pytest.approx(found.loss, abs=1e-5)
    assert {k: v for k, v in asdict(found.design).items() if k != "tokens"} == {
        k: v for k, v in said["design"].items() if k != "tokens"
    }


def test_shadow_prices_on_record_are_those_of_the_search():
    prices = shadow_prices(KINDS["long documents"])
    assert prices == pytest.approx(prices_of("long documents"), abs=1e-5)
    assert search(KINDS["long documents"]).verdict.fullest != max(prices, key=prices.get)


def test_where_nothing_fits_the_search_says_so():
    tiny = replace(LAB, memory=1e6)
    assert search(tiny) is None
    with pytest.raises(ValueError, match="no design fits"):
        shadow_prices(tiny)
    assert score(GOOD, tiny).points == 0


# Points.


def test_points_fall_with_the_distance_and_never_rise_above_ten():
    best = search(LAB)
    assert score(best.design, LAB).points == 10
    earned = []
    for experts in (512, 256, 128, 64, 32):
        design = trained(usual(2048, experts, 8, 512), LAB)
        verdict = assess(design, LAB)
        if verdict.fits:
            earned.append((verdict.loss, score(design, LAB).points))
    assert len(earned) >= 4
    assert [points for _, points in sorted(earned)] == sorted((points for _, points in earned), reverse=True)
    assert all(3 <= points <= 10 for _, points in earned)


def test_what_does_not_fit_earns_little_and_less_the_less_it_fits():
    points = [score(trained(usual(d, 64, 8, d // 4), LAB), LAB).points for d in (4608, 5120, 6144)]
    assert points == sorted(points, reverse=True)
    assert all(0 <= p < 2 for p in points)


MISTAKEN = {
    "active_in_memory": (usual(4096, 128, 8, 1024, bits=4, tokens=1e11), "phone"),
    "cache_forgotten": (usual(3072, 512, 12, 512, tokens=1e12), "long documents"),
    "one_of_many": (usual(4096, 128, 8, 1024, tokens=1e12), "eight-GPU server"),
    "too_large": (usual(8192, 1, 1, 32_768, tokens=1e12), "phone"),
    "batch_of_one": (usual(2560, 128, 8, 640, tokens=1e11), "busy server"),
    "too_slow": (usual(2048, 1, 1, 8192, bits=8, tokens=1e11), "phone"),
    "training_not_paid": (usual(2048, 64, 8, 512, tokens=1e12), "small lab"),
    "stopped_early": (usual(2048, 256, 8, 512, tokens=1e10), "small lab"),
    "bits_too_few": (replace(search(LAB).design, bits=4), "small lab"),
    "experts_buy_nothing": (trained(usual(2048, 32, 8, 512), LAB), "small lab"),
    "text_forgotten": (trained(usual(5120, 32, 8, 1280), LAB), "small lab"),
}


@pytest.mark.parametrize("name", MISTAKEN)
def test_a_design_is_told_what_mistake_it_looks_like(name):
    design, kind = MISTAKEN[name]
    found = score(design, KINDS[kind])
    assert found.mistake is not None
    assert found.mistake.id == name, str(found)
    assert found.mistake.message in str(found)


def test_messages_are_short_and_none_is_another():
    assert len({m.message for m in MISTAKES.values()}) == len(MISTAKES)
    assert all(40 < len(m.message) < 240 and m.message.endswith(".") for m in MISTAKES.values())


def test_feedback_says_what_binds_and_what_to_change():
    said = str(score(trained(usual(2048, 32, 8, 1024), LAB), LAB))
    assert "what binds here is compute" in said
    assert "another n_experts helps most" in said
