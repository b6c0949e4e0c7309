"""Dense models that a MoE model can be compared with, and where two loss curves cross."""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from moe_lessons.config import TrainConfig

MOE, EQUAL_ACTIVE, EQUAL_TOTAL = "moe", "dense_equal_active", "dense_equal_total"


def variants(config: TrainConfig) -> dict[str, TrainConfig]:
    """Return a MoE run and two dense ones that differ in the width of the feed-forward networks only.

    One has the parameters that a token meets, K F wide, the other all of them, E F wide. A dense layer is
    one expert that takes every token, so all else is the same code; it needs no loss for its router.

    Examples
    --------
    >>> [run.model.d_expert for run in variants(TrainConfig()).values()]  # F = 128, K = 2, E = 8
    [128, 256, 1024]
    """

    def dense(d_hidden: int) -> TrainConfig:
        one = {"n_experts": 1, "top_k": 1, "d_expert": d_hidden}
        return config.override(**one, balancing="none", z_loss_weight=0.0)

    model = config.model
    return {
        MOE: config,
        EQUAL_ACTIVE: dense(model.top_k * model.d_expert),
        EQUAL_TOTAL: dense(model.n_experts * model.d_expert),
    }


def crossings(
    x_a: Sequence[float], y_a: Sequence[float], x_b: Sequence[float], y_b: Sequence[float]
) -> list[float]:
    """Return where two curves of straight pieces cross, within the stretch of x that both cover.

    Parameters
    ----------
    x_a, y_a, x_b, y_b : sequence of float
        Points of the two curves, x rising.

    Examples
    --------
    >>> crossings([0, 2], [3.0, 1.0], [0, 4], [2.0, 2.0])  # 3 - x = 2
    [1.0]
    >>> crossings([0, 2], [3.0, 2.5], [0, 4], [2.0, 2.0])
    []
    """
    start, end = max(x_a[0], x_b[0]), min(x_a[-1], x_b[-1])
    places = sorted({start, end, *(x for x in (*x_a, *x_b) if start < x < end)})
    gaps = [height(x_a, y_a, x) - height(x_b, y_b, x) for x in places]
    found = []
    last = None  # the last place where one curve was clearly above
    for x, gap in zip(places, gaps, strict=True):
        if gap == 0:
            continue
        if last is not None and (gap > 0) != (last[1] > 0):
            found.append(last[0] + (x - last[0]) * last[1] / (last[1] - gap))
        last = x, gap
    return found


def height(x: Sequence[float], y: Sequence[float], at: float) -> float:
    """Read a curve of straight pieces at one place between its ends.

    Examples
    --------
    >>> height([0, 2], [3.0, 1.0], 0.5)
    2.5
    """
    for (x_0, x_1), (y_0, y_1) in zip(pairwise(x), pairwise(y), strict=True):
        if x_0 <= at <= x_1:
            return y_0 + (y_1 - y_0) * (at - x_0) / (x_1 - x_0)
    raise ValueError(f"at={at}: choose a place from {x[0]} to {x[-1]}")


def compare(a: dict[str, Any], b: dict[str, Any], axis: str) -> dict[str, Any]:
    """Say where curve b of two variants falls below curve a, or rises above it, along one axis.

    Parameters
    ----------
    a, b : dict
        ``x[axis]`` has one place for each evaluation, ``validation_bits_per_byte[seed]`` the losses there.
    axis : str

    Returns
    -------
    dict
        ``crossings``, of the means over seeds. ``at`` is the last place that both reach, ``difference``
        b's loss minus a's there, seed by seed: below zero, b is better. Without a common stretch of the axis
        there are none.
    """
    x_a, x_b = a["x"][axis], b["x"][axis]
    curves_a, curves_b = (torch.tensor(one["validation_bits_per_byte"]) for one in (a, b))
    end = min(x_a[-1], x_b[-1])
    if end < max(x_a[0], x_b[0]):
        return {"axis": axis, "crossings": [], "at": None, "difference": []}
    return {
        "axis": axis,
        "crossings": crossings(x_a, curves_a.mean(0).tolist(), x_b, curves_b.mean(0).tolist()),
        "at": end,
        "difference": [
            round(height(x_b, y_b, end) - height(x_a, y_a, end), 4)
            for y_a, y_b in zip(curves_a.tolist(), curves_b.tolist(), strict=True)
        ],
    }


def settings(config: TrainConfig) -> dict[str, Any]:
    """Return what was trained, without what only says where and how often it was written down."""
    left_out = ("name", "device", "log_every", "checkpoint_every")
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in left_out}
