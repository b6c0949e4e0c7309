"""Scaling laws as functions, each with its constants and what it was fitted on; Krajewski's, of granularity.

No law is asked silently about what lies outside its experiments: `beyond=True` says that one knows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from moe_lessons.accounting.written import written


@dataclass(frozen=True)
class Law:
    """Where a law comes from, its constants, and the range of the experiments behind them."""

    source: str
    constants: dict[str, float]
    fitted: dict[str, tuple[float, float]]
    """Quantity to the least and the greatest value in the experiments."""

    def check(self, beyond: bool, **values: float) -> None:
        """Refuse what no formula takes, and what the experiments did not cover unless that is asked for."""
        for name, value in values.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {written(value)}: choose a positive number")
            low, high = self.fitted[name]
            if not (beyond or low * (1 - 1e-9) <= value <= high * (1 + 1e-9)):
                raise ValueError(
                    f"{name} is {written(value)}: the law was fitted from {written(low)} to {written(high)} "
                    f"({self.source}); beyond=True asks it all the same"
                )


KRAJEWSKI = Law(
    "arXiv 2402.07871, section 5 and table 1",
    {"a": 18.1, "alpha": 0.115, "b": 30.8, "beta": 0.147, "g": 2.1, "gamma": 0.58, "c": 0.47},
    {"total": (129e6, 3.7e9), "tokens": (16e9, 130e9), "granularity": (1, 16), "expansion": (64, 64)},
)


def krajewski_loss(total: float, tokens: float, granularity: float, *, beyond: bool = False) -> float:
    """Loss in nats by size, tokens and granularity: c + (g / G^gamma + a) / N^alpha + b / D^beta.

    Parameters
    ----------
    total : float
        N, non-embedding parameters, those of all experts.
    tokens : float
        D.
    granularity : float
        G = d_ff / d_expert, with d_ff = 4 d_model.
    beyond : bool
        Whether the experiments' range may be left.

    Raises
    ------
    ValueError
        If a value is not positive, or outside the range and `beyond` is not set.

    References
    ----------
    Krajewski et al., arXiv 2402.07871, eq. 9 and table 1.

    Examples
    --------
    >>> round(krajewski_loss(1e9, 50e9, 8), 3)
    3.022
    >>> krajewski_loss(1e9, 50e9, 64)
    Traceback (most recent call last):
    ValueError: granularity is 64: the law was fitted from 1 to 16 (arXiv 2402.07871, section 5 ...
    """
    KRAJEWSKI.check(beyond, total=total, tokens=tokens, granularity=granularity)
    k = KRAJEWSKI.constants
    size = (k["g"] / granularity ** k["gamma"] + k["a"]) / total ** k["alpha"]
    return k["c"] + size + k["b"] / tokens ** k["beta"]


ACTIVE_FLOPS, ROUTER_FLOPS = 6, 14
"""c_f and c_r of eq. 10: all FLOPs of the paper's table 2 come out with them (appendix E was not read)."""


def krajewski_flops(
    d_model: float, n_blocks: float, tokens: float, granularity: float, expansion: float = 64
) -> float:
    """Training FLOPs, those of the router included: (12 d^2 c_f + d E G c_r) D n.

    References
    ----------
    Krajewski et al., arXiv 2402.07871, eq. 10.

    Examples
    --------
    >>> f"{krajewski_flops(64 * 12.67, 12.67, 4.37e9, 8):.3g}"  # table 2 gives 2.95e+18
    '2.94e+18'
    """
    per_block = 12 * d_model**2 * ACTIVE_FLOPS + d_model * expansion * granularity * ROUTER_FLOPS
    return per_block * tokens * n_blocks


class Optimum(NamedTuple):
    """The best a budget buys by `krajewski_loss`: granularity, parameters (active, all), tokens, loss."""

    granularity: int
    active: float
    total: float
    tokens: float
    loss: float


def compute_optimal(
    flops: float, granularities: Sequence[int], *, expansion: float = 64, beyond: bool = False
) -> Optimum:
    """Find the granularity, size and number of tokens with the lowest loss at a number of training FLOPs.

    As in the paper d_model = 64 n for n blocks, so that n alone decides a model's size: 12 d^2 n active
    parameters, (8 E + 4) d^2 n in all. Tokens follow from the budget.

    Parameters
    ----------
    flops : float
    granularities : sequence of int
        Those to choose among.
    expansion : float
        E.
    beyond : bool
        As in `krajewski_loss`; the optimum must lie in the range as well.

    Raises
    ------
    ValueError
        If there is nothing to choose, or the optimum lies outside the range and `beyond` is not set.

    References
    ----------
    Krajewski et al., arXiv 2402.07871, eq. 9 and 10, section 6.

    Examples
    --------
    >>> best = compute_optimal(6.46e21, (1, 8, 16, 32, 64), beyond=True)  # table 2: G = 32 and 7 billion
    >>> best.granularity, f"{best.active:.2g}", round(best.loss, 2)
    (32, '7.1e+09', 2.06)
    """
    if not granularities:
        raise ValueError("granularities is empty: give at least one")
    found = min((_best_size(flops, g, expansion) for g in granularities), key=lambda best: best.loss)
    values = {"total": found.total, "tokens": found.tokens, "granularity": found.granularity}
    KRAJEWSKI.check(beyond, **values, expansion=expansion)
    return found


def _best_size(flops: float, granularity: int, expansion: float) -> Optimum:
    """Search the number of blocks: the loss has one minimum along its logarithm."""

    def at(log_n: float) -> Optimum:
        n = math.exp(log_n)
        tokens = flops / krajewski_flops(64 * n, n, 1.0, granularity, expansion)
        total = (8 * expansion + 4) * (64 * n) ** 2 * n
        loss = krajewski_loss(total, tokens, granularity, beyond=True)
        return Optimum(granularity, 12 * (64 * n) ** 2 * n, total, tokens, loss)

    low, high, golden = math.log(0.5), math.log(5000), (math.sqrt(5) - 1) / 2
    for _ in range(70):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if at(left).loss < at(right).loss else (left, high)
    return at((low + high) / 2)
