"""Exercise 16.two_numbers: what two rounded numbers say about a model."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Verdict = tuple[Tensor, bool]
Solve = Callable[[float, float, int, int], float]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Four models that there could be, one on the edge, and two pairs of numbers that no model has."""
    cases = []
    for n_experts, top_k, unit in ((8, 2, 0.1), (64, 6, 1.0), (16, 4, 0.1), (128, 8, 1.0)):
        expert = float(rng.uniform(2.5, 6)) * (8 / n_experts) ** 0.5
        rest = float(rng.uniform(1.5, 4)) + unit * n_experts / (n_experts - top_k)
        total, active = (round((rest + n * expert) / unit) * unit for n in (n_experts, top_k))
        cases.append(_case(total, active, unit, n_experts, top_k))
    cases.append(_on_the_edge(rng))
    for n_experts, top_k in ((8, 2), (16, 3)):
        expert, missing = float(rng.uniform(3, 6)), float(rng.uniform(0.8, 2.4))
        # What is active is less than K experts: the rest would have to be negative.
        cases.append(_case(n_experts * expert + 1, top_k * expert - missing, 0.1, n_experts, top_k))
    return cases


def _on_the_edge(rng: np.random.Generator) -> Case:
    """Hardly any rest: rounding allows less than nothing, and a little."""
    while True:
        expert = float(rng.uniform(20, 40))
        case = _case(round(0.3 + 8 * expert), round(0.3 + 2 * expert), 1.0, 8, 2)
        low, high = reference(**case.args)[0].tolist()[2:]  # type: ignore[arg-type]
        if low < -0.2 and high > 0.2:
            return case


def _case(total: float, active: float, unit: float, n_experts: int, top_k: int) -> Case:
    numbers = {"total": round(total, 4), "active": round(active, 4), "unit": unit}
    name = f"{numbers['total']} and {numbers['active']}, E={n_experts}, K={top_k}"
    return Case(name, {**numbers, "n_experts": n_experts, "top_k": top_k})


def _expert(total: float, active: float, n_experts: int, top_k: int) -> float:
    return (total - active) / (n_experts - top_k)


def _verdict(
    total: float,
    active: float,
    unit: float,
    n_experts: int,
    top_k: int,
    *,
    expert: Solve = _expert,
    rest: Callable[[float, float, int, int, float], float] = lambda t, a, e, k, x: a - k * x,
    off: tuple[float, float] = (0.5, 0.5),
    corners: Sequence[tuple[int, int]] = ((-1, -1), (-1, 1), (1, -1), (1, 1)),
    possible: Callable[[float, float], bool] = lambda low, high: high >= 0,
) -> Verdict:
    """The right intervals from four corners; the mistakes are its variants."""
    experts, rests = [], []
    for i, j in corners:
        t, a = total + i * off[0] * unit, active + j * off[1] * unit
        experts.append(expert(t, a, n_experts, top_k))
        rests.append(rest(t, a, n_experts, top_k, experts[-1]))
    bounds = torch.tensor([min(experts), max(experts), min(rests), max(rests)])
    return bounds, possible(min(rests), max(rests))


def reference(total: float, active: float, unit: float, n_experts: int, top_k: int) -> Verdict:
    """Solve both equations at the four corners of what rounding allows."""
    return _verdict(total, active, unit, n_experts, top_k)


def _but(**how: Any) -> Callable[..., Verdict]:
    return lambda *given: _verdict(*given, **how)


def _reordered(order: Sequence[int]) -> Callable[..., Verdict]:
    def wrong(*given: Any) -> Verdict:
        bounds, possible = reference(*given)
        return bounds[list(order)], possible

    return wrong


def _rest_of_ends(total: float, active: float, unit: float, n_experts: int, top_k: int) -> Verdict:
    """Interval arithmetic: every bound with the worst of the other."""
    low, high = ((total - active + i * unit) / (n_experts - top_k) for i in (-1, 1))
    half = unit / 2
    rest = total - half - n_experts * high, total + half - n_experts * low
    return torch.tensor([low, high, *rest]), rest[1] >= 0


