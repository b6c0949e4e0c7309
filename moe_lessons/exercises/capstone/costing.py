"""The simulator of `moe_lessons.budget` over many designs at once, with a place for each mistake.

A grid of some thousand designs takes milliseconds in numpy, so that the best one under a *wrong* model can
be found for each mistake. Depth, heads and tokens follow from the rest, as in the answer's own `cost`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from moe_lessons.accounting.sparsity import LING
from moe_lessons.budget import means, quality, ranges
from moe_lessons.budget.price import ACTIVATION_BYTES, LAYER_S, PARTNER_S
from moe_lessons.budget.shape import CACHE_BYTES, HEAD, LAYOUTS, VOCAB, Design, usual

NAMES = ("flops", "tokens", "batch", "context", "devices", "memory", "bandwidth", "peak", "link", "seconds")
"""Arguments of an answer, in order: those of a budget."""
Shape = tuple[int, int, int, int, int, str]
"""d_model, n_experts, top_k, d_expert, bits, layout."""
FEW, NARROW = 16, 2048
"""Experts and width to which some keep."""


class Grid(NamedTuple):
    """Designs, a column each; ``layout`` holds places in ``LAYOUTS``."""

    d: np.ndarray
    e: np.ndarray
    k: np.ndarray
    f: np.ndarray
    bits: np.ndarray
    layout: np.ndarray

    def at(self, place: int) -> Shape:
        """One of them as plain numbers."""
        d, e, k, f, bits, layout = (int(column[place]) for column in self)
        return d, e, k, f, bits, LAYOUTS[layout]


class Costs(NamedTuple):
    """Of each design: nats a token, bytes on a device, seconds of a step."""

    loss: np.ndarray
    memory: np.ndarray
    seconds: np.ndarray


@dataclass(frozen=True)
class Wrong:
    """What a mistaken model leaves out or takes for another thing; by default nothing."""

    active_in_memory: bool = False
    cache_in_memory: bool = True
    time: bool = True
    one_user: bool = False
    exchange: bool = True
    all_compute: bool = False
    leverage: bool = True
    text: bool = True
    dense_alone: bool = False
    memory_pooled: bool = False
    memory_shared: bool = False
    one_alone: bool = False
    full_bits: bool = False
    few_experts: bool = False
    narrow: bool = False

    @property
    def one_kind(self) -> bool:
        """Whether only one kind of designs is looked at, and these with the right costs."""
        return self.dense_alone or self.one_alone or self.full_bits or self.few_experts or self.narrow


RIGHT = Wrong()


@lru_cache(maxsize=8)
def grid(devices: int, all_bits: tuple[int, ...] = (8, 4)) -> Grid:
    """Every design that is looked at: finer in width than the package's first round, without its second.

    Examples
    --------
    >>> len(grid(1).d) > 2000
    True
    """
    widths = range(1024, 8193, 256)
    shapes = [(d, 1, 1, d * half // 2) for d in widths for half in range(4, 15)]
    shapes += [
        (d, e, g * half // 4, 2 * d // g)
        for d in widths
        for e in (8, 16, 32, 64, 128, 256, 512)
        for g in (2, 4, 8, 16)
        for half in (4, 5, 6, 8, 12)
        if half * g % 4 == 0 and g * half // 2 <= e <= 32 * g * half
    ]
    layouts = range(len(LAYOUTS)) if devices > 1 else (0,)
    rows = [(*shape, bits, layout) for shape in shapes for bits in all_bits for layout in layouts]
    return Grid(*np.array(rows, dtype=np.int64).T)


def one(shape: Shape) -> Grid:
    """A single design as a grid.

    Examples
    --------
    >>> one((2048, 64, 4, 512, 8, "all")).layout
    array([2])
    """
    *numbers, layout = shape
    return Grid(*(np.array([n], dtype=np.int64) for n in (*numbers, LAYOUTS.index(layout))))


def costs(designs: Grid, b: Mapping[str, float], wrong: Wrong = RIGHT) -> Costs:
    """Loss, bytes and seconds of each design; a mistake changes one of the steps.

    Examples
    --------
    >>> budget = {name: getattr(means.LAB, name) for name in NAMES}
    >>> cost = costs(one((2048, 256, 6, 768, 8, "one")), budget)
    >>> round(float(cost.loss[0]), 3), f"{float(cost.memory[0]) / 1e9:.1f} GB"
    (2.177, '22.1 GB')
    """
    d, e, k, f = (column.astype(float) for column in designs[:4])
    n = np.where(designs.layout == 0, 1.0, float(b["devices"]))
    apart = np.where(designs.layout == 2, n, 1.0)
    wide = designs.d // HEAD
    layers, kv = np.maximum(8, wide), np.maximum(1, wide // 4)
    expert, router = 3 * d * f, np.where(e > 1, d * e, 0.0)
    rest = layers * (2 * d * (wide + kv) * HEAD + router) + VOCAB * d
    active, total = rest + layers * k * expert, rest + VOCAB * d + layers * e * expert
    batch = 1.0 if wrong.one_user else float(b["batch"])
    touched = e * (1 - (1 - k / e) ** batch)
    stored = np.where(designs.bits == 16, 16.0, np.where(designs.bits == 8, 8.5, 4.5)) / 8
    per_user = 2 * layers * kv * HEAD * CACHE_BYTES * float(b["context"]) / n
    bank = layers * expert / n
    weights = (rest + VOCAB * d) / apart + bank * (k if wrong.active_in_memory else e)
    memory = weights * stored + (per_user * float(b["batch"]) if wrong.cache_in_memory else 0.0)
    reading = (rest / apart + bank * touched) * stored + per_user * batch
    memory = memory / float(b["devices"]) if wrong.memory_pooled else memory
    memory = memory * float(b["devices"]) if wrong.memory_shared else memory
    row, away = d * ACTIVATION_BYTES, (n - 1) / n
    link = float(b["link"]) or 1.0
    experts = 2 * (PARTNER_S * (n - 1) + batch / n * k * row * away / link)
    sums = 2 * (2 * PARTNER_S * (n - 1) + 2 * away * batch * row / link)
    exchange = np.where(designs.layout == 1, experts, np.where(designs.layout == 2, sums, 0.0))
    seconds = np.maximum(reading / float(b["bandwidth"]), 2 * active * batch / n / float(b["peak"]))
    seconds = seconds + layers * (LAYER_S + (exchange if wrong.exchange else 0.0))
    loss = _loss(d, e, k, f, active, active - layers * router, total, designs.bits, b, wrong)
    return Costs(loss, memory, seconds if wrong.time else 0 * seconds)


def _loss(
    d: np.ndarray,
    e: np.ndarray,
    k: np.ndarray,
    f: np.ndarray,
    active: np.ndarray,
    size: np.ndarray,
    total: np.ndarray,
    bits: np.ndarray,
    b: Mapping[str, float],
    wrong: Wrong,
) -> np.ndarray:
    paid = total if wrong.all_compute else active
    tokens = np.minimum(
        np.minimum(float(b["flops"]) / (6 * paid), 4 * float(b["tokens"])),
        ranges.RANGES["tokens / active parameter"].high * active,
    )
    flops = np.minimum(6 * paid * tokens, ranges.LARGEST_LEVERAGE_FLOPS)
    c, log_g = LING.constants, np.log2(2 * d / f)
    a_hat = k / e + 1 / (1 / c["start"] - 1 / c["max"])
    power = c["a"] + c["d"] * np.log10(flops) + c["gamma"] * log_g**2 + c["beta"] * log_g
    lever = np.where((e > 1) & wrong.leverage, a_hat**power, 1.0)
    repeats = np.maximum(tokens / float(b["tokens"]), 1.0) - 1
    fresh = np.minimum(tokens, float(b["tokens"])) * (
        1 + quality.REPEATS * (1 - np.exp(-repeats / quality.REPEATS))
    )
    by_text = quality.TEXT / fresh**quality.TEXT_POWER if wrong.text else 0.0
    cost = np.where(bits == 4, quality.BITS_COST[4], np.where(bits == 8, quality.BITS_COST[8], 0.0))
    return quality.FLOOR + quality.SIZE / (size * lever) ** quality.SIZE_POWER + by_text + cost


def looked_at(designs: Grid, wrong: Wrong) -> np.ndarray:
    """Whether each design is of the only kind that is looked at.

    Examples
    --------
    >>> looked_at(one((2048, 64, 4, 512, 8, "all")), Wrong(one_alone=True))
    array([False])
    """
    return (
        ((designs.e == 1) | (not wrong.dense_alone))
        & ((designs.layout == 0) | (not wrong.one_alone))
        & ((designs.bits == 16) | (not wrong.full_bits))
        & ((designs.e <= FEW) | (not wrong.few_experts))
        & ((designs.d <= NARROW) | (not wrong.narrow))
    )


def possible(designs: Grid, b: Mapping[str, float], wrong: Wrong = RIGHT) -> np.ndarray:
    """Whether each design's layout can be, and whether it is looked at.

    The shapes of the grid lie inside the ranges of the laws, so that these need no look.
    """
    n, kv = int(b["devices"]), np.maximum(1, designs.d // HEAD // 4)
    experts = (designs.e % n == 0) & (int(b["batch"]) % n == 0)
    even = np.where(designs.layout == 1, experts, np.where(designs.layout == 2, kv % n == 0, True))
    return even & looked_at(designs, wrong)


@lru_cache(maxsize=4096)
def best(key: tuple[float, ...], wrong: Wrong = RIGHT) -> tuple[float, Shape] | None:
    """The lowest loss of the grid under a budget and a model, and whose it is; None where nothing fits.

    Examples
    --------
    >>> loss, shape = best(tuple(getattr(means.LAB, name) for name in NAMES))
    >>> round(loss, 2), shape[1] > 1
    (2.16, True)
    """
    b = dict(zip(NAMES, key, strict=True))
    designs = grid(int(b["devices"]), all_bits=(16,) if wrong.full_bits else (8, 4))
    cost = costs(designs, b, wrong)
    fits = possible(designs, b, wrong) & (cost.memory <= b["memory"]) & (cost.seconds <= b["seconds"])
    if not fits.any():
        return None
    place = int(np.where(fits, cost.loss, np.inf).argmin())
    return float(cost.loss[place]), designs.at(place)


def budget_of(args: Mapping[str, Any]) -> means.Budget:
    """A case's arguments as the package's budget."""
    return means.Budget("drawn", **{name: args[name] for name in NAMES})


def design_of(shape: Sequence[Any]) -> Design:
    """A returned shape as the package's design, not yet trained."""
    d, e, k, f, bits, layout = shape
    return usual(int(d), int(e), int(k), int(f), bits=int(bits), layout=str(layout))
