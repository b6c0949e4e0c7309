"""What 17.audit checks: the numbers that describe a model, and eight that follow from them."""

import math
from typing import NamedTuple

ITEMS = ("total", "active", "FLOPs", "bytes", "touched", "even loss", "capacity", "all-to-all bytes")


class Numbers(NamedTuple):
    """Arguments of the answer but the last, in order."""

    shared: float
    expert: float
    embedding: float
    n_experts: int
    top_k: int
    bits: int
    batch: int
    n_tokens: int
    capacity_factor: float
    d_model: int
    ranks: int


def rules(n: Numbers) -> tuple[float, ...]:
    """The eight right numbers, in the order of ``ITEMS``: billions, GFLOP, GB, and MB at the end.

    Examples
    --------
    >>> n = Numbers(1e9, 1e8, 3e8, 8, 2, 8, 2, 10, 1.25, 4000, 2)
    >>> [round(number, 3) for number in rules(n)]
    [1.8, 1.2, 1.8, 1.8, 3.5, 2.0, 4.0, 0.16]
    """
    total, active = (n.shared + n.n_experts * n.expert) / 1e9, (n.shared + n.top_k * n.expert) / 1e9
    share = n.top_k / n.n_experts
    return (
        total,
        active,
        2 * (active - n.embedding / 1e9),
        total * n.bits / 8,
        n.n_experts * (1 - (1 - share) ** n.batch),
        float(n.top_k),
        float(math.ceil(n.capacity_factor * n.n_tokens * share)),
        2.0 * n.n_tokens * n.top_k * n.d_model * 2 * (n.ranks - 1) / n.ranks / 1e6,
    )
