"""How fine?: errors of models with experts cut ever finer, from a grid that was trained beforehand."""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from statistics import fmean, stdev

AT_ONCE = (1, 2, 4, 8)
GRAINS = (1, 2, 4, 8)
RATES = (0.003, 0.01, 0.03)
EXPERTS, UNITS, D_MODEL = 8, 16, 40
"""Before the cut: experts, of which a token takes one, hidden units of each, and numbers of a token."""
T_95 = 2.131
"""Student's t for 16 seeds, 95 %."""


@dataclass(frozen=True)
class Params:
    """What can be picked.

    Attributes
    ----------
    at_once : int
        Skills that a token needs, one of ``AT_ONCE``.
    granularity : int
        The cut that is looked at, one of ``GRAINS``.
    rate : float
        Learning rate for all, one of ``RATES``.
    best : bool
        Whether each granularity has the best of the three rates instead.
    """

    at_once: int = 1
    granularity: int = 8
    rate: float = 0.003
    best: bool = False


@dataclass(frozen=True)
class Column:
    """One granularity: errors by seed, their mean, half of its 95 % interval, and the rate behind them."""

    granularity: int
    errors: tuple[float, ...]
    mean: float
    half: float
    rate: float


@dataclass(frozen=True)
class State:
    """Everything that one frame shows.

    Attributes
    ----------
    columns : tuple of Column
        One for each of ``GRAINS``.
    experts, chosen, units : int
        Of the cut that is looked at: experts, those that a token takes, and hidden units of each.
    choices_bits : float
        Base-2 logarithm of the number of sets that a token can have.
    router_share : float
        The router's part of the multiply-adds of a token (experts of two matrices).
    """

    params: Params
    columns: tuple[Column, ...]
    experts: int
    chosen: int
    units: int
    choices_bits: float
    router_share: float

    @property
    def lowest(self) -> Column:
        """The granularity with the lowest mean error."""
        return min(self.columns, key=lambda column: column.mean)

    def wins(self, granularity: int) -> int:
        """In how many seeds this cut has a lower error than no cut; the seeds share world and tokens."""
        cut = self.columns[GRAINS.index(granularity)].errors
        return sum(fine < whole for fine, whole in zip(cut, self.columns[0].errors, strict=True))


@lru_cache(maxsize=1)
def grid() -> dict[tuple[int, int, float], tuple[float, ...]]:
    """Errors by skills, granularity and rate; `benchmarks/granularity.py` makes the file.

    Examples
    --------
    >>> len(grid()) == len(AT_ONCE) * len(GRAINS) * len(RATES)
    True
    """
    text = (files("moe_lessons") / "results" / "granularity.json").read_text(encoding="utf-8")
    rows = json.loads(text)["grid"]["rows"]
    return {
        (row["at_once"], row["granularity"], row["rate"]): tuple(e / 10_000 for e in row["errors"])
        for row in rows
    }


def column(at_once: int, granularity: int, rate: float) -> Column:
    """Look up one cell of the grid.

    Examples
    --------
    >>> len(column(1, 8, 0.01).errors)
    16
    """
    errors = grid()[at_once, granularity, rate]
    return Column(granularity, errors, fmean(errors), T_95 * stdev(errors) / math.sqrt(len(errors)), rate)


def simulate(params: Params) -> State:
    """Look up one frame.

    Examples
    --------
    >>> simulate(Params(granularity=4)).experts, simulate(Params(best=True)).lowest.granularity
    (32, 1)
    """
    columns = []
    for granularity in GRAINS:
        rates = RATES if params.best else (params.rate,)
        tried = [column(params.at_once, granularity, rate) for rate in rates]
        columns.append(min(tried, key=lambda one: one.mean))
    g = params.granularity
    router, experts = D_MODEL * EXPERTS * g, (D_MODEL + UNITS) * UNITS
    return State(
        params,
        tuple(columns),
        EXPERTS * g,
        g,
        UNITS // g,
        math.log2(math.comb(EXPERTS * g, g)),
        router / (router + experts),
    )
