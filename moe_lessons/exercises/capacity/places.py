"""Exercise 07.capacity: how many places an expert gets."""

import math
from collections.abc import Sequence

import numpy as np

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Sizes that do not divide, factors below and above 1, a fraction just above a whole, no tokens."""
    # Experts are a power of two here: the products are exact in whichever order they are taken.
    sizes = [
        (64, 8, 2, 1.25),
        (100, 8, 1, 1.0),
        (59, 8, 2, 1.0),
        (10, 4, 3, 1.5),
        (9, 8, 1, 1.5),
        (15, 8, 1, 0.75),
        (3, 64, 1, 1.0),
        (0, 8, 2, 1.25),
    ]
    while len(sizes) < 14:
        n_experts, top_k = int(rng.integers(5, 60)), int(rng.integers(2, 5))
        n_tokens = int(rng.integers(2, 40)) * n_experts + int(rng.integers(1, n_experts))
        factor = float(rng.choice([0.75, 1.25, 1.5]))
        shares = n_tokens * top_k / n_experts, n_tokens * n_experts / top_k  # the second is a mistake's
        if not any((share * factor).is_integer() for share in shares):  # `T / E * K` might land just above it
            sizes.append((n_tokens, n_experts, top_k, factor))
    cases = []
    for n_tokens, n_experts, top_k, factor in sizes:
        args: dict[str, Plain] = {
            "n_tokens": n_tokens,
            "n_experts": n_experts,
            "top_k": top_k,
            "capacity_factor": factor,
        }
        cases.append(Case(f"T={n_tokens}, E={n_experts}, K={top_k}, factor={factor}", args))
    return cases


def reference(n_tokens: int, n_experts: int, top_k: int, capacity_factor: float) -> int:
    """The fair share of all routed rows, times the factor, rounded up once."""
    return math.ceil(top_k * n_tokens * capacity_factor / n_experts)


def _not_rounded(case: Case, got: Outputs, want: Outputs) -> bool:
    t, e, k, f = (float(str(v)) for v in case.args.values())
    return abs(float(got["capacity"]) - t * k * f / e) < 1e-9 * (1 + t * k)


PLACES = Exercise(
    id="07.capacity",
    title="How many places?",
    task=(
        "T tokens choose K of E experts each. Return the number of places per expert: the rows that each "
        "would get if the load were perfectly even, times the capacity factor, *rounded up once, at the "
        "end*. A whole number."
    ),
    entry="expert_capacity",
    points=2,
    minutes=5,
    difficulty=1,
    outputs=(Output("capacity", kind="int"),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "no_k",
            "K is missing. T tokens make T * K rows, and the experts share the rows, not the tokens. Without "
            "K, a factor of 1 would drop half of all rows at K = 2, however even the load.",
            wrong=lambda t, e, k, f: math.ceil(t * f / e),
            hint=1,
        ),
        Misconception(
            "floor",
            "This rounds down. Mesh TensorFlow does that too, and a batch smaller than E then has no place "
            "at all. Here: round up, so that a perfectly even load always fits.",
            wrong=lambda t, e, k, f: int(t * k * f / e),
            hint=2,
        ),
        Misconception(
            "plus_one",
            "`int(...) + 1` rounds up only where there is a fraction to round. Where the product is whole, "
            "every expert gets a place too many.",
            wrong=lambda t, e, k, f: int(t * k * f / e) + 1,
            hint=2,
        ),
        Misconception(
            "nearest",
            "This rounds to the nearest whole number, so half of the time down: a perfectly even load then "
            "does not fit. Round up.",
            wrong=lambda t, e, k, f: round(t * k * f / e),
            hint=2,
        ),
        Misconception(
            "share_rounded_down",
            "`//` rounds the fair share down before the factor is applied, so the remainder of the rows has "
            "lost its places. Divide with `/` and round once, at the end.",
            wrong=lambda t, e, k, f: math.ceil(k * t // e * f),
            hint=2,
        ),
        Misconception(
            "rounded_twice",
            "The fair share was rounded up before the factor was applied, and the product rounded again. "
            "Round once, at the end.",
            wrong=lambda t, e, k, f: math.ceil(math.ceil(k * t / e) * f),
            hint=2,
        ),
        Misconception(
            "k_after_rounding",
            "The places for one choice were rounded up and then multiplied by K: up to K - 1 places too "
            "many. Tutel multiplies by K last, too. Here: multiply first, round at the end.",
            wrong=lambda t, e, k, f: k * math.ceil(t * f / e),
            hint=2,
        ),
        Misconception(
            "not_rounded_at_the_end",
            "The fair share was rounded, and then multiplied by the factor: the product need not be a whole "
            "number, and nobody has half a place. Multiply first, round once, at the end.",
            wrong=lambda t, e, k, f: math.ceil(t * k / e) * f,
            hint=2,
        ),
        Misconception(
            "not_rounded",
            "This is not rounded at all. A buffer has whole places: round up, once, at the end.",
            detects=_not_rounded,
            hint=2,
        ),
        Misconception(
            "whole_share_times_factor",
            "`//` throws the remainder of the fair share away, and the product with the factor is not "
            "rounded. Divide with `/`, multiply, and round up once, at the end.",
            wrong=lambda t, e, k, f: t * k // e * f,
            hint=2,
        ),
        Misconception(
            "k_and_e_swapped",
            "The experts multiply and K divides: the wrong way round. More choices make more rows, and more "
            "experts share them.",
            wrong=lambda t, e, k, f: math.ceil(t * e * f / k),
            hint=1,
        ),
        Misconception(
            "all_rows",
            "Every expert has places for the rows of the whole batch. The E experts share them.",
            wrong=lambda t, e, k, f: math.ceil(t * k * f),
            hint=1,
        ),
        Misconception(
            "at_least_one",
            "Right, but for a batch without tokens: it was given a place. (Some codes do keep a least "
            "number of places; the task has none.)",
            wrong=lambda t, e, k, f: max(1, reference(t, e, k, f)),
            hint=3,
        ),
        Misconception(
            "factor_ignored",
            "That is the fair share; the capacity factor has no effect on it.",
            wrong=lambda t, e, k, f: math.ceil(k * t / e),
            hint=1,
        ),
        Misconception(
            "factor_divides",
            "The fair share was divided by the factor: a larger factor gives fewer places. It should give "
            "more.",
            wrong=lambda t, e, k, f: math.ceil(k * t / e / f),
            hint=1,
        ),
    ),
    hints=(
        "How many rows do T tokens send out in all, if each has K choices? Who shares them?",
        "`math.ceil` of one product. `/` keeps the fraction, `//` and `int` throw it away.",
        "Rows are `n_tokens * top_k`; multiply by the factor, divide by `n_experts`, then `math.ceil`.",
    ),
    notice=(
        "A sharper edge: 1.1 has no exact binary form, so that for 50 tokens, K = 4, E = 4 this line "
        "gives 56 places where exact arithmetic gives 55."
    ),
)
