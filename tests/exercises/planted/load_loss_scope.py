"""Answers to 05.scope."""

import torch
import torch.nn.functional as F


def _one(logits_TE, top_k):
    """E * sum of f P over these tokens."""
    E = logits_TE.shape[-1]
    f = F.one_hot(logits_TE.topk(top_k).indices, E).float().mean((0, 1))
    return E * (f * logits_TE.softmax(-1).mean(0)).sum()


def loops(logits_MBLE, top_k, scope):
    if scope == "global_batch":
        return _one(logits_MBLE.flatten(0, 2), top_k)
    if scope == "micro_batch":
        groups = [_one(x.flatten(0, 1), top_k) for x in logits_MBLE]
    else:
        groups = [_one(sequence, top_k) for x in logits_MBLE for sequence in x]
    return sum(groups) / len(groups)


def means_over_axes(logits_MBLE, top_k, scope):
    """f and P as means over the axes inside a group, whichever these are."""
    axes = {"sequence": 2, "micro_batch": (1, 2), "global_batch": (0, 1, 2)}[scope]
    ids = logits_MBLE.topk(top_k, dim=-1).indices
    picked = torch.zeros_like(logits_MBLE).scatter_(-1, ids, 1 / top_k)
    f, P = picked.mean(axes), torch.softmax(logits_MBLE, -1).mean(axes)
    return logits_MBLE.shape[-1] * (f * P).sum(-1).mean()


def synchronised(logits_MBLE, top_k, scope):
    """As Qwen does it: f is made global, P stays that of each micro-batch."""
    if scope != "global_batch":
        return loops(logits_MBLE, top_k, scope)
    E = logits_MBLE.shape[-1]
    f = F.one_hot(logits_MBLE.topk(top_k).indices, E).float().mean((0, 1, 2, 3))
    return torch.stack([E * (f * x.softmax(-1).mean((0, 1))).sum() for x in logits_MBLE]).mean()


def means_first(logits_MBLE, top_k, scope):
    axes = {"sequence": 2, "micro_batch": (1, 2), "global_batch": (0, 1, 2)}[scope]
    E = logits_MBLE.shape[-1]
    f = F.one_hot(logits_MBLE.topk(top_k).indices, E).float().mean(-2).mean(axes)
    P = logits_MBLE.softmax(-1).mean(axes)
    return E * (f.reshape(-1, E).mean(0) * P.reshape(-1, E).mean(0)).sum()


def only_micro(logits_MBLE, top_k, scope):
    return torch.stack([_one(x.flatten(0, 1), top_k) for x in logits_MBLE]).mean()


def only_sequences(logits_MBLE, top_k, scope):
    return torch.stack([_one(s, top_k) for s in logits_MBLE.flatten(0, 1)]).mean()


def accumulated(logits_MBLE, top_k, scope):
    """Gradient accumulation: whatever is called global is the mean of the micro-batches' losses."""
    return loops(logits_MBLE, top_k, "micro_batch" if scope == "global_batch" else scope)


def ends_swapped(logits_MBLE, top_k, scope):
    swap = {"sequence": "global_batch", "global_batch": "sequence"}
    return means_over_axes(logits_MBLE, top_k, swap.get(scope, scope))


def over_batch_axis(logits_MBLE, top_k, scope):
    if scope != "sequence":
        return means_over_axes(logits_MBLE, top_k, scope)
    ids = logits_MBLE.topk(top_k, dim=-1).indices
    picked = torch.zeros_like(logits_MBLE).scatter(-1, ids, 1 / top_k)
    f, P = picked.mean(1), logits_MBLE.softmax(-1).mean(1)
    return logits_MBLE.shape[-1] * (f * P).sum(-1).mean()


def token_by_token(logits_MBLE, top_k, scope):
    if scope != "sequence":
        return loops(logits_MBLE, top_k, scope)
    return torch.stack([_one(z[None], top_k) for z in logits_MBLE.flatten(0, 2)]).mean()


def added_up(logits_MBLE, top_k, scope):
    M, B = logits_MBLE.shape[:2]
    number = {"sequence": M * B, "micro_batch": M, "global_batch": 1}[scope]
    return number * loops(logits_MBLE, top_k, scope)


def wrong_view(logits_MBLE, top_k, scope):
    if scope != "sequence":
        return loops(logits_MBLE, top_k, scope)
    M, B, L, E = logits_MBLE.shape
    return torch.stack([_one(z, top_k) for z in logits_MBLE.view(M * L, B, E)]).mean()


def averaged_over_experts(logits_MBLE, top_k, scope):
    return loops(logits_MBLE, top_k, scope) / logits_MBLE.size(-1)


def a_number_for_the_log(logits_MBLE, top_k, scope):
    return torch.tensor(loops(logits_MBLE, top_k, scope).item())


def fractions_of_tokens(logits_MBLE, top_k, scope):
    return means_over_axes(logits_MBLE, top_k, scope) * top_k


RIGHT = [loops, means_over_axes, synchronised]
WRONG = {
    "averaged_first": means_first,
    "always_micro": only_micro,
    "always_sequence": only_sequences,
    "global_is_micro": accumulated,
    "reversed": ends_swapped,
    "positions": over_batch_axis,
    "tokens": token_by_token,
    "summed": added_up,
    "mixed_reshape": wrong_view,
    "no_K": fractions_of_tokens,
    "no_E": averaged_over_experts,
    "detached": a_number_for_the_log,
}
