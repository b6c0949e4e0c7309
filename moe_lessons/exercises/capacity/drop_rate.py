"""Exercise 07.expected_drop_rate: how many rows a perfectly random router drops, exactly."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Factors around 1, K up to 3, no place at all, a place for everybody, and K = E."""
    sizes = [(64, 8, 1, 8), (48, 6, 2, 18), (12, 3, 2, 0), (10, 4, 1, 10), (9, 3, 3, 7)]
    for _ in range(3):
        n_experts, top_k = int(rng.integers(4, 12)), int(rng.integers(2, 4))
        n_tokens = int(rng.integers(30, 150))
        fair = n_tokens * top_k / n_experts
        sizes.append((n_tokens, n_experts, top_k, int(fair * rng.uniform(0.7, 1.1))))
    cases = []
    for n_tokens, n_experts, top_k, capacity in sizes:
        args: dict[str, Plain] = {
            "n_tokens": n_tokens,
            "n_experts": n_experts,
            "top_k": top_k,
            "capacity": capacity,
        }
        cases.append(Case(f"T={n_tokens}, E={n_experts}, K={top_k}, C={capacity}", args))
    return cases


Probability = Callable[[np.ndarray, int, int, int], np.ndarray]


def _binomial(n: np.ndarray, t: int, e: int, k: int) -> np.ndarray:
    """Probability of each count n. Not SciPy's: every process that judges would carry it."""
    p = k / e
    return np.array([math.comb(t, i) * p**i * (1 - p) ** (t - i) for i in n.tolist()])


def _overflow(t: int, e: int, k: int, c: int, probability: Probability = _binomial, most: int = 0) -> float:
    """Expected rows beyond the capacity at one expert."""
    counts = np.arange(c, max(t, most) + 1)
    return float(((counts - c) * probability(counts, t, e, k)).sum())


def reference(n_tokens: int, n_experts: int, top_k: int, capacity: int) -> float:
    """A load is binomial(T, K/E); E experts overflow alike; T * K rows were sent."""
    return n_experts * _overflow(n_tokens, n_experts, top_k, capacity) / (n_tokens * top_k)


def _poisson(t: int, e: int, k: int, c: int, most: int = 0) -> float:
    def probability(n: np.ndarray, t: int, e: int, k: int) -> np.ndarray:
        mean = t * k / e
        return np.array([math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in n.tolist()])

    return e * _overflow(t, e, k, c, probability, most=most or t * k + 400) / (t * k)


def _independent_choices(t: int, e: int, k: int, c: int) -> float:
    return e * _overflow(t * k, e, 1, c) / (t * k)


def _normal(t: int, e: int, k: int, c: int) -> float:
    mean, spread = t * k / e, math.sqrt(t * k / e * (1 - k / e))
    if spread == 0:
        return max(0.0, mean - c) / mean
    z = (c - mean) / spread
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return spread * (density - z * math.erfc(z / math.sqrt(2)) / 2) / mean


def _not_negative(case: Case, got: Outputs, want: Outputs) -> str | None:
    rate = float(got["drop_rate"])
    return None if -1e-9 <= rate <= 1 + 1e-6 else f"a share lies between 0 and 1, this is {rate:.4g}"


def _last_missing(t: int, e: int, k: int, c: int) -> float:
    counts = np.arange(c, t)
    return e * float(((counts - c) * _binomial(counts, t, e, k)).sum()) / (t * k)


def _simulated(case: Case, got: Outputs, want: Outputs) -> bool:
    """Near the truth and off it both ways: within 5 %, exact where nothing is left to chance."""
    rate, right = float(got["drop_rate"]), float(want["drop_rate"])
    return abs(rate - right) < 0.05 * right + 1e-7 and not _is_normal(case, rate)


def _is_normal(case: Case, rate: float) -> bool:
    """Whether it is the bell curve's, nearer than chance comes to it."""
    sizes = [int(str(v)) for v in case.args.values()]
    return rate > 0 and abs(_normal(*sizes) - rate) < 1e-6 * rate


