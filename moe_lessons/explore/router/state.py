"""The router playground's state: tokens in a plane, six router vectors, and who gets whom.

A logit is an inner product, so it grows with the router vector's norm where it is positive and sinks where
it is negative. Everything on the page follows from that. Plain Python: it runs where numpy does not.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from itertools import combinations

E, T = 6, 160
SEED = 3
"""Of the tokens on the page."""

Rows = tuple[tuple[float, ...], ...]
Ids = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Params:
    """What can be dragged; angles in degrees, counter-clockwise from the right."""

    angles: tuple[float, ...] = (8, 66, 128, 187, 243, 306)
    norms: tuple[float, ...] = (1.0,) * E
    k: int = 1
    temperature: float = 1.0
    token: int = 115
    expert: int = 0
    seed: int = SEED


@dataclass(frozen=True)
class Wedge:
    """A sector of the plane, in degrees, all of whose tokens choose the same experts."""

    start: float
    stop: float
    experts: frozenset[int]


@dataclass(frozen=True)
class Routed:
    """What the router's vectors and K decide; temperature has no part in it."""

    logits_TE: Rows
    topk_ids_TK: Ids
    load_E: tuple[float, ...]
    wedges: tuple[Wedge, ...]


@dataclass(frozen=True)
class State:
    """Everything that one frame shows."""

    params: Params
    tokens_T2: Rows
    routed: Routed
    load_before_E: tuple[float, ...]
    probs_E: tuple[float, ...]
    chosen: frozenset[int]


@lru_cache(maxsize=64)
def cloud(seed: int) -> Rows:
    """Tokens in the plane, in a few loose clusters around the origin: T pairs of numbers.

    Those of the page are stored, for a page has no numpy to draw them with; tests draw others.

    Examples
    --------
    >>> len(cloud(SEED)), [round(x, 3) for x in cloud(SEED)[0]]
    (160, [0.936, 0.145])
    """
    if seed == SEED:
        stored = resources.files(__package__).joinpath("cloud.json").read_text(encoding="utf-8")
        return tuple(map(tuple, json.loads(stored)))
    return drawn(seed)


def drawn(seed: int) -> Rows:
    """Draw tokens, with numpy.

    Examples
    --------
    >>> drawn(SEED) == cloud(SEED)
    True
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    turn = rng.uniform(0, 2 * np.pi, 9)
    centres = 1.5 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    points = centres[rng.integers(0, 9, T)] + 0.55 * rng.normal(size=(T, 2))
    return tuple(map(tuple, np.clip(points - points.mean(0), -2.8, 2.8).tolist()))


def router_vectors(angles: Sequence[float], norms: Sequence[float]) -> Rows:
    """Router vectors from their angles (degrees) and norms: E pairs of numbers.

    Examples
    --------
    >>> [[round(x, 3) for x in vector] for vector in router_vectors([0, 90], [1, 2])]
    [[1.0, 0.0], [0.0, 2.0]]
    """
    turns = map(math.radians, angles)
    return tuple((norm * math.cos(t), norm * math.sin(t)) for t, norm in zip(turns, norms, strict=True))


def products(rows: Rows, vectors_E2: Rows) -> Rows:
    """Inner products of every row with every vector.

    Examples
    --------
    >>> products(((1.0, 2.0),), ((3.0, 4.0), (0.0, 1.0)))
    ((11.0, 2.0),)
    """
    return tuple(tuple([x * a + y * b for a, b in vectors_E2]) for x, y in rows)


def topk(logits_TE: Rows, k: int) -> Ids:
    """Ids of the K largest logits of each row, largest first; of equals the smaller id.

    Examples
    --------
    >>> topk(((0.1, 0.9, 0.5),), 2)
    ((1, 2),)
    """
    experts = range(len(logits_TE[0]))
    if k == 1:
        return tuple((row.index(max(row)),) for row in logits_TE)
    return tuple(tuple(sorted(experts, key=row.__getitem__, reverse=True)[:k]) for row in logits_TE)


def wedges(vectors_E2: Rows, k: int) -> tuple[Wedge, ...]:
    """Cut the plane into sectors of one expert set each.

    The chosen set depends on a token's direction alone, and changes only where two logits tie, that is at
    right angles to the difference of two router vectors: the borders are exact.

    Examples
    --------
    >>> [(round(w.start), round(w.stop), set(w.experts)) for w in wedges(router_vectors([0, 180], [1, 1]), 1)]
    [(90, 270, {1}), (270, 450, {0})]
    """
    across = [math.degrees(math.atan2(a - c, d - b)) for (a, b), (c, d) in combinations(vectors_E2, 2)]
    cuts = sorted({round(angle, 6) % 360 for start in across for angle in (start, start + 180)})
    stops = [*cuts[1:], cuts[0] + 360]
    middles = router_vectors([(a + b) / 2 for a, b in zip(cuts, stops, strict=True)], [1.0] * len(cuts))
    sets = [frozenset(row) for row in topk(products(middles, vectors_E2), k)]
    merged: list[Wedge] = []
    for start, stop, experts in zip(cuts, stops, sets, strict=True):
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
    >>> round(sum(route(Params().angles, Params().norms, 2, SEED).load_E), 6)
    2.0
    """
    vectors = router_vectors(angles, norms)
    logits = products(cloud(seed), vectors)
    ids = topk(logits, k)
    reached = Counter(expert for row in ids for expert in row)
    load = tuple(reached[expert] / len(logits) for expert in range(len(vectors)))
    return Routed(logits, ids, load, wedges(vectors, k))


def simulate(params: Params) -> State:
    """Compute one frame's state.

    Examples
    --------
    >>> before, after = simulate(Params(k=4)), simulate(lengthen(Params(k=4), 2.0))
    >>> after.routed.load_E[0] < before.routed.load_E[0]
    True
    """
    routed = route(params.angles, params.norms, params.k, params.seed)
    start = Params()
    before = route(start.angles, start.norms, params.k, params.seed).load_E
    logits = routed.logits_TE[params.token]
    exps = [math.exp((logit - max(logits)) / params.temperature) for logit in logits]
    probs = tuple(one / math.fsum(exps) for one in exps)
    chosen = frozenset(routed.topk_ids_TK[params.token])
    return State(params, cloud(params.seed), routed, before, probs, chosen)


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
