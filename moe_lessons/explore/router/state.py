"""The router playground's state: tokens in a plane, six router vectors, and who gets whom.

A logit is an inner product, so it grows with the router vector's norm where it is positive and sinks where
it is negative. Everything on the page follows from that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

E, T = 6, 160
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Params:
    """What can be dragged; angles in degrees, counter-clockwise from the right."""

    angles: tuple[float, ...] = (8, 66, 128, 187, 243, 306)
    norms: tuple[float, ...] = (1.0,) * E
    k: int = 1
    temperature: float = 1.0
    token: int = 115
    expert: int = 0
    seed: int = 3


@dataclass(frozen=True)
class Wedge:
    """A sector of the plane, in degrees, all of whose tokens choose the same experts."""

    start: float
    stop: float
    experts: frozenset[int]


@dataclass(frozen=True)
class Routed:
    """What the router's vectors and K decide; temperature has no part in it."""

    logits_TE: Array
    topk_ids_TK: NDArray[np.intp]
    load_E: Array
    wedges: tuple[Wedge, ...]


@dataclass(frozen=True)
class State:
    """Everything that one frame shows."""

    params: Params
    tokens_T2: Array
    routed: Routed
    load_before_E: Array
    probs_E: Array
    chosen: frozenset[int]


@lru_cache(maxsize=64)
def cloud(seed: int) -> Array:
    """Tokens in the plane, in a few loose clusters around the origin: an array of shape (T, 2).

    Examples
    --------
    >>> cloud(0).shape
    (160, 2)
    """
    rng = np.random.default_rng(seed)
    turn = rng.uniform(0, 2 * np.pi, 9)
    centres = 1.5 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    points = centres[rng.integers(0, 9, T)] + 0.55 * rng.normal(size=(T, 2))
    return np.clip(points - points.mean(0), -2.8, 2.8)


def router_vectors(angles: Sequence[float] | Array, norms: Sequence[float] | Array) -> Array:
    """Router vectors from their angles (degrees) and norms: an array of shape (E, 2).

    Examples
    --------
    >>> router_vectors([0, 90], [1, 2]).round(3) + 0.0
    array([[1., 0.],
           [0., 2.]])
    """
    turn = np.deg2rad(np.asarray(angles, dtype=float))
    return np.asarray(norms, dtype=float)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def topk(logits_TE: Array, k: int) -> NDArray[np.intp]:
    """Ids of the K largest logits of each row, largest first; of equals the smaller id.

    Examples
    --------
    >>> topk(np.array([[0.1, 0.9, 0.5]]), 2)
    array([[1, 2]])
    """
    return np.argsort(-logits_TE, axis=1, kind="stable")[:, :k]


def wedges(vectors_E2: Array, k: int) -> tuple[Wedge, ...]:
    """Cut the plane into sectors of one expert set each.

    The chosen set depends on a token's direction alone, and changes only where two logits tie, that is at
    right angles to the difference of two router vectors: the borders are exact.

    Examples
    --------
    >>> [(round(w.start), round(w.stop), set(w.experts)) for w in wedges(router_vectors([0, 180], [1, 1]), 1)]
    [(90, 270, {1}), (270, 450, {0})]
    """
    first, second = np.triu_indices(len(vectors_E2), 1)
    ties = vectors_E2[first] - vectors_E2[second]
    across = np.rad2deg(np.arctan2(ties[:, 0], -ties[:, 1]))
    cuts = np.unique(np.concatenate([across, across + 180]).round(6) % 360)
    stops = np.append(cuts[1:], cuts[0] + 360)
    middles = router_vectors((cuts + stops) / 2, np.ones(len(cuts)))
    sets = [frozenset(row.tolist()) for row in topk(middles @ vectors_E2.T, k)]
    merged: list[Wedge] = []
    for start, stop, experts in zip(cuts.tolist(), stops.tolist(), sets, strict=True):
        if merged and merged[-1].experts == experts:
            merged[-1] = replace(merged[-1], stop=stop)
        else:
            merged.append(Wedge(start, stop, experts))
    if len(merged) > 1 and merged[0].experts == merged[-1].experts:
        merged[-1] = replace(merged[-1], stop=merged.pop(0).stop + 360)
    return tuple(merged)


# Dragging the temperature or picking another token leaves all of this as it is.
@lru_cache(maxsize=256)
def route(angles: tuple[float, ...], norms: tuple[float, ...], k: int, seed: int) -> Routed:
    """Route the cloud: logits, top-K, the share of tokens that reach each expert, and the regions.

    Examples
    --------
    >>> float(route(Params().angles, Params().norms, 2, 0).load_E.sum().round(6))
    2.0
    """
    vectors = router_vectors(angles, norms)
    logits = cloud(seed) @ vectors.T
    ids = topk(logits, k)
    load = np.bincount(ids.ravel(), minlength=len(vectors)) / len(logits)
    return Routed(logits, ids, load, wedges(vectors, k))


def simulate(params: Params) -> State:
    """Compute one frame's state.

    Examples
    --------
    >>> before, after = simulate(Params(k=4)), simulate(lengthen(Params(k=4), 2.0))
    >>> bool(after.routed.load_E[0] < before.routed.load_E[0])
    True
    """
    routed = route(params.angles, params.norms, params.k, params.seed)
    start = Params()
    before = route(start.angles, start.norms, params.k, params.seed).load_E
    scaled = routed.logits_TE[params.token] / params.temperature
    exps = np.exp(scaled - scaled.max())
    chosen = frozenset(routed.topk_ids_TK[params.token].tolist())
    return State(params, cloud(params.seed), routed, before, exps / exps.sum(), chosen)


def lengthen(params: Params, norm: float) -> Params:
    """Give the chosen expert's router vector another norm.

    Examples
    --------
    >>> lengthen(Params(expert=1), 2.0).norms
    (1.0, 2.0, 1.0, 1.0, 1.0, 1.0)
    """
    return replace(params, norms=_put(params.norms, params.expert, norm))


def turn(params: Params, angle: float) -> Params:
    """Give the chosen expert's router vector another angle, in degrees.

    Examples
    --------
    >>> turn(Params(), 20).angles[0]
    20
    """
    return replace(params, angles=_put(params.angles, params.expert, angle))


def _put(values: tuple[float, ...], index: int, value: float) -> tuple[float, ...]:
    return (*values[:index], value, *values[index + 1 :])


def heat(params: Params, temperature: float) -> Params:
    """Divide the logits by another temperature before the softmax.

    Examples
    --------
    >>> heat(Params(), 2.0).temperature
    2.0
    """
    return replace(params, temperature=temperature)
