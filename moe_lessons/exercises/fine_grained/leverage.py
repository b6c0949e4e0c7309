"""Exercise 11.leverage: a published law that leaves out what its logarithms are to the base of."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from moe_lessons.exercises.fine_grained.more_laws import LEVERAGE_MISTAKES
from moe_lessons.exercises.fine_grained.more_terms import TERM_MISTAKES
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output

A, D, GAMMA, BETA, START, MOST = 1.23, -7.61e-2, 1.67e-2, -1.17e-1, 1.63e-2, 5.28e16
Log = Callable[[float], float]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """The paper's own example and four drawn configurations."""
    cases = [Case("3.1 %, G=12, 1e22", {"activation": 0.031, "granularity": 12.0, "flops": 1e22})]
    for _ in range(4):
        activation, granularity = (round(float(rng.uniform(*r)), 4) for r in ((0.01, 0.3), (2.2, 16)))
        flops = float(f"{10 ** rng.uniform(18.5, 23):.3g}")
        name = f"{100 * activation:.2f} %, G={granularity:g}, {flops:g}"
        cases.append(Case(name, {"activation": activation, "granularity": granularity, "flops": flops}))
    return cases


def _leverage(
    activation: float,
    granularity: float,
    flops: float,
    log_g: Log = math.log2,
    log_c: Log = math.log10,
    saturated: bool = True,
) -> float:
    a_hat = 1 / (1 / (activation + 1 / (1 / START - 1 / MOST)) + 1 / MOST) if saturated else activation
    g = log_g(granularity)
    return float(a_hat ** (A + D * log_c(flops) + GAMMA * g**2 + BETA * g))


def reference(activation: float, granularity: float, flops: float) -> float:
    """Eq. 13 of arXiv 2507.17702 with base 2 for G and 10 for C, which gives what the paper says."""
    return _leverage(activation, granularity, flops)


def _bases(log_g: Log, log_c: Log) -> Callable[[float, float, float], float]:
    return lambda a, g, c: _leverage(a, g, c, log_g, log_c)


def _unsquared(activation: float, granularity: float, flops: float) -> float:
    a_hat, g = activation + 1 / (1 / START - 1 / MOST), math.log2(granularity)
    return float(a_hat ** (A + D * math.log10(flops) + GAMMA * g + BETA * g))


def _squared_number(activation: float, granularity: float, flops: float) -> float:
    a_hat, g = activation + 1 / (1 / START - 1 / MOST), math.log2(granularity)
    return float(a_hat ** (A + D * math.log10(flops) + GAMMA * math.log2(granularity**2) + BETA * g))


TEN, TWO, NATURAL = math.log10, math.log2, math.log
TRY = "Try the paper's two sentences on it: with this pair at least one of them does not come out."

