"""The state of the capacity explorable: random tokens, experts with C places, who is left outside.

The router is as good as a coin: which experts a token asks does not depend on the token. So everything that
happens here is chance, and its average can be computed. Plain Python: it runs where PyTorch does not.
`places`, `overflow` and the queues are what `moe_lessons.capacity` computes on tensors; tests compare them.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, chain, islice
from operator import mul

from moe_lessons.explore.twister import Twister

MOST_EXPERTS, BLOCK = 64, 64
FACTORS = tuple(round(0.5 + 0.05 * i, 2) for i in range(41))
"""The capacity factors of the slider, and of the curves."""


@dataclass(frozen=True)
class Params:
    """What can be dragged. ``skew`` 0 is a fair router; expert e has appeal 1 / (e + 1) ** skew."""

    factor: float = 1.0
    n_tokens: int = 64
    n_experts: int = 8
    skew: float = 0.0
    k: int = 1
    seed: int = 9


@dataclass(frozen=True)
class Curves:
    """Expected share of rows dropped and of places left empty, at each of ``FACTORS``."""

    dropped: tuple[float, ...]
    empty: tuple[float, ...]


@dataclass(frozen=True)
class State:
    """Everything that one frame shows: each expert's queue of tokens, and the shares, drawn and expected."""

    params: Params
    capacity: int
    queues: tuple[tuple[int, ...], ...]
    """Token numbers in each expert's queue, first come first; those from ``capacity`` on are dropped."""
    drops_T: tuple[int, ...]
    """Dropped choices of each token."""
    dropped: float
    empty: float
    expected_dropped: float
    expected_empty: float
    curves: Curves


@lru_cache(maxsize=128)
def _patience(seed: int, block: int) -> tuple[tuple[float, ...], ...]:
    """Exponential noise for 64 tokens: the smallest noise / p falls on e with probability p_e."""
    stream, numbers = Twister(seed), BLOCK * MOST_EXPERTS
    stream.words(2 * numbers * block)  # those of the blocks before
    drawn = [-math.log(u) for u in stream.uniform(numbers)]
    return tuple(tuple(drawn[i : i + MOST_EXPERTS]) for i in range(0, numbers, MOST_EXPERTS))


@lru_cache(maxsize=64)
def shares(n_experts: int, skew: float) -> tuple[float, ...]:
    """Probability of each expert as a first choice, one number for each.

    Examples
    --------
    >>> [round(share, 4) for share in shares(3, 1.0)]  # 1, 1/2 and 1/3, made to sum to 1
    [0.5455, 0.2727, 0.1818]
    """
    appeal_E = [e**-skew for e in range(1, n_experts + 1)]
    total = math.fsum(appeal_E)
    return tuple(appeal / total for appeal in appeal_E)


def reach(shares_E: tuple[float, ...], k: int) -> tuple[float, ...]:
    """Probability that an expert is among a token's K choices, K = 1 or 2, the second from those left over.

    Examples
    --------
    >>> round(sum(reach((0.5, 0.25, 0.25), 2)), 9)
    2.0
    """
    if k == 1:
        return shares_E
    if k != 2:
        raise ValueError(f"k is {k}: choose 1 or 2")
    # Second after any other first choice j: p_j * p_e / (1 - p_j).
    odds_E = [share / (1 - share) for share in shares_E]
    total = math.fsum(odds_E)
    return tuple(share * (1 + total - odds) for share, odds in zip(shares_E, odds_E, strict=True))


