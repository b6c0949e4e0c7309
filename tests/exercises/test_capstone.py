"""Designs of lesson 17: the answer's own cost is the package's, and no answer wins by leaving a range."""

import ast
import math
import random

import numpy as np
import pytest
import torch

from moe_lessons.budget import KINDS, LAYOUTS, draw_budget, predicted_loss, price, refusals, search, trained
from moe_lessons.build import paths
from moe_lessons.build.source import read_cells
from moe_lessons.exercises.capstone import costing, pages
from moe_lessons.exercises.capstone.audit import AUDIT
from moe_lessons.exercises.capstone.auditing import QUOTED
from moe_lessons.exercises.capstone.buying import WINS
from moe_lessons.exercises.capstone.costing import NAMES, best, costs, design_of, one
from moe_lessons.exercises.capstone.defend import DEFEND
from moe_lessons.exercises.capstone.design import DESIGN
from moe_lessons.exercises.capstone.design_judged import OUTPUTS, verdict
from moe_lessons.exercises.judge import draw, judge, local


def shapes(n, devices):
    rng = random.Random(n)
    for _ in range(n):
        d, e, g = 128 * rng.randint(6, 68), rng.choice((1, 8, 16, 64, 256, 512)), rng.choice((2, 4, 8, 16))
        f = d * rng.randint(1, 8) if e == 1 else 2 * d // g
        k = 1 if e == 1 else min(e, rng.randint(1, 50))
        layout = rng.choice(LAYOUTS) if devices > 1 else "one"
        yield d, e, k, f, rng.choice((4, 8, 16)), layout


def arguments(budget):
    return {name: getattr(budget, name) for name in NAMES}


@pytest.mark.parametrize("kind", KINDS)
def test_many_at_once_cost_what_the_package_says_of_each(kind):
    budget, judged = KINDS[kind], 0
    for shape in shapes(60, budget.devices):
        design = trained(design_of(shape), budget)
        if refusals(design, budget):
            continue
        judged += 1
        cost = costs(one(shape), arguments(budget))
        assert float(cost.loss[0]) == pytest.approx(predicted_loss(design, budget.tokens), abs=1e-9)
        assert float(cost.memory[0]) == pytest.approx(price(design, budget).memory_bytes)
        assert float(cost.seconds[0]) == pytest.approx(price(design, budget).seconds)
    assert judged >= 3


def given(budget):
    """The `cost` and `allowed` that stand in the answer's cell, with a budget's numbers as its arguments."""
    lesson = paths.LESSONS / "17_capstone.py"
    (cell,) = (c.source for c in read_cells(lesson) if c.metadata.get("answer") == "17.design")
    functions = [node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.FunctionDef)]
    kept = [node for node in functions if node.name in ("cost", "allowed")]
    assert len(kept) == 2
    names = {"math": math, **arguments(budget)}
    exec(compile(ast.Module(kept, []), "the cell", "exec"), names)
    return names["cost"], names["allowed"]


def test_what_the_cell_gives_is_what_judges():
    """What learners start from is the simulator, to the digits that are printed there."""
    for budget in KINDS.values():
        cost, allowed = given(budget)
        for shape in shapes(80, budget.devices):
            design = trained(design_of(shape), budget)
            refused = [line for line in refusals(design, budget) if "tokens / active" not in line]
            assert allowed(*shape) == (not refused), (shape, refused)
            if refused:
                continue
            loss, held, step = cost(*shape)
            assert loss == pytest.approx(predicted_loss(design, budget.tokens), abs=1e-4)
            assert held == pytest.approx(price(design, budget).memory_bytes)
            assert step == pytest.approx(price(design, budget).seconds)


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_is_nearly_as_good_as_the_search(kind):
    budget = KINDS[kind]
    found = best(tuple(arguments(budget).values()))
    assert found is not None
    assert 0.999 < found[0] / search(budget).loss < 1.01


def answered(shape):
    return judge(DESIGN, local(lambda *budget: shape), seed=1)


# What would have the lowest loss, if anybody asked only the formula.
OUTSIDE = {
    "slivers": (2048, 512, 512, 4, 4, "one"),
    "one in 512": (8192, 512, 1, 512, 4, "one"),
    "ten thousand": (4096, 10_000, 80, 512, 4, "one"),
    "all attention": (8192, 64, 1, 1024, 4, "one"),
    "wide beyond": (65_536, 64, 8, 16_384, 4, "one"),
    "one bit": (2048, 64, 8, 512, 1, "one"),
    "negative": (-2048, -64, -8, -512, 8, "one"),
    "nothing": (0, 0, 0, 0, 0, "one"),
    "beyond 64 bits": (2**62, 64, 8, 2**62, 8, "one"),
    "no layout": (2048, 64, 8, 512, 8, "everywhere"),
    "a layout too long": (2048, 64, 8, 512, 8, "one" * 200),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_design_outside_the_ranges_does_not_pass(name):
    report = answered(OUTSIDE[name])
    assert report.status == "failed"
    detail = next(finding.detail for finding in report.findings if finding.passed is False)
    assert "refused" in detail or "cannot be judged" in detail
    assert report.misconception is None or report.misconception.id in ("not_allowed", "same_for_all")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "2048", None, np.ones(2), True])
