"""The state of the capacity explorable: random tokens, experts with C places, who is left outside.

The router is as good as a coin: which experts a token asks does not depend on the token. So everything that
happens here is chance, and its average can be computed.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from moe_lessons.capacity import admit, expected_overflow, expert_capacity

MOST_TOKENS, MOST_EXPERTS = 512, 64
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


@lru_cache(maxsize=32)
def _noise(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(MOST_TOKENS, MOST_EXPERTS, generator=generator, dtype=torch.float64)
    return -(-uniform.log()).log()  # Gumbel: the largest of log p + noise falls on e with probability p_e


@lru_cache(maxsize=64)
def shares(n_experts: int, skew: float) -> Tensor:
    """Probability of each expert as a first choice, shape (E,).

    Examples
    --------
    >>> shares(3, 1.0)  # 1, 1/2 and 1/3, made to sum to 1
    tensor([0.5455, 0.2727, 0.1818], dtype=torch.float64)
    """
    appeal_E = torch.arange(1, n_experts + 1, dtype=torch.float64) ** -skew
    return appeal_E / appeal_E.sum()


def reach(shares_E: Tensor, k: int) -> Tensor:
    """Probability that an expert is among a token's K choices, K = 1 or 2, the second from those left over.

    Examples
    --------
    >>> reach(torch.tensor([0.5, 0.25, 0.25]), 2).sum()
    tensor(2.)
    """
    if k == 1:
        return shares_E
    if k != 2:
        raise ValueError(f"k is {k}: choose 1 or 2")
    # Second after any other first choice j: p_j * p_e / (1 - p_j).
    odds_E = shares_E / (1 - shares_E)
    return shares_E * (1 + odds_E.sum() - odds_E)


@lru_cache(maxsize=256)
def choices(n_tokens: int, n_experts: int, skew: float, k: int, seed: int) -> Tensor:
    """Draw each token's K experts, shape (T, K); the same noise whatever is dragged."""
    scores_TE = shares(n_experts, skew).log() + _noise(seed)[:n_tokens, :n_experts]
    return scores_TE.topk(k, dim=1).indices


@lru_cache(maxsize=256)
def curves(n_tokens: int, n_experts: int, skew: float, k: int) -> Curves:
    """Compute both expected shares at every factor.

    Examples
    --------
    >>> round(curves(64, 8, 0.0, 1).dropped[FACTORS.index(1.0)], 3)
    0.131
    """
    overflow_C = expected_overflow(n_tokens, reach(shares(n_experts, skew), k)).sum(dim=0).tolist()
    rows, dropped, empty = n_tokens * k, [], []
    for factor in FACTORS:
        capacity = expert_capacity(n_tokens, n_experts, k, factor)
        over = overflow_C[min(capacity, n_tokens)]
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
    capacity = expert_capacity(p.n_tokens, p.n_experts, p.k, p.factor)
    ids_TK = choices(p.n_tokens, p.n_experts, p.skew, p.k, p.seed)
    kept_TK = admit(ids_TK, torch.ones(ids_TK.shape), n_experts=p.n_experts, capacity=capacity).kept_TK
    queues: list[list[int]] = [[] for _ in range(p.n_experts)]
    for token, row in enumerate(ids_TK.tolist()):
        for expert in row:
            queues[expert].append(token)
    drops_T = (~kept_TK).sum(dim=1).tolist()
    rows, places = p.n_tokens * p.k, p.n_experts * capacity
    expected = curves(p.n_tokens, p.n_experts, p.skew, p.k)
    i = FACTORS.index(_nearest(p.factor))
    return State(
        p,
        capacity,
        tuple(map(tuple, queues)),
        tuple(drops_T),
        dropped=sum(drops_T) / rows,
        empty=1 - (rows - sum(drops_T)) / places,
        expected_dropped=expected.dropped[i],
        expected_empty=expected.empty[i],
        curves=expected,
    )


def _nearest(factor: float) -> float:
    if not (math.isfinite(factor) and FACTORS[0] <= round(factor, 2) <= FACTORS[-1]):
        raise ValueError(f"factor is {factor}: choose {FACTORS[0]} to {FACTORS[-1]}")
    return min(FACTORS, key=lambda f: abs(f - factor))