@lru_cache(maxsize=256)
def choices(n_tokens: int, n_experts: int, skew: float, k: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """Draw each token's K experts, K = 1 or 2, the first choice first; the same noise whatever is dragged."""
    less_E = [1 / share for share in shares(n_experts, skew)]
    chosen: list[tuple[int, ...]] = []
    blocks = (_patience(seed, block) for block in range(-(-n_tokens // BLOCK)))
    for noise in islice(chain.from_iterable(blocks), n_tokens):
        waits = list(map(mul, noise, less_E))
        best = waits.index(min(waits))
        if k == 1:
            chosen.append((best,))
            continue
        waits[best] = math.inf
        chosen.append((best, waits.index(min(waits))))
    return tuple(chosen)


def places(n_tokens: int, n_experts: int, k: int, factor: float) -> int:
    """C, the places of an expert: its fair share of the rows times the factor as it is written, rounded up.

    Examples
    --------
    >>> places(64, 8, 2, 1.25)  # 16 * 1.25
    20
    """
    return math.ceil(Fraction(str(factor)) * k * n_tokens / n_experts)


@lru_cache(maxsize=1024)
def overflow(n_tokens: int, p: float) -> tuple[float, ...]:
    """Expected number of rows beyond each capacity C = 0 to T, where a token asks with probability p.

    Examples
    --------
    >>> [round(rows, 9) for rows in overflow(2, 0.5)]  # 0, 1, 1 or 2 rows: mean 1, and 1 over once in four
    [1.0, 0.25, 0.0]
    """
    if p >= 1:
        return tuple(float(n_tokens - c) for c in range(n_tokens + 1))
    # From the likeliest number of rows to both sides, each probability from its neighbour.
    top, odds = min(n_tokens, int((n_tokens + 1) * p)), p / (1 - p)
    ways = math.lgamma(n_tokens + 1) - math.lgamma(top + 1) - math.lgamma(n_tokens - top + 1)
    pmf_N = [0.0] * (n_tokens + 1)
    pmf_N[top] = math.exp(ways + top * math.log(p) + (n_tokens - top) * math.log1p(-p))
    for n in range(top, n_tokens):
        pmf_N[n + 1] = pmf_N[n] * ((n_tokens - n) / (n + 1) * odds)
        if pmf_N[n + 1] < 1e-40:
            break
    for n in range(top, 0, -1):
        pmf_N[n - 1] = pmf_N[n] * (n / (n_tokens - n + 1) / odds)
        if pmf_N[n - 1] < 1e-40:
            break
    # E[max(0, n - C)] is the sum of P(n > j) over all j >= C; added from the end, small ones first.
    above_N = list(accumulate(reversed(pmf_N[1:]), initial=0.0))
    return tuple(reversed(list(accumulate(above_N))))


@lru_cache(maxsize=256)
def curves(n_tokens: int, n_experts: int, skew: float, k: int) -> Curves:
    """Compute both expected shares at every factor.

    Examples
    --------
    >>> round(curves(64, 8, 0.0, 1).dropped[FACTORS.index(1.0)], 3)
    0.131
    """
    each = [overflow(n_tokens, p) for p in reach(shares(n_experts, skew), k)]
    rows, dropped, empty = n_tokens * k, [], []
    for factor in FACTORS:
        capacity = places(n_tokens, n_experts, k, factor)
        over = math.fsum(overflow_C[min(capacity, n_tokens)] for overflow_C in each)
        dropped.append(over / rows)
        empty.append(1 - (rows - over) / (n_experts * capacity))
    return Curves(tuple(dropped), tuple(empty))


def simulate(params: Params) -> State:
    """Compute one frame's state.

    Examples
    --------
    >>> state = simulate(Params())
    >>> state.capacity, sum(len(queue) for queue in state.queues)
    (8, 64)
    """
    p = params
    capacity = places(p.n_tokens, p.n_experts, p.k, p.factor)
    queues: list[list[int]] = [[] for _ in range(p.n_experts)]
    drops_T = [0] * p.n_tokens
    for token, row in enumerate(choices(p.n_tokens, p.n_experts, p.skew, p.k, p.seed)):
        for expert in row:
            queues[expert].append(token)
            drops_T[token] += len(queues[expert]) > capacity
    rows, room = p.n_tokens * p.k, p.n_experts * capacity
    expected = curves(p.n_tokens, p.n_experts, p.skew, p.k)
    i = FACTORS.index(_nearest(p.factor))
    return State(
        p,
        capacity,
        tuple(map(tuple, queues)),
        tuple(drops_T),
        dropped=sum(drops_T) / rows,
        empty=1 - (rows - sum(drops_T)) / room,
        expected_dropped=expected.dropped[i],
        expected_empty=expected.empty[i],
        curves=expected,
    )


def _nearest(factor: float) -> float:
    if not (math.isfinite(factor) and FACTORS[0] <= round(factor, 2) <= FACTORS[-1]):
        raise ValueError(f"factor is {factor}: choose {FACTORS[0]} to {FACTORS[-1]}")
    return min(FACTORS, key=lambda f: abs(f - factor))
