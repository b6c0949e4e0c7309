"""What 15.speculate is judged on: drafts for which all that one could do wrong comes out differently."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from moe_lessons.exercises.spec import Case

CLEAR = 0.01
"""How far every comparison is from a tie."""


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Drafts kept whole, cut in the middle, cut at once; in those cut four ways to draw differ."""
    kinds = (
        (4, 6, 4),
        (3, 5, 3),
        (2, 7, 2),
        (4, 7, 2),
        (5, 8, 3),
        (3, 6, 1),
        (3, 8, 0),
        (2, 9, 0),
        (4, 10, 0),
    )
    return [_case(rng, *kind) for kind in kinds]


def _case(rng: np.random.Generator, gamma: int, n_tokens: int, kept: int) -> Case:
    """Draw until exactly `kept` drafted tokens stand before the first rejection, and nothing is close."""
    while True:
        logits_HV = 1.5 * rng.normal(size=(gamma + 1, n_tokens))
        q_GV = np.exp(logits_HV[:gamma] + rng.normal(size=(gamma, n_tokens)))
        q_GV = (q_GV / q_GV.sum(axis=1, keepdims=True)).astype(np.float32)
        p_HV = np.exp(logits_HV)
        p_HV = (p_HV / p_HV.sum(axis=1, keepdims=True)).astype(np.float32)
        drafted_G = (q_GV.cumsum(axis=1) < rng.random((gamma, 1))).sum(axis=1).clip(max=n_tokens - 1)
        ratio_G = p_HV[np.arange(gamma), drafted_G] / q_GV[np.arange(gamma), drafted_G]
        low_G, high_G = np.full(gamma, 0.02), np.full(gamma, 0.98)
        high_G[:kept] = np.minimum(ratio_G[:kept] - 2 * CLEAR, 0.98)
        low_G[kept : kept + 1] = ratio_G[kept : kept + 1] + 2 * CLEAR
        if (low_G >= high_G).any():
            continue
        u_G = rng.uniform(low_G, high_G).astype(np.float32)
        u_last = float(rng.uniform(0.05, 0.95))
        if _is_telling(p_HV, q_GV, drafted_G, u_G, u_last, kept):
            break
    args: dict[str, Any] = {"p_HV": p_HV, "q_GV": q_GV, "drafted_G": drafted_G, "u_G": u_G}
    what = "all kept" if kept == gamma else f"rejected at {kept}"
    return Case(f"gamma={gamma}, V={n_tokens}, {what}", args | {"u_last": u_last})


def _is_telling(
    p_HV: np.ndarray, q_GV: np.ndarray, drafted_G: np.ndarray, u_G: np.ndarray, u_last: float, kept: int
) -> bool:
    gamma = len(drafted_G)
    at = np.arange(gamma)
    ratio_G = p_HV[at, drafted_G] / q_GV[at, drafted_G]
    kept_G = u_G <= ratio_G
    if int(np.cumprod(kept_G).sum()) != kept or np.abs(u_G - ratio_G).min() < CLEAR:
        return False
    if kept == gamma:
        rows = [p_HV[-1], q_GV[-1], p_HV[-2]]
    else:
        more_V = p_HV[kept] - q_GV[kept]
        rows = [np.maximum(more_V, 0), p_HV[kept], q_GV[kept], np.abs(more_V)]
    sums = [np.cumsum(row, dtype=np.float64) / row.sum(dtype=np.float64) for row in rows]
    if min(float(np.abs(row - u_last).min()) for row in sums) < CLEAR:
        return False
    own, *others = (int((row < u_last).sum()) for row in sums)
    if own in others or own == int(rows[0].argmax()):
        return False
    if kept == gamma:
        return others[0] != others[1] and _tells_rules(p_HV[0], q_GV[0], int(drafted_G[0]), u_G[0], gamma)
    over_V = np.maximum(-more_V, 0)
    surplus = int((np.cumsum(over_V) < u_last * over_V.sum()).sum())
    again = int((sums[0] < u_G[kept]).sum())
    soft_V = np.cumsum(np.exp(rows[0]))
    soft = int((soft_V < u_last * soft_V[-1]).sum())
    elsewhere = [int((np.cumsum(row) < u_last).sum()) for row in (p_HV[-1], p_HV[kept + 1])]
    apart = surplus not in others and again not in (own, int(rows[0].argmax())) and soft not in elsewhere
    return len(set(others)) >= 2 and own != surplus and (kept > 0 or apart)


def _tells_rules(p_V: np.ndarray, q_V: np.ndarray, token: int, u: float, gamma: int) -> bool:
    """Of the drafts kept whole, one begins with a favourite that its own probability would not have kept.

    Another begins with what is no favourite, and likelier for the target than for the draft.
    """
    favourite = token == int(p_V.argmax())
    if gamma == 2:
        return favourite and bool(u > p_V[token])
    return gamma > 3 or (not favourite and bool(p_V[token] > q_V[token]))
