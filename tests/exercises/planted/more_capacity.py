"""More answers to lesson 07, found by trying what learners are likely to write."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import binom


def counted_in(dtype):
    """A running count in a type that is too narrow for it."""

    def positions(topk_ids_TK, n_experts):
        ids = topk_ids_TK.flatten()
        seen = F.one_hot(ids, n_experts).to(dtype).cumsum(0, dtype=dtype)
        return (seen.gather(1, ids[:, None])[:, 0] - 1).long().view_as(topk_ids_TK)

    return positions


def from_group_ends(topk_ids_TK, n_experts):
    ids = topk_ids_TK.flatten()
    row = ids.argsort(stable=True).argsort()
    starts = torch.bincount(ids, minlength=n_experts).cumsum(0)
    return (row - starts[ids]).view_as(topk_ids_TK)


def all_of_the_full(t, e, k, c):
    n = np.arange(c + 1, t + 1)
    return float(e * (n * binom.pmf(n, t, k / e)).sum() / (t * k))


def up_to_t(t, e, k, c):
    return e / (t * k) * sum((n - c) * binom.pmf(n, t, k / e) for n in range(c, t))


def by_drawing(t, e, k, c):
    rng = np.random.default_rng(0)
    dropped = 0
    for _ in range(4000):
        ids = rng.random((t, e)).argsort(1)[:, :k]
        dropped += np.maximum(0, np.bincount(ids.ravel(), minlength=e) - c).sum()
    return dropped / (4000 * t * k)


def no_limit(hidden, ids, w, positions, capacity, experts, kept=None):
    kept = torch.ones_like(ids, dtype=torch.bool) if kept is None else kept
    buffers = torch.zeros(len(experts), capacity, hidden.shape[1])
    t, k = kept.nonzero(as_tuple=True)
    buffers[ids[t, k], positions[t, k]] = hidden[t]
    rows = (buffers @ experts)[ids[t, k], positions[t, k]] * w[t, k, None]
    return buffers, torch.zeros_like(hidden).index_add(0, t, rows)


def up_to_capacity(hidden, ids, w, positions, capacity, experts):
    return no_limit(hidden, ids, w, positions, capacity, experts, positions <= capacity)


def clamped(hidden, ids, w, positions, capacity, experts):
    return no_limit(hidden, ids, w, positions.clamp(max=capacity - 1), capacity, experts)


WRONG = {
    "07.capacity": {
        "not_rounded_at_the_end": lambda t, e, k, f: math.ceil(k * t / e) * f,
        "not_rounded": lambda t, e, k, f: k * t / e * f,
        "whole_share_times_factor": lambda t, e, k, f: t * k // e * f,
        "k_and_e_swapped": lambda t, e, k, f: math.ceil(t / k * e * f),
        "all_rows": lambda t, e, k, f: math.ceil(f * t * k),
        "at_least_one": lambda t, e, k, f: max(math.ceil(k * t * f / e), 1),
    },
    "07.positions": {
        "narrow_count": counted_in(torch.uint8),
        "narrow_count:int8": counted_in(torch.int8),
        "narrow_count:fp16": counted_in(torch.float16),
        "narrow_count:bf16": counted_in(torch.bfloat16),
        "ends_for_starts": from_group_ends,
    },
    "07.expected_drop_rate": {
        "all_rows_of_the_full": all_of_the_full,
        "last_count_missing": up_to_t,
        "simulated": by_drawing,
    },
    "07.dispatch_combine": {
        "no_such_place": no_limit,
        "no_such_place:up to C": up_to_capacity,
        "clamped_write": clamped,
    },
}
