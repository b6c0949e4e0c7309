"""Answers to lesson 14 as learners write them: gradients of dense parts and experts, and their norm."""

import math

import numpy as np
import torch

# Reduce gradients: right


def reduce_viewed(dense_WP, expert_WQ, n_ep):
    W = dense_WP.shape[0]
    R = W // n_ep
    shards = expert_WQ.view(R, n_ep, -1).sum(0) / W
    return dense_WP.mean(0).repeat(W, 1), shards.repeat(R, 1)


def reduce_loops(dense_WP, expert_WQ, n_ep):
    W = len(dense_WP)
    dense = sum(dense_WP[w] for w in range(W)) / W
    out = torch.zeros_like(expert_WQ)
    for w in range(W):
        for v in range(W):
            if v % n_ep == w % n_ep:
                out[w] += expert_WQ[v] / W
    return torch.stack([dense] * W), out


def reduce_matrix(dense_WP, expert_WQ, n_ep):
    rank = torch.arange(len(dense_WP))
    same = (rank[:, None] % n_ep == rank % n_ep).to(dense_WP.dtype)
    return torch.ones_like(same) @ dense_WP / len(rank), same @ expert_WQ / len(rank)


def reduce_strided(dense_WP, expert_WQ, n_ep):
    """As hooks do it: first every rank divides, then the groups add up."""
    W = len(dense_WP)
    mine, experts = dense_WP / W, expert_WQ / W
    experts = experts.clone()
    for shard in range(n_ep):
        experts[shard::n_ep] = experts[shard::n_ep].sum(0)
    return mine.sum(0, keepdim=True).expand(W, -1), experts


# Reduce gradients: wrong


def _e(change):
    def answer(dense_WP, expert_WQ, n_ep):
        dense, _ = reduce_viewed(dense_WP, expert_WQ, n_ep)
        return dense, change(expert_WQ, n_ep)

    return answer


def _d(change):
    def answer(dense_WP, expert_WQ, n_ep):
        _, experts = reduce_viewed(dense_WP, expert_WQ, n_ep)
        return change(dense_WP, n_ep), experts

    return answer


def _holders(e, n):
    W = len(e)
    return torch.stack([e[w % n :: n].sum(0) for w in range(W)])


def _neighbours(e, n):
    return torch.stack([e[w // n * n : w // n * n + n].sum(0) for w in range(len(e))])


# Clip: right


def clip_cat(dense_P, expert_GQ, max_norm):
    norm = torch.cat([dense_P.flatten(), expert_GQ.flatten()]).norm()
    return norm, torch.where(norm > max_norm, max_norm / norm, torch.ones(()))


def clip_nested(dense_P, expert_GQ, max_norm):
    norm = torch.stack([dense_P.norm(), *[e.norm() for e in expert_GQ]]).norm()
    return norm, max_norm / max(float(norm), max_norm)


def clip_loop(dense_P, expert_GQ, max_norm):
    total = sum(x * x for x in dense_P.tolist())
    for row in expert_GQ.tolist():
        total += sum(x * x for x in row)
    norm = math.sqrt(total)
    return norm, min(1.0, max_norm / (norm + 1e-6))


def clip_numpy(dense_P, expert_GQ, max_norm):
    norm = np.hypot(np.linalg.norm(dense_P.numpy()), np.linalg.norm(expert_GQ.numpy()))
    return norm, 1.0 if norm <= max_norm else max_norm / norm


# Clip: wrong


def _n(norm_of):
    def answer(dense_P, expert_GQ, max_norm):
        norm = norm_of(dense_P, expert_GQ)
        return norm, torch.clamp(max_norm / norm, max=1)

    return answer


def _seen(d, e):
    return [torch.sqrt((d * d).sum() + (row * row).sum()) for row in e]


def clip_each(dense_P, expert_GQ, max_norm):
    norms = torch.stack(_seen(dense_P, expert_GQ))
    return norms, torch.clamp(max_norm / norms, max=1)


def clip_always(dense_P, expert_GQ, max_norm):
    norm, _ = clip_cat(dense_P, expert_GQ, max_norm)
    return norm, max_norm / norm


def clip_upside_down(dense_P, expert_GQ, max_norm):
    norm, _ = clip_cat(dense_P, expert_GQ, max_norm)
    return norm, norm / max_norm


def clip_after(dense_P, expert_GQ, max_norm):
    norm, factor = clip_nested(dense_P, expert_GQ, max_norm)
    return norm * factor, factor


def _all_numbers(d, e):
    return torch.cat([d, e.reshape(-1)])


RIGHT = {
    "14.reduce_gradients": [reduce_loops, reduce_matrix, reduce_strided],
    "14.clip": [clip_cat, clip_nested, clip_loop, clip_numpy],
}
WRONG = {
    "14.reduce_gradients": {
        "averaged_over_all": _e(lambda e, n: e.mean(0).repeat(len(e), 1)),
        "not_divided": _e(_holders),
        "divided_by_holders": _e(
            lambda e, n: (
                e.view(len(e) // n, n, -1).mean(0, keepdim=True).repeat(len(e) // n, 1, 1).flatten(0, 1)
            )
        ),
        "divided_by_shards": _e(lambda e, n: _holders(e, n) / n),
        "divided_twice": _e(lambda e, n: _holders(e, n) / (len(e) // n) / len(e)),
        "replicas_not_summed": _e(lambda e, n: e / len(e)),
        "left_alone": _e(lambda e, n: e.clone()),
        "axes_swapped": _e(lambda e, n: _neighbours(e, n) / len(e)),
        "dense_within_replica": _d(lambda d, n: _neighbours(d, n) / n),
        "dense_like_experts": _d(lambda d, n: _holders(d, n) / len(d)),
        "dense_summed": _d(lambda d, n: d.sum(0).expand(d.shape)),
        "dense_left_alone": _d(lambda d, n: d),
    },
    "14.clip": {
        "own_norm": _n(lambda d, e: _seen(d, e)[0]),
        "a_norm_for_each_rank": clip_each,
        "dense_counted_per_rank": _n(lambda d, e: sum(s**2 for s in _seen(d, e)).sqrt()),
        "norms_added": _n(lambda d, e: torch.linalg.norm(d) + torch.linalg.norm(e)),
        "rank_norms_averaged": _n(lambda d, e: sum(_seen(d, e)) / len(e)),
        "largest_rank": _n(lambda d, e: max(_seen(d, e))),
        "experts_averaged": _n(lambda d, e: (d.pow(2).sum() + e.pow(2).sum(1).mean()).sqrt()),
        "experts_summed": _n(lambda d, e: torch.cat([d, e.sum(0)]).norm()),
        "experts_left_out": _n(lambda d, e: torch.linalg.vector_norm(d)),
        "squared": _n(lambda d, e: _all_numbers(d, e) @ _all_numbers(d, e)),
        "mean_of_squares": _n(lambda d, e: _all_numbers(d, e).pow(2).mean().sqrt()),
        "other_norm": _n(lambda d, e: _all_numbers(d, e).abs().sum()),
        "always_scaled": clip_always,
        "factor_upside_down": clip_upside_down,
        "norm_after": clip_after,
    },
}
