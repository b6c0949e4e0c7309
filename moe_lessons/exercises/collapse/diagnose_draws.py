"""Load histories for the exercise 04.diagnose: each kind is drawn until its name is beyond doubt."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POINTS = 24
"""Rows of a history; a multiple of four, so that the quarters are equal."""


def normal(raw_NE: Array) -> Array:
    """Scale every row to sum to 1."""
    return raw_NE / raw_NE.sum(axis=1, keepdims=True)


def effective(shares: Array) -> Array:
    """Exponential of the entropy along the last axis."""
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.exp(-(shares * logs).sum(axis=-1))


def _noise(rng: np.random.Generator, n_experts: int) -> Array:
    return rng.uniform(0.8, 1.25, (POINTS, n_experts))


def _towards(even_N: Array, target_E: Array, rng: np.random.Generator) -> Array:
    """Rows between an even load (1) and a target (0), with a little noise."""
    base_NE = even_N[:, None] / len(target_E) + (1 - even_N[:, None]) * target_E
    return normal(base_NE * _noise(rng, len(target_E)))


def _few(n_experts: int, in_use: int, rng: np.random.Generator) -> Array:
    """Shares of a load that `in_use` experts have to themselves."""
    target_E = np.zeros(n_experts)
    target_E[rng.permutation(n_experts)[:in_use]] = 1 / in_use
    return target_E


def even(rng: np.random.Generator, n_experts: int) -> Array:
    """Nothing is wrong."""
    return normal(_noise(rng, n_experts))


def spike(rng: np.random.Generator, n_experts: int) -> Array:
    """Nothing is wrong but the last row, a batch of a kind of its own."""
    shares_NE = even(rng, n_experts)
    shares_NE[-1] = 0.04 / (n_experts - 1)
    shares_NE[-1, rng.integers(n_experts)] = 0.96
    return shares_NE


def resting(rng: np.random.Generator, n_experts: int) -> Array:
    """One expert has no row now and then, at the end too, and is used in between."""
    shares_NE = even(rng, n_experts)
    shares_NE[1::2, rng.integers(n_experts)] = 0
    return normal(shares_NE)


def quiet(rng: np.random.Generator, n_experts: int) -> Array:
    """One expert has little, always."""
    shares_NE = even(rng, n_experts)
    shares_NE[:, rng.integers(n_experts)] *= 0.005
    return normal(shares_NE)


def recovered(rng: np.random.Generator, n_experts: int) -> Array:
    """It began with a collapse that is over."""
    return _towards(np.repeat([0.02, 0.05, 0.7, 0.9], POINTS // 4), _few(n_experts, 1, rng), rng)


def dead(rng: np.random.Generator, n_experts: int) -> Array:
    """One expert stops soon after the start."""
    shares_NE = even(rng, n_experts)
    shares_NE[POINTS // 8 :, rng.integers(n_experts)] = 0
    return normal(shares_NE)


def leading(rng: np.random.Generator, n_experts: int) -> Array:
    """One is dead, another far ahead: E / (1 + CV²) is below E/2, the exponential of the entropy above."""
    target_E = np.full(n_experts, 0.52 / (n_experts - 2))
    ahead, idle = rng.permutation(n_experts)[:2]
    target_E[ahead], target_E[idle] = 0.48, 0
    return normal(target_E * _noise(rng, n_experts) ** 0.3)


def settled(rng: np.random.Generator, n_experts: int) -> Array:
    """It fell in the beginning and has been steady since; nobody is dead."""
    return _towards(
        np.repeat([0.95, 0.40, 0.45, 0.50], POINTS // 4), _few(n_experts, n_experts // 3, rng), rng
    )


def collapsed(rng: np.random.Generator, n_experts: int) -> Array:
    """One expert has everything."""
    shares_NE = _towards(np.repeat([0.7, 0.1, 0.02, 0.01], POINTS // 4), _few(n_experts, 1, rng), rng)
    dying = np.argsort(shares_NE[-1])[: n_experts // 2]
    shares_NE[POINTS // 2 :, dying] = 0
    return normal(shares_NE)


def shared(rng: np.random.Generator, n_experts: int) -> Array:
    """Collapsed, but two experts share it evenly: neither has half."""
    target_E = _few(n_experts, 2, rng)
    shares_NE = _towards(np.repeat([0.6, 0.3, 0.15, 0.12], POINTS // 4), target_E, rng)
    two = np.flatnonzero(target_E)
    shares_NE[:, two] = shares_NE[:, two].mean(axis=1, keepdims=True)
    return normal(shares_NE)


def late(rng: np.random.Generator, n_experts: int) -> Array:
    """Even for most of the run, collapsed at its end."""
    return _towards(np.repeat([0.97, 0.97, 0.95, 0.03], POINTS // 4), _few(n_experts, 1, rng), rng)


def oscillating(rng: np.random.Generator, n_experts: int) -> Array:
    """The experts take turns: one has nearly everything, the one before it nothing. One late row is even."""
    shares_NE = 0.08 * even(rng, n_experts)
    turn_N = rng.permutation(n_experts)[np.arange(POINTS) % n_experts]
    shares_NE[np.arange(POINTS), turn_N] += 0.92
    shares_NE[np.arange(1, POINTS), turn_N[:-1]] = 0
    shares_NE[-3] = even(rng, n_experts)[-3]
    return normal(shares_NE)


def calmed(rng: np.random.Generator, n_experts: int) -> Array:
    """The experts took turns for most of the run; that is over."""
    shares_NE = oscillating(rng, n_experts)
    shares_NE[-POINTS // 4 :] = even(rng, n_experts)[-POINTS // 4 :]
    return shares_NE


def falling(rng: np.random.Generator, n_experts: int) -> Array:
    """Fewer effective experts from quarter to quarter, still more than half of them."""
    return _towards(np.linspace(1, 0.34, POINTS), _few(n_experts, n_experts // 3, rng), rng)


def drifting(rng: np.random.Generator, n_experts: int) -> Array:
    """A little less every quarter, too little to call it a collapse."""
    return _towards(np.linspace(0.95, 0.7, POINTS), _few(n_experts, n_experts // 2, rng), rng)


def breaks(rng: np.random.Generator, n_experts: int) -> Array:
    """More experts rest in each row from quarter to quarter, in turn: every quarter's mean is even."""
    shares_NE = even(rng, n_experts)
    order_E = rng.permutation(n_experts)
    for quarter in range(1, 4):
        for row in range(POINTS // 4):
            resting = np.arange(row * quarter, (row + 1) * quarter) % n_experts
            shares_NE[quarter * POINTS // 4 + row, order_E[resting]] = 0
    return normal(shares_NE)


def starving(rng: np.random.Generator, n_experts: int) -> Array:
    """In each quarter one expert fewer is used at all: what a collapse looks like on its way."""
    shares_NE = normal(_noise(rng, n_experts) ** 0.3)
    order_E = rng.permutation(n_experts)
    for quarter in range(1, 4):
        shares_NE[quarter * POINTS // 4 :, order_E[:quarter]] = 0
    return normal(shares_NE)


def never(rng: np.random.Generator, n_experts: int) -> Array:
    """Collapsed on two in five, and some experts were never used at all."""
    order_E, many, used = rng.permutation(n_experts), round(0.42 * n_experts), round(0.7 * n_experts)
    target_E = np.zeros(n_experts)
    target_E[order_E[:many]] = 0.97 / many
    target_E[order_E[many:used]] = 0.03 / (used - many)
    return normal(target_E * _noise(rng, n_experts) ** 0.3)


KINDS: dict[str, tuple[Callable[[np.random.Generator, int], Array], str]] = {
    "even": (even, "healthy"),
    "spike": (spike, "healthy"),
    "resting": (resting, "healthy"),
    "quiet": (quiet, "healthy"),
    "recovered": (recovered, "healthy"),
    "calmed": (calmed, "healthy"),
    "settled": (settled, "healthy"),
    "drifting": (drifting, "healthy"),
    "dead": (dead, "dead expert"),
    "leading": (leading, "dead expert"),
    "collapsed": (collapsed, "collapsed"),
    "shared": (shared, "collapsed"),
    "late": (late, "collapsed"),
    "oscillating": (oscillating, "oscillating"),
    "falling": (falling, "collapsing"),
    "breaks": (breaks, "healthy"),
    "starving": (starving, "collapsing"),
    "never": (never, "collapsed"),
}


def effective_by_quarter(shares_NE: Array) -> Array:
    """Effective experts of the mean shares of each quarter."""
    return effective(shares_NE.reshape(4, -1, shares_NE.shape[1]).mean(axis=1))


def in_doubt(shares_NE: Array) -> bool:
    """Whether a number lies so near its limit that rounding or another reading could decide."""
    n_4, half = effective_by_quarter(shares_NE), shares_NE.shape[1] / 2
    typical = effective(shares_NE[-POINTS // 4 :]).mean()
    near_half = min(abs(n_4[3] - half), abs(typical - half)) < 0.25
    steps = -np.diff(n_4)
    fell = n_4[0] - n_4[3]
    # A fall matters only where the last quarter is not collapsed already.
    unclear_fall = n_4[3] > half and (steps > -0.02).all() and (abs(fell - 1) < 0.15 or steps.min() < 0.02)
    return bool(near_half or (unclear_fall and fell > 0.85))


def draw_history(kind: str, rng: np.random.Generator, n_experts: int) -> Array:
    """Draw a history of a kind, again and again until nothing about it is in doubt."""
    make = KINDS[kind][0]
    for _ in range(1000):
        shares_NE = make(rng, n_experts)
        # Noise can hide a small fall; then a drift would be no test of who takes any fall for a collapse.
        hidden = kind == "drifting" and np.diff(effective_by_quarter(shares_NE)).max() > -0.02
        if not hidden and not in_doubt(shares_NE):
            return shares_NE
    raise AssertionError(f"{kind} with {n_experts} experts is always in doubt")
