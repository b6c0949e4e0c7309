"""The balancing race's state: four lanes of a precomputed grid, at one step."""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

E = 8
ALPHAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
RATES = (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
SEEDS = 3
"""Seeds whose loads are kept; errors and MaxVio are means over all sixteen."""
EVERY, STEPS = 20, 600
LANES = ("no balancing", "auxiliary loss", "selection bias", "expert choice")


@dataclass(frozen=True)
class Params:
    """What can be picked and dragged.

    Attributes
    ----------
    alpha : float
        Weight of the load-balancing loss, one of ``ALPHAS``.
    rate : float
        Step of the bias, one of ``RATES``.
    step : int
        A multiple of ``EVERY``, from 0 to ``STEPS - EVERY``; a frame stands for the steps from there on.
    seed : int
    """

    alpha: float = 1.0
    rate: float = 0.001
    step: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Lane:
    """One lane at one step.

    Attributes
    ----------
    name : str
    load_E : list of float
        Load shares of the chosen seed in the frame's last batch.
    vio, error : float
        MaxVio and mean squared error, means over all seeds and the frame's steps.
    """

    name: str
    load_E: list[float]
    vio: float
    error: float


@dataclass(frozen=True)
class State:
    """Everything that one frame shows.

    Attributes
    ----------
    lanes : tuple of Lane
        No balancing, auxiliary loss, selection bias, expert choice.
    loss_curve, bias_curve : list of (float, float)
        MaxVio and error at every setting of the two knobs, at this step.
    """

    params: Params
    lanes: tuple[Lane, ...]
    loss_curve: list[tuple[float, float]]
    bias_curve: list[tuple[float, float]]

    def cost(self, lane: int) -> float:
        """Error of a lane minus that of the lane without balancing."""
        return self.lanes[lane].error - self.lanes[0].error


@lru_cache(maxsize=1)
def grid() -> dict[str, Any]:
    """The precomputed lanes; `benchmarks/routing_zoo.py` makes the file.

    Examples
    --------
    >>> len(grid()) == 2 + len(ALPHAS) + len(RATES)
    True
    """
    text = (files("moe_lessons") / "results" / "balancing_race.json").read_text(encoding="utf-8")
    lanes: dict[str, Any] = json.loads(text)["lanes"]
    return lanes


def simulate(params: Params) -> State:
    """Look up one frame.

    Examples
    --------
    >>> state = simulate(Params(step=580))
    >>> [lane.name for lane in state.lanes][3], state.lanes[3].vio
    ('expert choice', 0.0)
    """
    keys = ("none", f"loss {params.alpha:g}", f"bias {params.rate:g}", "choice")
    frame = params.step // EVERY
    lanes = tuple(
        Lane(name, _shares(grid()[key]["load"][frame][params.seed]), *_place(key, frame))
        for name, key in zip(LANES, keys, strict=True)
    )
    losses = [_place(f"loss {alpha:g}", frame) for alpha in ALPHAS]
    return State(params, lanes, losses, [_place(f"bias {rate:g}", frame) for rate in RATES])


def _place(key: str, frame: int) -> tuple[float, float]:
    lane = grid()[key]
    return lane["mean_vio"][frame] / 1000, lane["mean_error"][frame] / 1000


def _shares(per_mille_E: list[int]) -> list[float]:
    return [value / sum(per_mille_E) for value in per_mille_E]