def _rest_of_means(total: float, active: float, unit: float, n_experts: int, top_k: int) -> Verdict:
    """The active number taken as exact in the second equation."""
    low, high = ((total - active + i * unit) / (n_experts - top_k) for i in (-1, 1))
    rest = active - top_k * high, active - top_k * low
    return torch.tensor([low, high, *rest]), rest[1] >= 0


def _inside(case: Case, got: Outputs, want: Outputs) -> str | None:
    total, active = float(case.args["total"]), float(case.args["active"])  # type: ignore[arg-type]
    n_experts, top_k = int(case.args["n_experts"]), int(case.args["top_k"])  # type: ignore[arg-type]
    bounds = np.asarray(got["bounds"], dtype=float)
    if bounds.shape != (4,):
        return None
    expert = _expert(total, active, n_experts, top_k)
    for value, low, high, what in (
        (expert, *bounds[:2], "one expert"),
        (active - top_k * expert, *bounds[2:], "the rest"),
    ):
        if not low - 1e-6 <= value <= high + 1e-6:
            return f"taken exactly, the numbers give {value:.4g} for {what}; your interval leaves it out"
    return None


def _wide(case: Case, got: Outputs, want: Outputs) -> str | None:
    bounds = np.asarray(got["bounds"], dtype=float)
    if bounds.shape == (4,) and (bounds[1] <= bounds[0] or bounds[3] <= bounds[2]):
        return "the numbers are rounded, so an interval has a lower and a higher end, in this order"
    return None