DROP_RATE = Exercise(
    id="07.expected_drop_rate",
    title="The drop rate of a perfectly random router",
    task=(
        "Each of T tokens picks K *different* experts out of E, all equally likely, independently of the "
        "other tokens. Every expert has C places. Return the expected share of the T * K rows that is "
        "dropped, exact to rounding. `scipy.stats` and `math` may help."
    ),
    entry="expected_drop_rate",
    points=4,
    minutes=20,
    difficulty=4,
    outputs=(Output("drop_rate", rtol=2e-4, atol=1e-7),),  # fp32 factorials are right to 1e-4
    draw=draw,
    reference=reference,
    properties=(Property("a share between 0 and 1", _not_negative),),
    misconceptions=(
        Misconception(
            "mean_load",
            "The mean load was compared with the capacity, and on average nobody overflows. But one expert's "
            "surplus is lost while another's gap stays empty; they do not cancel. The mean of max(0, n - C) "
            "is not max(0, mean of n - C).",
            wrong=lambda t, e, k, c: max(0.0, t * k / e - c) / (t * k / e),
            hint=1,
        ),
        Misconception(
            "poisson",
            "A Poisson count has no upper end and too much spread: its variance is the mean, while that of n "
            "is the mean times (1 - K/E). T tokens that each come or don't make a binomial.",
            wrong=_poisson,
            also=(lambda t, e, k, c: _poisson(t, e, k, c, most=t),),
            hint=2,
        ),
        Misconception(
            "independent_choices",
            "This treats the T * K rows as independent, so a token could pick one expert twice. Its choices "
            "differ: each token reaches an expert once, with probability K/E, or not at all.",
            wrong=_independent_choices,
            hint=2,
        ),
        Misconception(
            "over_tokens",
            "The dropped rows were divided by the tokens. T tokens send T * K rows; with K > 1 the share can "
            "otherwise exceed 1.",
            wrong=lambda t, e, k, c: k * reference(t, e, k, c),
            hint=3,
        ),
        Misconception(
            "one_expert",
            "Only one expert's overflow was counted. All E of them overflow, each with the same expectation.",
            wrong=lambda t, e, k, c: reference(t, e, k, c) / e,
            hint=3,
        ),
        Misconception(
            "overflow_probability",
            "That is the probability that an expert overflows. The question is how many rows it then drops: "
            "weigh every count n by its surplus n - C.",
            wrong=lambda t, e, k, c: float(_binomial(np.arange(c + 1, t + 1), t, e, k).sum()),
            hint=1,
        ),
        Misconception(
            "all_rows_of_the_full",
            "Where an expert overflows, all of its rows were counted as dropped. The first C of them have "
            "places: it drops n - C.",
            wrong=lambda t, e, k, c: (
                e
                * float((np.arange(c + 1, t + 1) * _binomial(np.arange(c + 1, t + 1), t, e, k)).sum())
                / (t * k)
            ),
            hint=1,
        ),
        Misconception(
            "last_count_missing",
            "The sum ends at T - 1. `range` and `arange` leave their end out, and all T tokens may come to "
            "one expert; with K = E they always do.",
            wrong=_last_missing,
            hint=3,
        ),
        Misconception(
            "normal",
            "Close, but an approximation: a bell curve in place of the binomial. Sum over the counts "
            "themselves, there are only T + 1 of them.",
            wrong=_normal,
            hint=2,
        ),
        Misconception(
            "simulated",
            "Close, but drawn by chance: the answer is asked for to rounding. There are only T + 1 counts; "
            "add up all of them, each with its probability.",
            detects=_simulated,
            hint=2,
        ),
        Misconception(
            "place_lost",
            "Each expert was given one place too few: at n rows it drops n - C of them, and at n = C none.",
            wrong=lambda t, e, k, c: reference(t, e, k, c - 1) if c else reference(t, e, k, 0),
            hint=3,
        ),
        Misconception(
            "k_forgotten",
            "K = 1 was assumed: with K choices a token reaches an expert with probability K/E.",
            wrong=lambda t, e, k, c: e * _overflow(t, e, 1, c) / (t * k),
            hint=2,
        ),
    ),
    hints=(
        "One expert with n rows and C places drops max(0, n - C). What must be averaged, and over what?",
        "n counts how many of T independent tokens picked this expert, each with probability K/E: "
        "`scipy.stats.binom.pmf(n, n_tokens, top_k / n_experts)`.",
        "Sum (n - C) * pmf(n) over n from C to T, times E experts, divided by the T * K rows.",
    ),
    notice=(
        "The experts' loads depend on each other, and that does no harm: the mean of a sum is the sum of "
        "the means, so one expert's binomial is enough."
    ),
)
