"""Answers to lesson 06 as learners write them: group-limited top-k."""

import numpy as np
import torch

# Right


def groups_deepseek(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    """In the order of the published inference code."""
    original = scores_TE
    scores = scores_TE + expert_bias_E
    scores = scores.view(scores.size(0), n_groups, -1)
    group_scores = scores.topk(2, dim=-1)[0].sum(dim=-1)
    indices = group_scores.topk(groups_per_token, dim=-1)[1]
    mask = torch.ones(scores.size(0), n_groups, dtype=torch.bool).scatter_(1, indices, False)
    scores = scores.masked_fill_(mask.unsqueeze(-1), float("-inf")).flatten(1)
    indices = torch.topk(scores, top_k, dim=-1)[1]
    weights = original.gather(1, indices)
    weights /= weights.sum(dim=-1, keepdim=True)
    return indices, weights


def groups_loop(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    size = scores_TE.shape[1] // n_groups
    ids, weights = [], []
    for scores_E in scores_TE:
        row = scores_E.tolist()
        biased = [s + b for s, b in zip(row, expert_bias_E.tolist(), strict=True)]
        worth = [sum(sorted(biased[g * size : (g + 1) * size])[-2:]) for g in range(n_groups)]
        best = sorted(range(n_groups), key=lambda g: -worth[g])[:groups_per_token]
        allowed = [e for e in range(len(row)) if e // size in best]
        chosen = sorted(allowed, key=lambda e: -biased[e])[:top_k]
        ids.append(chosen)
        weights.append(scores_E[chosen] / scores_E[chosen].sum())
    return torch.tensor(ids), torch.stack(weights)


def groups_by_elimination(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    """Push the losers far down instead of masking; numpy."""
    s = scores_TE.numpy()
    x = s + expert_bias_E.numpy()
    grouped = np.sort(x.reshape(len(x), n_groups, -1), axis=-1)
    rank = np.argsort(np.argsort(-(grouped[..., -1] + grouped[..., -2]), axis=1), axis=1)
    x = x - 1e3 * np.repeat(rank >= groups_per_token, x.shape[1] // n_groups, axis=1)
    ids = np.argsort(-x, axis=1)[:, :top_k]
    w = np.take_along_axis(s, ids, axis=1)
    return ids, w / w.sum(1, keepdims=True)


# Wrong


def _finish(scores, ranked, top_k):
    ids = ranked.topk(top_k, dim=-1).indices
    w = scores.gather(1, ids)
    return ids, w / w.sum(-1, keepdim=True)


def _mask(group_scores, keep, size):
    idx = group_scores.topk(keep, dim=-1).indices
    return torch.zeros_like(group_scores).scatter(1, idx, 1).repeat_interleave(size, dim=1) > 0


def groups_none(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    return _finish(scores_TE, scores_TE + expert_bias_E, top_k)


def groups_by_max(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    x = scores_TE + expert_bias_E
    g = x.view(len(x), n_groups, -1)
    keep = _mask(g.max(dim=-1).values, groups_per_token, g.shape[-1])
    return _finish(scores_TE, x.masked_fill(~keep, float("-inf")), top_k)


def groups_by_sum(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    x = scores_TE + expert_bias_E
    g = x.view(len(x), n_groups, -1)
    keep = _mask(g.sum(dim=-1), groups_per_token, g.shape[-1])
    return _finish(scores_TE, x.masked_fill(~keep, float("-inf")), top_k)


def groups_zeroed(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    x = scores_TE + expert_bias_E
    g = x.view(len(x), n_groups, -1)
    keep = _mask(g.topk(2, dim=-1).values.sum(-1), groups_per_token, g.shape[-1])
    return _finish(scores_TE, torch.where(keep, x, 0.0), top_k)


def groups_without_bias(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    g = scores_TE.view(len(scores_TE), n_groups, -1)
    keep = _mask(g.topk(2, dim=-1).values.sum(-1), groups_per_token, g.shape[-1])
    return _finish(scores_TE, (scores_TE + expert_bias_E).masked_fill(~keep, float("-inf")), top_k)


def groups_reshaped(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    x = scores_TE + expert_bias_E
    g = x.view(len(x), -1, n_groups)
    worth = g.topk(2, dim=1).values.sum(1)
    best = worth.topk(groups_per_token, dim=-1).indices
    keep = torch.zeros_like(worth).scatter(1, best, 1.0).bool().unsqueeze(1)
    return _finish(scores_TE, g.masked_fill(~keep, float("-inf")).reshape(len(x), -1), top_k)


def groups_worst(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    x = scores_TE + expert_bias_E
    g = x.view(len(x), n_groups, -1)
    worth = g.topk(2, dim=-1).values.sum(-1)
    order = worth.argsort(dim=-1)
    keep = torch.zeros_like(worth).scatter(1, order[:, :groups_per_token], 1.0).bool()
    keep = keep.repeat_interleave(g.shape[-1], dim=1)
    return _finish(scores_TE, x.masked_fill(~keep, float("-inf")), top_k)


def groups_late(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    x = scores_TE + expert_bias_E
    g = x.view(len(x), n_groups, -1)
    keep = _mask(g.topk(2, dim=-1).values.sum(-1), groups_per_token, g.shape[-1])
    ids = x.topk(top_k, dim=-1).indices
    w = scores_TE.gather(1, ids) * keep.gather(1, ids)
    return ids, w / w.sum(-1, keepdim=True)


def groups_biased_weight(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    ids, _ = groups_deepseek(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k)
    w = (scores_TE + expert_bias_E).gather(1, ids)
    return ids, w / w.sum(-1, keepdim=True)


def groups_swapped(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    return groups_deepseek(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k)[::-1]


RIGHT = {"06.group_limited": [groups_deepseek, groups_loop]}
WRONG = {
    "06.group_limited": {
        "swapped_return": groups_swapped,
        "unlimited": groups_none,
        "best_of_group": groups_by_max,
        "mean_of_group": groups_by_sum,
        "masked_with_zero": groups_zeroed,
        "unbiased_groups": groups_without_bias,
        "strided_groups": groups_reshaped,
        "mask_inverted": groups_worst,
        "mask_on_weights": groups_late,
        "bias_in_weight": groups_biased_weight,
        "gradient_lost": groups_by_elimination,
    },
}
