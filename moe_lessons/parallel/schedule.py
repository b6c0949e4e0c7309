"""Overlap on paper: micro-batches that share one processor and one network."""

from collections.abc import Sequence
from typing import NamedTuple

RESOURCES = ("compute", "network")


class Bar(NamedTuple):
    """One stage of one micro-batch.

    Attributes
    ----------
    micro_batch, stage : int
        The stage counts through all layers.
    resource : str
    start, end : float
    """

    micro_batch: int
    stage: int
    resource: str
    start: float
    end: float


class Schedule(NamedTuple):
    """What ran when, and when all was done.

    Attributes
    ----------
    bars : list of Bar
        In the order in which they were started.
    total : float
    """

    bars: list[Bar]
    total: float


def overlap(stages: Sequence[tuple[str, float]], n_layers: int, n_micro: int) -> Schedule:
    """Run micro-batches through layers: while one computes, the other's rows may travel.

    Of all stages that could be next, the one that can start first does; of equals, that of the micro-batch
    that is furthest behind.

    Parameters
    ----------
    stages : sequence of (str, float)
        Of one layer for one micro-batch: "compute" or "network", and how long. Attention, dispatch, experts,
        combine are compute, network, compute, network.
    n_layers : int
    n_micro : int
        Micro-batches; with 1 nothing overlaps.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError
        If a resource is unknown, a duration negative, or a number below 1.

    References
    ----------
    DeepSeek-V3, arXiv 2412.19437, sections 3.2.1 and 3.4 (two micro-batches that overlap).

    Examples
    --------
    Work that halves with the batch, as much to send as to compute: nearly twice as fast.

    >>> layer = [("compute", 1.0), ("network", 1.0)] * 2
    >>> half = [(resource, seconds / 2) for resource, seconds in layer]
    >>> overlap(layer, 10, 1).total, overlap(half, 10, 2).total
    (40.0, 20.5)
    """
    if n_layers < 1 or n_micro < 1:
        raise ValueError(f"n_layers={n_layers}, n_micro={n_micro}: give 1 or more")
    for resource, seconds in stages:
        if resource not in RESOURCES or seconds < 0:
            raise ValueError(f"stage {(resource, seconds)}: give one of {RESOURCES} and 0 or more")
    n_stages = n_layers * len(stages)
    free = dict.fromkeys(RESOURCES, 0.0)
    done, ready = [0] * n_micro, [0.0] * n_micro
    bars: list[Bar] = []
    while len(bars) < n_micro * n_stages:

        def starts(micro: int) -> tuple[float, int, int]:
            resource, _ = stages[done[micro] % len(stages)]
            return max(ready[micro], free[resource]), done[micro], micro

        start, stage, micro = min(starts(micro) for micro in range(n_micro) if done[micro] < n_stages)
        resource, seconds = stages[stage % len(stages)]
        free[resource] = ready[micro] = start + seconds
        bars.append(Bar(micro, stage, resource, start, start + seconds))
        done[micro] += 1
    return Schedule(bars, max(ready))