LEVERAGE = Exercise(
    id="11.leverage",
    title="Which logarithm?",
    task=(
        "The *efficiency leverage* is how many times the compute a dense model needs for the same loss. By "
        "arXiv 2507.17702, eq. 13, it is `Â^(α + γ (log G)² + β log G)` with `α = a + d log C`, where `1/Â = "
        "1/(A + (1/A_start - 1/A_max)⁻¹) + 1/A_max`. Table 2: a = 1.23, d = -7.61e-2, γ = 1.67e-2, β = "
        "-1.17e-1, A_start = 1.63e-2, A_max = 5.28e16. A is `activation`, G `granularity`, C `flops`. The "
        "paper does not say to which bases the two logarithms are. It does say: *over 7 at A = 3.1 %, G = "
        "12, C = 1e22*, and *the optimum is at a G of around 12*. Find the bases among e, 2 and 10, and "
        "return the leverage."
    ),
    entry="efficiency_leverage",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("leverage", rtol=1e-4),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "natural_both",
            "Both logarithms are natural ones: that gives a leverage of over 5,000 for the paper's own "
            "example. " + TRY,
            wrong=_bases(NATURAL, NATURAL),
            hint=1,
        ),
        Misconception(
            "natural_g",
            "The logarithm of G is the natural one. The example comes near 7, and the best G lies at 33. "
            + TRY,
            wrong=_bases(NATURAL, TEN),
            hint=2,
        ),
        Misconception(
            "natural_c",
            "The logarithm of C is the natural one: the example then gives thousands. " + TRY,
            wrong=_bases(TWO, NATURAL),
            hint=1,
        ),
        Misconception(
            "ten_both",
            "Both logarithms are decimal. The best G then lies in the thousands. " + TRY,
            wrong=_bases(TEN, TEN),
            hint=2,
        ),
        Misconception(
            "two_both",
            "Both logarithms are to base 2: the example then gives a million. " + TRY,
            wrong=_bases(TWO, TWO),
            hint=1,
        ),
        Misconception(
            "ten_g_natural_c",
            "The logarithm of G is decimal and that of C natural: neither of the two sentences comes out. "
            + TRY,
            wrong=_bases(TEN, NATURAL),
            hint=1,
        ),
        Misconception(
            "ten_g_two_c",
            "The logarithm of G is decimal and that of C to base 2: neither of the two sentences comes out. "
            + TRY,
            wrong=_bases(TEN, TWO),
            hint=1,
        ),
        Misconception(
            "natural_g_two_c",
            "The logarithm of G is natural and that of C to base 2: neither of the two sentences comes out. "
            + TRY,
            wrong=_bases(NATURAL, TWO),
            hint=1,
        ),
        Misconception(
            "not_saturated",
            "A stands where Â belongs. Without the transformation the leverage would grow without end as the "
            "model gets sparser.",
            wrong=lambda a, g, c: _leverage(a, g, c, saturated=False),
            hint=3,
        ),
        Misconception(
            "start_subtracted",
            "A_start was subtracted in Â. It is added: no model acts sparser than that.",
            wrong=lambda a, g, c: float(
                max(a - START, 1e-9) ** (A + D * TEN(c) + GAMMA * TWO(g) ** 2 + BETA * TWO(g))
            ),
            hint=3,
        ),
        Misconception(
            "d_positive",
            "The constant d has lost its sign: the leverage would fall as the budget grows. It is -7.61e-2.",
            wrong=lambda a, g, c: _leverage(a, g, 1 / c),
            hint=3,
        ),
        Misconception(
            "inverted",
            "This is one over the leverage: the compute that the MoE needs, as a share of the dense model's.",
            wrong=lambda a, g, c: 1 / _leverage(a, g, c),
            hint=3,
        ),
        Misconception(
            "sparsity_for_ratio",
            "The sparsity 1/A was put in. A is the share of experts that is active, at most 1.",
            wrong=lambda a, g, c: _leverage(1 / a, g, c),
            hint=3,
        ),
        Misconception(
            "per_cent",
            "A was put in per cent, or divided by 100. It comes as a share already: 0.031.",
            wrong=lambda a, g, c: _leverage(100 * a, g, c),
            also=(lambda a, g, c: _leverage(a / 100, g, c),),
            hint=3,
        ),
        Misconception(
            "other_granularity",
            "G was doubled or halved. Krajewski's granularity is 4 d / d_expert, this paper's 2 d / "
            "d_expert; what comes in is this paper's already.",
            wrong=lambda a, g, c: _leverage(a, 2 * g, c),
            also=(lambda a, g, c: _leverage(a, g / 2, c),),
            hint=2,
        ),
        Misconception(
            "square_forgotten",
            "The square of log G is missing: without it there is no best G at all.",
            wrong=_unsquared,
            hint=3,
        ),
        Misconception(
            "log_of_square",
            "This is the logarithm of G². Asked is the square of the logarithm, (log G)².",
            wrong=_squared_number,
            hint=3,
        ),
        *LEVERAGE_MISTAKES,
        *TERM_MISTAKES,
    ),
    hints=(
        "Three bases for G, three for C: nine functions. Which of them give both sentences?",
        "The exponent's best G is where 2 γ log G + β = 0, that is log G = 3.5. To which base is that about "
        "12?",
        "Compute Â first; it lies between A and A + A_start. Then try the bases for C on the first sentence.",
    ),
    notice=(
        "A formula without its bases is not published in full: the natural logarithm, the first guess of "
        "most, is off by a factor of several hundred."
    ),
)