TWO_NUMBERS = Exercise(
    id="16.two_numbers",
    title="What two numbers say",
    task=(
        "A model has `n_experts` experts in each MoE layer, `top_k` of them for each token. Let x be one "
        "expert of *all* layers together, and let the rest be what every token uses. Then `total = rest + E "
        "x` and `active = rest + K x`. Both numbers were rounded to a multiple of `unit`, so each may be off "
        "by half of it, either way, independently. Return four numbers: least and most for x, least and most "
        "for the rest; and whether such a model is possible, which it is if *some* allowed rest is at least "
        "0."
    ),
    entry="two_numbers",
    points=4,
    minutes=20,
    difficulty=3,
    outputs=(
        Output("bounds", "I", plain=True, rtol=1e-5, atol=1e-6),
        Output("possible", kind="bool"),
    ),
    draw=draw,
    reference=reference,
    properties=(
        Property("the numbers as they stand lie inside", _inside),
        Property("each interval has a lower and a higher end", _wide),
    ),
    misconceptions=(
        Misconception(
            "total_over_experts",
            "x is taken as the total divided by E, as if nothing were shared. Attention, embeddings and "
            "routers are in the total, too: take the difference of the two equations.",
            wrong=_but(expert=lambda t, a, e, k: t / e),
            hint=1,
        ),
        Misconception(
            "active_over_k",
            "x is taken as what is active divided by K. All that every token uses is active as well: take "
            "the difference of the two equations.",
            wrong=_but(expert=lambda t, a, e, k: a / k),
            hint=1,
        ),
        Misconception(
            "e_not_e_minus_k",
            "The difference total - active is divided by E. K of the experts are active, so that the "
            "difference holds the E - K others.",
            wrong=_but(expert=lambda t, a, e, k: (t - a) / e),
            hint=1,
        ),
        Misconception(
            "rounding_ignored",
            "The numbers are taken as exact. Each may be off by half a unit, and the rest, a small "
            "difference of large numbers, feels it most.",
            wrong=_but(off=(0.0, 0.0)),
            hint=2,
        ),
        Misconception(
            "a_whole_unit",
            "Each number may be off by a whole unit here. What was rounded to a unit is off by at most half "
            "of it.",
            wrong=_but(off=(1.0, 1.0)),
            hint=2,
        ),
        Misconception(
            "one_of_them_rounded",
            "Only one of the two numbers is taken as rounded. Both were.",
            wrong=_but(off=(0.5, 0.0)),
            also=(_but(off=(0.0, 0.5)),),
            hint=2,
        ),
        Misconception(
            "rounded_together",
            "Both numbers are moved up, or both down. They were rounded independently: the widest intervals "
            "come from one up and the other down.",
            wrong=_but(corners=((-1, -1), (1, 1))),
            hint=2,
        ),
        Misconception(
            "opposite_ends_alone",
            "For the rest the ends do not belong together: the bound of x comes from one rounding of the "
            "total, and the total is then used with the other. Keep to one corner for both.",
            wrong=_rest_of_ends,
            hint=3,
        ),
        Misconception(
            "active_taken_exact",
            "For the rest, the active number is taken as it stands. It is rounded in this equation as much "
            "as in the other.",
            wrong=_rest_of_means,
            hint=3,
        ),
        Misconception(
            "shared_is_active",
            "The rest is said to be all that is active. K experts are in that, too: take them off.",
            wrong=_but(rest=lambda t, a, e, k, x: a),
            hint=3,
        ),
        Misconception(
            "shared_minus_one_expert",
            "One expert is taken off what is active. A token has K of them.",
            wrong=_but(rest=lambda t, a, e, k, x: a - x),
            hint=3,
        ),
        Misconception(
            "k_experts_off_the_total",
            "K experts are taken off the *total*. The total holds all E of them.",
            wrong=_but(rest=lambda t, a, e, k, x: t - k * x),
            hint=3,
        ),
        Misconception(
            "inactive_is_the_rest",
            "The rest is taken as total - active. That is the experts that a token does *not* use.",
            wrong=_but(rest=lambda t, a, e, k, x: t - a),
            hint=1,
        ),
        Misconception(
            "k_and_e_swapped",
            "E and K have changed places: the larger number belongs to the total.",
            wrong=lambda t, a, u, e, k: reference(t, a, u, k, e),
            hint=1,
        ),
        Misconception(
            "rest_first",
            "The four numbers are right, and in another order: first x, then the rest, each with its lower "
            "end in front.",
            wrong=_reordered((2, 3, 0, 1)),
            also=(_reordered((0, 2, 1, 3)), _reordered((1, 0, 3, 2))),
            hint=3,
        ),
        Misconception(
            "lowest_rest_counts",
            "A pair is called impossible where *some* of what rounding allows is. It is possible if any of "
            "it is: look at the highest rest.",
            wrong=_but(possible=lambda low, high: low >= 0),
            hint=3,
        ),
        Misconception(
            "rest_clamped",
            "A rest below 0 is shown as 0. That hides by how much the numbers fail to fit: return what the "
            "equations give.",
            wrong=lambda *given: (
                torch.cat([reference(*given)[0][:2], reference(*given)[0][2:].clamp_min(0)]),
                reference(*given)[1],
            ),
            hint=3,
        ),
        Misconception(
            "always_possible",
            "The intervals are right; that some of the pairs are impossible is missed. A model cannot have a "
            "negative rest: look at the *highest* one that rounding allows.",
            wrong=lambda *given: (reference(*given)[0], True),
            hint=3,
        ),
    ),
    hints=(
        "total = rest + E x, active = rest + K x: what does their difference say?",
        "Rounding allows a square of pairs, half a unit in each direction. Both unknowns are straight lines "
        "in it, so their ends lie at its four corners.",
        "At a corner: `x = (t - a) / (E - K)`, `rest = a - K * x`, with t and a moved by `unit / 2` each. "
        "Then least and most of the four; possible if the most of the rest is at least 0.",
    ),
    notice=(
        "The rest is a small difference of large numbers: half a billion of rounding in the total moves it "
        "by K / (E - K) times that, and half a billion in what is active by E / (E - K) times."
    ),
)
