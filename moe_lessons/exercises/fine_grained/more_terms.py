"""Mistakes in 11.compute_optimal and 11.leverage that concern one term: its unit, its base, its bracket."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from moe_lessons.exercises.spec import Case, Misconception, Outputs

A, D, GAMMA, BETA = 1.23, -7.61e-2, 1.67e-2, -1.17e-1
START = 1.63e-2
Log = Callable[[float], float]


def _in_other_units(case: Case, got: Outputs, want: Outputs) -> bool:
    if got["granularity"] != want["granularity"] or not np.isclose(got["loss"], want["loss"], rtol=2e-4):
        return False
    off = [float(got[name]) / float(want[name]) for name in ("active", "tokens")]
    units = [min((abs(ratio / 10.0**n - 1), n) for n in (0, -3, -6, -9, -12)) for ratio in off]
    return all(gap < 0.05 for gap, _ in units) and any(n for _, n in units)


def term_mistakes(reference: Callable[..., Any]) -> tuple[Misconception, ...]:
    """Of 11.compute_optimal."""

    def without_router(budget: float, expansion: int, grains_N: Any) -> Any:
        granularity, active, _, loss = reference(budget, expansion, grains_N)
        return granularity, active, budget / (6 * active), loss

    return (
        Misconception(
            "tokens_without_router",
            "The tokens returned are the budget over 6 times the active parameters: the router's FLOPs are "
            "not in it. They follow from the same eq. 10 as in the search.",
            wrong=without_router,
            hint=2,
        ),
        Misconception(
            "in_other_units",
            "The parameters, or the tokens, are in thousands, millions or billions. Return the numbers "
            "themselves.",
            detects=_in_other_units,
            hint=3,
        ),
    )


def _but(
    exponent: Callable[[float, float], float] | None = None,
    combine: Callable[[float, float, float], float] | None = None,
    hat: Callable[[float], float] = lambda a: a + START,
) -> Callable[[float, float, float], float]:
    """Â to another exponent (of log2 G and log10 C), or alpha and the rest combined in another way."""

    def wrong(activation: float, granularity: float, flops: float) -> float:
        g, c = math.log2(granularity), math.log10(flops)
        if combine is not None:
            return float(combine(hat(activation), A + D * c, GAMMA * g**2 + BETA * g))
        x = A + D * c + GAMMA * g**2 + BETA * g if exponent is None else exponent(g, c)
        return float(hat(activation) ** x)

    return wrong


def _two_bases(square: Log, linear: Log) -> Callable[[float, float, float], float]:
    return lambda a, g, c: float(
        (a + START) ** (A + D * math.log10(c) + GAMMA * square(g) ** 2 + BETA * linear(g))
    )


_LOGS = (math.log2, math.log, math.log10)
_PAIRS = [_two_bases(x, y) for x in _LOGS for y in _LOGS if x is not y]


def _rounded(case: Case, got: Outputs, want: Outputs) -> bool:
    value, right = float(got["leverage"]), float(want["leverage"])
    return any(value == round(right, n) for n in range(5)) or math.isclose(value, right, rel_tol=1e-4)


TERM_MISTAKES = (
    Misconception(
        "two_bases_for_g",
        "log G has one base in the square and another one beside it. It is the same logarithm twice.",
        wrong=_PAIRS[0],
        also=tuple(_PAIRS[1:]),
        hint=2,
    ),
    Misconception(
        "power_of_a_part",
        "Only a part of the exponent stands in the exponent, and the rest was added or multiplied "
        "afterwards. `**` binds tighter than `+`: the whole sum needs brackets.",
        wrong=_but(combine=lambda hat, alpha, rest: hat**alpha + rest),
        also=(
            _but(combine=lambda hat, alpha, rest: hat**alpha * rest),
            _but(combine=lambda hat, alpha, rest: hat**A + (alpha - A) + rest),
            _but(combine=lambda hat, alpha, rest: hat**alpha + hat**rest),
        ),
        hint=3,
    ),
    Misconception(
        "alpha_not_a_sum",
        "α is a *plus* d log C. Multiplied, or with the logarithm of d C, it is another number.",
        wrong=_but(lambda g, c: A * D * c + GAMMA * g**2 + BETA * g),
        also=(
            _but(lambda g, c: (A + D) * c + GAMMA * g**2 + BETA * g),
            _but(lambda g, c: A + D * c**2 + GAMMA * g**2 + BETA * g),
        ),
        hint=3,
    ),
    Misconception(
        "constant_squared_too",
        "The square takes in too much, or the constants act twice: γ (log G)² is γ times the square of the "
        "logarithm alone.",
        wrong=_but(lambda g, c: A + D * c + (GAMMA * g) ** 2 + BETA * g),
        also=(
            _but(lambda g, c: A + D * c + GAMMA**2 * g + BETA * g),
            _but(lambda g, c: A + D * c + GAMMA * (GAMMA * g**2) + BETA * g),
            _but(lambda g, c: A + D * c + GAMMA * (g**2 + BETA * g)),
            _but(lambda g, c: A + D * c + (GAMMA * g**2) ** 2 + BETA * g),
        ),
        hint=3,
    ),
    Misconception(
        "a_max_mistyped",
        "Â is next to 0, or enormous: look at A_max. It is 5.28e16, with a *positive* power of ten, so that "
        "1/A_max is next to nothing.",
        wrong=_but(hat=lambda a: 1 / (1 / (a + 1 / (1 / START - 1 / 5.28e16)) + 1 / 5.28e-16)),
        also=(
            _but(hat=lambda a: 1 / (1 / (a + START) + 5.28e16)),
            _but(hat=lambda a: 1 / (1 / (a + START)) + 5.28e16),
        ),
        hint=3,
    ),
    Misconception(
        "rounded",
        "The leverage was rounded. Return it as it is; rounding is for printing.",
        detects=_rounded,
        hint=3,
    ),
    Misconception(
        "saving",
        "This is what the MoE saves, as a share or in percent. The leverage is how many times as much the "
        "dense model needs.",
        wrong=lambda a, g, c: 1 - 1 / _but()(a, g, c),
        also=(lambda a, g, c: 100 * (1 - 1 / _but()(a, g, c)), lambda a, g, c: _but()(a, g, c) - 1),
        hint=3,
    ),
)
