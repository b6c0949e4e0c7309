"""The collapse race's state: one setting of a precomputed grid, at one step."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from statistics import median
from typing import Any

E = 8
MUS, KS = (0.0, 1.0, 2.0, 4.0), (1, 2)
STARTS = ("even", "even, tiny", "random")
SEEDS = 6
"""Seeds whose loads are kept; the effective experts are there for all sixteen."""
STEPS = tuple(range(0, 201, 10))

Matrix = list[list[float]]


@dataclass(frozen=True)
class Params:
    """What can be picked and dragged.

    Attributes
    ----------
    mu : float
        How much all tokens have in common.
    start : str
        The initial router: "even" does not see what all tokens share; "even, tiny" is the same one divided
        by 100; "random" is drawn as routers usually are.
    k, seed, step : int
    """

    mu: float = 4.0
    start: str = "even"
    k: int = 1
    seed: int = 0
    step: int = 0


@dataclass(frozen=True)
class State:
    """Everything that one frame shows.

    Attributes
    ----------
    shares_E, first_E : list of float
        Load shares now (mean over the last ten steps) and at step 0.
    effective_PS : list of list of float
        Effective experts, exp of the load's entropy, at every step of the grid and for every seed.
    place : int
        Index of the step in the grid.
    """

    params: Params
    shares_E: list[float]
    first_E: list[float]
    effective_PS: Matrix
    place: int

    @property
    def effective_S(self) -> list[float]:
        """Effective experts of all seeds at this step."""
        return self.effective_PS[self.place]

    @property
    def median(self) -> float:
        """Median of them."""
        return median(self.effective_S)


@lru_cache(maxsize=1)
def grid() -> dict[tuple[float, str, int], dict[str, Any]]:
    """The precomputed races by (mu, start, K); `benchmarks/collapse_race.py` makes the file.

    Examples
    --------
    >>> len(grid()) == len(MUS) * len(STARTS) * len(KS)
    True
    """
    text = (files("moe_lessons") / "results" / "collapse_race.json").read_text(encoding="utf-8")
    return {(cell["mu"], cell["start"], cell["k"]): cell for cell in json.loads(text)["cells"]}


def simulate(params: Params) -> State:
    """Look up one frame.

    Examples
    --------
    >>> state = simulate(Params(mu=4.0, k=1, step=200))
    >>> round(state.effective_PS[0][0]), state.median < 4
    (7, True)
    """
    cell = grid()[params.mu, params.start, params.k]
    place = STEPS.index(params.step)
    loads_PSE = cell["shares_per_mille_PSE"]
    return State(
        params,
        _shares(loads_PSE[place][params.seed]),
        _shares(loads_PSE[0][params.seed]),
        cell["effective_PS"],
        place,
    )


def _shares(per_mille_E: Sequence[int]) -> list[float]:
    return [value / sum(per_mille_E) for value in per_mille_E]
