"""The simulator is made of the course's own parts: counting, roofline, exchanges, coverage, laws."""

import math
import random
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from moe_lessons.accounting import count, describe, kv_cache_bytes
from moe_lessons.accounting.coverage import expert_coverage
from moe_lessons.accounting.sparsity import efficiency_leverage
from moe_lessons.budget import KINDS, RANGES, Budget, assess, draw_budget, price, trained, usual
from moe_lessons.budget.means import SPREAD
from moe_lessons.budget.price import LAYER_S, PARTNER_S, exchange_s
from moe_lessons.budget.quality import BITS_COST, fresh, leverage, predicted_loss, stretched
from moe_lessons.budget.ranges import LARGEST_LEVERAGE_FLOPS
from moe_lessons.parallel.simulated import exchange_us
from moe_lessons.serving.quantise import bits_per_weight
from moe_lessons.serving.roofline import Server


def designs(n, seed=0):
    rng = random.Random(seed)
    for _ in range(n):
        d, g = 256 * rng.randint(4, 24), rng.choice((2, 4, 8, 16))
        dense, layout = rng.random() < 0.2, rng.choice(("one", "experts", "all"))
        shape = (
            (d, 1, 1, 4 * d) if dense else (d, rng.choice((64, 128, 256)), g * rng.randint(1, 3), 2 * d // g)
        )
        shared = 0 if dense else rng.randint(0, 1)
        yield usual(*shape, n_shared=shared, bits=16, layout=layout, tokens=10 ** rng.uniform(11, 13))


@pytest.mark.parametrize("design", list(designs(12)), ids=lambda d: f"{d.d_model}-{d.n_experts}-{d.top_k}")
def test_parameters_and_cache_are_those_that_the_course_counts(design):
    found = count(design.as_model())
    assert design.total == found.total
    assert design.cache_bytes_per_token * 1000 == kv_cache_bytes(design.as_model(), 1000)
    # What a token passes: the course calls the table active, and of that it reads a row.
    assert design.active == found.active - found.components["embedding"]


@pytest.mark.parametrize(
    "design", list(designs(8, seed=1)), ids=lambda d: f"{d.d_model}-{d.n_experts}-{d.top_k}"
)
def test_a_step_on_one_device_is_that_of_the_roofline(design):
    budget = KINDS["busy server"]
    server = Server(design.as_model(), flops_s=budget.peak, bytes_s=budget.bandwidth, overhead_s=0)
    cost = price(replace(design, layout="one"), budget)
    expected = server.step_s(budget.batch, budget.batch * budget.context)
    assert cost.seconds - cost.overhead_s == pytest.approx(expected, rel=1e-6)
    assert cost.overhead_s == design.n_layers * LAYER_S
    assert cost.experts_read == expert_coverage(design.n_experts, design.top_k, budget.batch)


@pytest.mark.parametrize("kind", ["eight-GPU server", "cluster of 32"])
def test_an_exchange_takes_what_the_model_of_lesson_14_says_of_an_even_load(kind):
    budget, design = KINDS[kind], usual(4096, 128, 8, 1024, layout="experts")
    n = budget.devices
    rows = budget.batch * design.top_k / n**2  # from each rank to each
    bytes_GG = torch.full((n, n), rows * 2 * design.d_model)
    one_way = exchange_us(bytes_GG, 1e6 * PARTNER_S, budget.link / 1e9).max()
    assert exchange_s(design, budget) == pytest.approx(2 * float(one_way) / 1e6, rel=1e-6)


def test_all_cut_pays_two_sums_in_a_ring():
    budget, design = KINDS["eight-GPU server"], usual(4096, 128, 8, 1024, layout="all")
    ring = 2 * 7 * PARTNER_S + 2 * 7 / 8 * 32 * 4096 * 2 / 1.53e11
    assert exchange_s(design, budget) == pytest.approx(2 * ring)
    assert exchange_s(replace(design, layout="one"), budget) == 0


@pytest.mark.parametrize(("layout", "cut", "bank"), [("one", 1, 1), ("experts", 1, 8), ("all", 8, 8)])
def test_layouts_hold_what_they_say(layout, cut, bank):
    budget, design = KINDS["eight-GPU server"], usual(4096, 128, 8, 1024, bits=16, layout=layout)
    cost = price(design, budget)
    experts = design.n_layers * design.n_experts * design.expert
    expected = 2 * ((design.total - experts) / cut + experts / bank)
    assert cost.weight_bytes == pytest.approx(expected)
    assert cost.cache_bytes == pytest.approx(design.cache_bytes_per_token * 32 * 32_768 / bank)


def test_few_bits_are_stored_as_lesson_15_stores_them():
    budget = KINDS["small lab"]
    weights = [price(usual(2048, 64, 8, 1024, bits=bits), budget).weight_bytes for bits in (16, 8, 4)]
    assert weights[1] / weights[0] == pytest.approx(bits_per_weight(8, 32) / 16)
    assert weights[2] / weights[0] == pytest.approx(bits_per_weight(4, 32) / 16)
    assert BITS_COST[16] == 0
    assert 0 < BITS_COST[8] < 1e-4 < BITS_COST[4] < 0.05


# The laws.


def test_the_leverage_is_lings_and_held_where_the_last_model_confirmed_it():
    design = usual(1024, 64, 8, 256, tokens=1e11)
    flops = 6 * design.active * design.tokens
    assert flops < 3e20
    assert leverage(design) == efficiency_leverage(8 / 64, 8, flops)
    large = [
        replace(design, tokens=LARGEST_LEVERAGE_FLOPS / 6 / design.active * times) for times in (1, 2, 10)
    ]
    assert leverage(large[0]) > leverage(design)
    assert leverage(large[0]) == pytest.approx(leverage(large[1])) == pytest.approx(leverage(large[2]))
    assert leverage(usual(1024, 1, 1, 4096)) == 1


def test_a_shared_expert_counts_on_both_sides():
    assert usual(2048, 64, 7, 512, n_shared=1).activation == 8 / 65


def test_the_loss_is_the_sum_of_its_parts():
    dense = usual(2048, 1, 1, 8192, bits=16, tokens=1e11)
    n = 16 * (2 * 2048 * (16 + 4) * 128 + 3 * 2048 * 8192) + 65_536 * 2048
    by_hand = 1.69 + 406.4 / n**0.34 + 410.7 / (1e11) ** 0.28
    assert predicted_loss(dense, 1e12) == pytest.approx(by_hand, abs=1e-9)
    again = 1.69 + 406.4 / n**0.34 + 410.7 / (2.5e10 * (1 + 15.4 * (1 - math.exp(-3 / 15.4)))) ** 0.28
    assert predicted_loss(dense, 2.5e10) == pytest.approx(again, abs=1e-9)
    assert predicted_loss(replace(dense, bits=4), 1e12) - by_hand == pytest.approx(BITS_COST[4])


def test_text_is_worth_most_the_first_time():
    worth = [fresh(times * 1e10, 1e10) for times in (0.5, 1, 2, 3, 4)]
    steps = [b - a for a, b in pairwise(worth[1:])]
    assert worth[0] == 5e9
    assert 1e10 > steps[0] > steps[1] > steps[2] > 0.8e10


def test_what_is_asked_of_a_law_beyond_its_models_is_said():
    assert stretched(usual(1024, 64, 8, 256, tokens=1e11), 1e12) == ()
    said = " ".join(stretched(usual(8192, 256, 8, 2048, tokens=2e13), 2e13))
    assert all(word in said for word in ("size", "text", "leverage"))


@pytest.mark.parametrize(
    ("name", "hidden", "n_experts", "shape", "heads"),
    [
        ("Mixtral-8x7B", 7.0, 8, 128, 1.0),
        ("Qwen3.5-35B-A3B", 2.25, 256, None, None),
        ("Qwen3-Next-80B-A3B", 2.75, 512, None, None),
        ("Qwen3-235B-A22B", 3.0, 128, None, 2.0),
        ("DeepSeek-V3", 2.57, 256, None, None),
    ],
)
def test_the_models_that_ranges_name_have_what_is_said_of_them(name, hidden, n_experts, shape, heads):
    model = describe(name)
    moe = model.moes[0][0]
    width = moe.expert[0].n_out
    shared = sum(m.n_out * m.copies for m in moe.shared if m.n_in == model.d_model and m.n_out > 1) / 2
    assert (moe.top_k * width + shared) / model.d_model == pytest.approx(hidden, abs=0.01)
    assert moe.n_experts == n_experts
    assert shape is None or model.d_model / model.n_layers == shape
    queries = model.layers[0][0].attention.matrices[0].n_out
    assert heads is None or queries / model.d_model == heads
    limits = RANGES["active hidden width / d_model"]
    assert limits.low <= hidden <= limits.high


# Budgets.


def test_budgets_are_drawn_by_a_seed_that_may_be_a_name():
    drawn = {draw_budget("phone", seed) for seed in ("Ada", "Alan", 1, 2)}
    assert len(drawn) == 4
    assert draw_budget("phone", "Ada") == draw_budget("phone", "Ada")
    for budget in drawn:
        for name, (low, high) in SPREAD.items():
            assert low * 0.99 <= getattr(budget, name) / getattr(KINDS["phone"], name) <= high * 1.01
        assert budget.batch == 1
    with pytest.raises(KeyError, match="there are phone"):
        draw_budget("toaster", 0)


@pytest.mark.parametrize(
    "change", [{"memory": 0.0}, {"batch": 1.5}, {"seconds": math.inf}, {"devices": 8, "link": 0}]
)
def test_an_impossible_budget_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change)) + "|link"):
        replace(KINDS["phone"], **change)


def test_more_tokens_than_are_paid_for_do_not_fit():
    budget = KINDS["small lab"]
    design = trained(usual(2048, 64, 8, 512), budget)
    assert assess(design, budget).fits
    verdict = assess(replace(design, tokens=1.5 * design.tokens), budget)
    assert verdict.over == ("flops",)


def test_loads_neither_torch_nor_numpy():
    code = "import sys, moe_lessons.budget; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_budget_may_be_ones_own():
    mine = Budget("mine", 1e20, 1e11, 1, 1024, 1, 2e9, 1e11, 1e13, 0, 0.1)
    assert assess(trained(usual(1024, 16, 4, 1024, bits=8), mine), mine).fits
