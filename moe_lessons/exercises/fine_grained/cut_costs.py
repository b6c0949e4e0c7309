"""Exercise 11.cut_costs: what a cut leaves as it is, and what it makes larger."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from moe_lessons.exercises.fine_grained.more_cuts import cost_mistakes
from moe_lessons.exercises.fine_grained.more_parts import bit_mistakes
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output

Costs = tuple[int, int, float, float]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """The cut that OLMoE tried, and three drawn ones with several experts a token."""
    names = ("d_model", "d_expert", "n_experts", "top_k", "granularity")
    rows = [(2048, 8192, 8, 1, 8)]
    for _ in range(3):
        granularity = int(rng.choice([2, 4, 8]))
        d_expert = granularity * int(rng.integers(5, 60))
        rows.append(
            (
                8 * int(rng.integers(3, 40)),
                d_expert,
                int(rng.integers(5, 20)),
                int(rng.integers(2, 4)),
                granularity,
            )
        )
    return [
        Case(f"D={d}, F={f}, E={e}, K={k}, G={g}", dict(zip(names, (d, f, e, k, g), strict=True)))
        for d, f, e, k, g in rows
    ]


def bits(n: int, k: int) -> float:
    """Base-2 logarithm of the number of ways to choose k of n."""
    return math.log2(math.comb(n, k))


def _costs(router: float, expert: float, n_experts: float, top_k: float, choices: float) -> Costs:
    active = router + top_k * expert
    return int(router + n_experts * expert), int(active), router / active, choices


def reference(d_model: int, d_expert: int, n_experts: int, top_k: int, granularity: int) -> Costs:
    """The experts stay; the router has a row of D for each slice."""
    router = d_model * n_experts * granularity
    choices = bits(n_experts * granularity, top_k * granularity)
    return _costs(router, 3 * d_model * d_expert, n_experts, top_k, choices)


def _but(
    change: Callable[[Costs, int, int, int, int, int], Costs],
) -> Callable[[int, int, int, int, int], Costs]:
    return lambda d, f, e, k, g: change(reference(d, f, e, k, g), d, f, e, k, g)


CUT_COSTS = Exercise(
    id="11.cut_costs",
    title="What a cut costs",
    task=(
        "A layer has `n_experts` SwiGLU experts (width `d_expert`, no biases), a linear router without bias, "
        "and gives each token `top_k` experts. Now every expert is cut into `granularity` slices, and a "
        "token takes `top_k · granularity` of them. Return, for the layer *after* the cut: all parameters, "
        "the parameters that one token uses (the router in both), the router's share of the latter, and the "
        "base-2 logarithm of the number of sets of slices that a token can have."
    ),
    entry="cut_costs",
    points=3,
    minutes=10,
    difficulty=2,
    outputs=(
        Output("total", kind="int"),
        Output("active", kind="int"),
        Output("router_share"),
        Output("choices_bits"),
    ),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "router_forgotten",
            "The router is in neither of the two counts. It is what the cut makes larger: a row of D for "
            "each slice.",
            wrong=_but(lambda r, d, f, e, k, g: (r[0] - d * e * g, r[1] - d * e * g, *r[2:])),
            hint=1,
        ),
        Misconception(
            "router_not_grown",
            "The router has a row for each *old* expert. Every slice is an expert of its own, with a row of "
            "its own.",
            wrong=_but(lambda r, d, f, e, k, g: _costs(d * e, 3 * d * f, e, k, r[3])),
            hint=1,
        ),
        Misconception(
            "only_chosen_rows",
            "Of the router, one token is charged only the rows of its chosen slices. Who is chosen is known "
            "after *all* rows have been used.",
            wrong=_but(
                lambda r, d, f, e, k, g: (
                    r[0],
                    d * k * g + 3 * k * d * f,
                    d * k * g / (d * k * g + 3 * k * d * f),
                    r[3],
                )
            ),
            hint=2,
        ),
        Misconception(
            "two_matrices",
            "The experts are counted with two matrices. SwiGLU has three: gate, up and down.",
            wrong=_but(lambda r, d, f, e, k, g: _costs(d * e * g, 2 * d * f, e, k, r[3])),
            hint=1,
        ),
        Misconception(
            "experts_not_cut",
            "There are G times as many experts, each as wide as before. A cut makes them narrower by the "
            "same factor: F/G.",
            wrong=_but(lambda r, d, f, e, k, g: _costs(d * e * g, 3 * d * f, e * g, k * g, r[3])),
            hint=1,
        ),
        Misconception(
            "k_not_grown",
            "A token takes K slices. That is a G-th of the work it had; the cut keeps the work and takes G "
            "times as many.",
            wrong=_but(lambda r, d, f, e, k, g: _costs(d * e * g, 3 * d * f / g, e * g, k, bits(e * g, k))),
            hint=1,
        ),
        Misconception(
            "share_of_experts",
            "The share is the router over the *experts* of a token. A share has the whole below the line: "
            "router and experts.",
            wrong=_but(lambda r, d, f, e, k, g: (*r[:2], d * e * g / (3 * k * d * f), r[3])),
            hint=2,
        ),
        Misconception(
            "share_of_total",
            "The share is that of all parameters. Asked is the share of what one token uses, where the "
            "router weighs far more.",
            wrong=_but(lambda r, d, f, e, k, g: (*r[:2], d * e * g / r[0], r[3])),
            hint=2,
        ),
        Misconception(
            "ordered",
            "The choices are counted with an order. A set of slices has none: divide by the (K·G)! ways to "
            "list it.",
            wrong=_but(lambda r, d, f, e, k, g: (*r[:3], math.log2(math.perm(e * g, k * g)))),
            hint=3,
        ),
        Misconception(
            "slices_together",
            "These are the choices of the layer *before* the cut, in which all slices of an expert come "
            "together. Apart they can be combined freely.",
            wrong=_but(lambda r, d, f, e, k, g: (*r[:3], bits(e, k))),
            hint=3,
        ),
        Misconception(
            "with_repetition",
            "The same slice may be taken more than once in this count. Top-k takes different ones.",
            wrong=_but(lambda r, d, f, e, k, g: (*r[:3], bits(e * g + k * g - 1, k * g))),
            also=(_but(lambda r, d, f, e, k, g: (*r[:3], k * g * math.log2(e * g))),),
            hint=3,
        ),
        Misconception(
            "one_slice",
            "This is what *one* choice among all slices is worth. A token chooses K·G of them: count the "
            "sets.",
            wrong=_but(lambda r, d, f, e, k, g: (*r[:3], math.log2(e * g))),
            hint=3,
        ),
        Misconception(
            "all_active",
            "The active parameters are all of them. A token passes K·G of the E·G slices; only the router is "
            "used in full.",
            wrong=_but(lambda r, d, f, e, k, g: (r[0], r[0], d * e * g / r[0], r[3])),
            hint=2,
        ),
        Misconception(
            "natural_log",
            "This is the natural logarithm. In bits it is the one to base 2.",
            wrong=_but(lambda r, d, f, e, k, g: (*r[:3], r[3] * math.log(2))),
            also=(_but(lambda r, d, f, e, k, g: (*r[:3], r[3] * math.log10(2))),),
            hint=3,
        ),
        Misconception(
            "no_log",
            "This is the number of sets itself. Asked is its logarithm to base 2.",
            wrong=_but(lambda r, d, f, e, k, g: (*r[:3], 2.0 ** r[3])),
            hint=3,
        ),
        *cost_mistakes(reference),
        *bit_mistakes(reference),
    ),
    hints=(
        "An expert has three matrices of D·F numbers. What becomes of them when it is cut into G pieces? And "
        "how many rows has the router afterwards?",
        "A token uses the whole router and `top_k · granularity` slices of width F/G. The router's share is "
        "its part of that sum.",
        "`math.log2(math.comb(n, k))`, with the numbers of slices.",
    ),
    notice=(
        "Expert parameters do not depend on the granularity at all: what a cut costs is the router, and the "
        "bookkeeping of more and smaller products."
    ),
)