def test_what_is_no_number_does_not_pass(value):
    assert answered((value, 64, 8, 512, 8, "one")).status == "failed"


def test_a_design_that_fits_and_is_far_from_the_best_does_not_pass():
    def small(*budget):
        return DESIGN.reference(*budget) if budget[4] > 1 else (1024, 1, 1, 4096, 4, "one")

    report = judge(DESIGN, local(small), seed=1)
    assert report.status == "failed"
    assert "is possible" in next(finding.detail for finding in report.findings if finding.passed is False)


def test_all_kinds_are_asked_for_and_a_design_that_is_best_in_one_does_not_pass():
    cases = draw(DESIGN, 0)
    assert {case.name for case in cases} == set(KINDS)
    shape = DESIGN.reference(*cases[0].args.values())
    assert verdict(cases[0], dict(zip(OUTPUTS, shape, strict=True))).fits
    assert answered(shape).status == "failed"


@pytest.mark.parametrize("there", [(2048, 64, 8, 512, 8, "experts"), (1024, 1, 1, 4096, 8, "one")])
def test_a_mistake_in_the_cluster_alone_is_not_called_divided_memory(there):
    """With a 32nd of its memory nothing fits there, so that anything could have come of it."""
    key = tuple(arguments(KINDS["cluster of 32"]).values())
    assert best(key, costing.Wrong(memory_shared=True)) is None
    report = judge(DESIGN, local(lambda *b: there if b[4] == 32 else DESIGN.reference(*b)), seed=1)
    assert report.status == "failed"
    assert report.misconception is None or report.misconception.id != "memory_shared_out"


def test_one_design_for_all_budgets_is_told_as_one_unless_it_is_small():
    """The first that fits is such a small one, too."""
    assert answered((2048, 64, 8, 512, 8, "one")).misconception.id == "same_for_all"
    assert answered((1024, 64, 8, 256, 8, "one")).misconception.id == "room_left"


def test_a_mixture_in_which_half_is_no_use_is_told_of_that():
    """Two that do not fit and two that are not allowed are not "most of which do fit"."""
    by_devices = {1: (2048, 64, 8, 512, 8, "one"), 8: (8192, 8, 2, 8192, 8, "one")}

    def mixed(*b):
        if b[2] == 1:
            return 2048, 512, 1, 2048, 8, "one"  # too few of the experts
        return by_devices.get(b[4], (8192, 64, 8, 2048, 16, "one"))

    assert judge(DESIGN, local(mixed), seed=1).misconception.id in ("does_not_fit", "not_allowed")


def test_a_coarse_search_that_does_not_ask_for_time_is_told_of_that():
    """Its designs are not near those of a fine search that does not ask either; all are too slow."""
    slow = {32: (4096, 256, 48, 512, 8, "experts"), 8: (5120, 256, 24, 1280, 8, "experts")}
    report = judge(DESIGN, local(lambda *b: slow.get(b[4]) or DESIGN.reference(*b)), seed=2)
    assert report.misconception.id == "time_ignored"


def test_learners_budgets_have_designs_that_fit():
    for kind in KINDS:
        for seed in ("Ada", "Alan", "Grace"):
            key = tuple(arguments(draw_budget(kind, seed)).values())
            assert best(key) is not None


def test_each_resource_wins_in_what_is_drawn_for_defend():
    for seed in range(4):
        said = [DEFEND.reference(*(costed(a) for a in case.args.values())) for case in draw(DEFEND, seed)]
        assert [name for name, _ in said] == list(WINS.values())
        assert {name for name, _ in said} == {"compute", "text", "memory", "time"}


def costed(value):
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def test_every_number_of_a_page_has_wrong_formulas_and_pages_have_some_of_them():
    assert {m.item for m in QUOTED} == set(range(len(pages.ITEMS)))
    for seed in range(5):
        for case in draw(AUDIT, seed):
            *numbers, quoted = case.args.values()
            right = np.array(pages.rules(pages.Numbers(*numbers)))
            off = np.abs(quoted / right - 1)
            assert 2 <= (off > 0.02).sum() <= 5
            assert not ((off > 0.006) & (off < 0.03)).any()  # nothing near the line between the two


def test_a_grid_is_made_once():
    assert costing.grid(1) is costing.grid(1)
