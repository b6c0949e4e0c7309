"""What twice as much of a resource buys: drawn budgets and designs, with a place for each mistake."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.budget import KINDS
from moe_lessons.exercises.capstone.costing import NAMES, Grid, costs, grid, possible
from moe_lessons.exercises.spec import Case, Plain

RESOURCES = ("compute", "text", "memory", "time")
MARGIN = 0.004
"""Nats by which the first resource is ahead of the second, and what it must buy at least is twice that."""
N_DESIGNS = 600
WINS = {
    "small lab": "compute",
    "busy server": "compute",
    "little text": "text",
    "long documents": "memory",
    "phone": "memory",
    "eight-GPU server": "time",
}
"""Six kinds of budget, and what binds in each more often than not: drawn until it does."""


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Some hundred designs for each of six budgets, with what the simulator says of them."""
    return [_case(rng, kind, resource) for kind, resource in WINS.items()]


def _case(rng: np.random.Generator, kind: str, resource: str) -> Case:
    while True:
        base = KINDS[kind]
        moved = {
            name: getattr(base, name) * float(rng.uniform(0.85, 1.2))
            for name in ("flops", "tokens", "memory", "bandwidth", "seconds")
        }
        budget = replace(base, **moved)
        b = {name: getattr(budget, name) for name in NAMES}
        every = grid(budget.devices)
        cost = costs(every, b)
        near = possible(every, b) & (cost.memory <= 4 * b["memory"]) & (cost.seconds <= 4 * b["seconds"])
        places = rng.permutation(np.flatnonzero(near))[:N_DESIGNS]
        designs = Grid(*(column[places] for column in every))
        then = [costs(designs, {**b, name: 2 * b[name]}).loss for name in ("flops", "tokens")]
        now = costs(designs, b)
        args: dict[str, Plain] = {
            "loss_N": now.loss,
            "loss_compute_N": then[0],
            "loss_text_N": then[1],
            "memory_N": now.memory,
            "seconds_N": now.seconds,
            "memory": float(b["memory"]),
            "seconds": float(b["seconds"]),
        }
        gains = sorted(gains_of(*_tensors(args)).items(), key=lambda item: -item[1])
        at = int(
            np.where((now.memory <= b["memory"]) & (now.seconds <= b["seconds"]), now.loss, np.inf).argmin()
        )
        kept = float(now.loss[at] - then[0][at])
        if resource == "compute" and gains[0][1] < 1.01 * kept:
            continue  # today's design is still the best one with twice the compute
        if gains[0][0] == resource and gains[0][1] > max(2 * MARGIN, gains[1][1] + MARGIN):
            return Case(kind, args)


def _tensors(args: dict[str, Any]) -> list[Any]:
    return [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args.values()]


def gains_of(
    loss_N: Tensor,
    loss_compute_N: Tensor,
    loss_text_N: Tensor,
    memory_N: Tensor,
    seconds_N: Tensor,
    memory: float,
    seconds: float,
    *,
    factor: float = 2.0,
    look_at_memory: bool = True,
    look_at_time: bool = True,
    keep_other: bool = True,
    together: bool = False,
    either: bool = False,
    best: Callable[[Tensor, Tensor], float] = lambda losses_N, fits_N: float(losses_N[fits_N].min()),
    one_sided: str = "",
) -> dict[str, float]:
    """By how much the best loss falls for each resource; what mistakes change comes by name.

    ``one_sided`` is memory or time where with this one alone the other limit is dropped, or doubled as well.
    """

    def fits(more_memory: float = 1.0, more_time: float = 1.0) -> Tensor:
        held_N = (memory_N <= more_memory * memory) | (not look_at_memory)
        fast_N = (seconds_N <= more_time * seconds) | (not look_at_time)
        if not keep_other and more_memory > 1 and one_sided != "time":
            fast_N = torch.ones_like(fast_N)
        if not keep_other and more_time > 1 and one_sided != "memory":
            held_N = torch.ones_like(held_N)
        return held_N | fast_N if either else held_N & fast_N

    now_N = fits()
    now = best(loss_N, now_N)
    other = {name: factor if together and one_sided in ("", name) else 1.0 for name in ("memory", "time")}
    return {
        "compute": now - best(loss_compute_N, now_N),
        "text": now - best(loss_text_N, now_N),
        "memory": now - best(loss_N, fits(factor, other["memory"])),
        "time": now - best(loss_N, fits(other["time"], factor)),
    }
