"""Unseen wrong answers to lesson 06: Sinkhorn and groups, written from the lesson's text alone."""

import math

import torch

# 06.sinkhorn


def sinkhorn_rows_first(logits_TE, rounds):
    T, E = logits_TE.shape
    z = logits_TE
    for _ in range(rounds):
        z = z - z.logsumexp(1, keepdim=True)
        z = z - z.logsumexp(0, keepdim=True) + math.log(T / E)
    return z.exp()


def sinkhorn_divides(logits_TE, rounds):
    T, E = logits_TE.shape
    plan = torch.exp(logits_TE - logits_TE.max())
    for _ in range(rounds):
        plan = plan / plan.sum(dim=0) * (T / E)
        plan = plan / plan.sum(dim=1, keepdim=True)
    return plan


def sinkhorn_once(logits_TE, rounds):
    z = logits_TE - logits_TE.logsumexp(dim=0)
    return z.softmax(dim=1)


def sinkhorn_stays_log(logits_TE, rounds):
    T, E = logits_TE.shape
    log_TE = logits_TE
    for _ in range(rounds):
        log_TE = log_TE - log_TE.logsumexp(dim=0) + math.log(T / E)
        log_TE = log_TE - log_TE.logsumexp(dim=1, keepdim=True)
    return log_TE


def sinkhorn_softmaxes(logits_TE, rounds):
    plan = logits_TE
    for _ in range(rounds):
        plan = plan.softmax(dim=0)
        plan = plan.softmax(dim=1)
    return plan


def sinkhorn_one_less(logits_TE, rounds):
    T, E = logits_TE.shape
    z = logits_TE
    for _ in range(1, rounds):
        z = z - torch.logsumexp(z, 0, keepdim=True) + math.log(T / E)
        z = z - torch.logsumexp(z, 1, keepdim=True)
    return z.exp()


# 06.group_limited


def _grouped(biased, worth, keep, k):
    G, size = worth.shape[1], biased.shape[1] // worth.shape[1]
    mask = torch.zeros_like(worth, dtype=torch.bool).scatter(1, worth.topk(keep, 1).indices, True)
    assert mask.shape[1] == G
    return biased.masked_fill(~mask.repeat_interleave(size, 1), -torch.inf).topk(k, -1).indices


def _shared(scores, ids):
    w = scores.gather(1, ids)
    return w / w.sum(-1, keepdim=True)


def groups_by_best(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    b = scores_TE + expert_bias_E
    ids = _grouped(b, b.unflatten(1, (n_groups, -1)).max(-1).values, groups_per_token, top_k)
    return ids, _shared(scores_TE, ids)


def groups_by_total(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    b = scores_TE + expert_bias_E
    ids = _grouped(b, b.unflatten(1, (n_groups, -1)).sum(-1), groups_per_token, top_k)
    return ids, _shared(scores_TE, ids)


def groups_unbiased(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    worth = scores_TE.view(len(scores_TE), n_groups, -1).topk(2, -1).values.sum(-1)
    ids = _grouped(scores_TE + expert_bias_E, worth, groups_per_token, top_k)
    return ids, _shared(scores_TE, ids)


def groups_zeroed(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    b = scores_TE + expert_bias_E
    T, E = b.shape
    worth = b.view(T, n_groups, -1).topk(2, dim=-1)[0].sum(-1)
    keep = torch.zeros(T, n_groups).scatter(1, worth.topk(groups_per_token)[1], 1.0)
    ids = (b * keep.repeat_interleave(E // n_groups, dim=1)).topk(top_k)[1]
    return ids, _shared(scores_TE, ids)


def groups_weigh_bias(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    b = scores_TE + expert_bias_E
    ids = _grouped(b, b.unflatten(1, (n_groups, -1)).topk(2, -1).values.sum(-1), groups_per_token, top_k)
    return ids, _shared(b, ids)


def groups_interleaved(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    b = scores_TE + expert_bias_E
    T, E = b.shape
    worth = b.view(T, E // n_groups, n_groups).topk(2, dim=1).values.sum(1)
    keep = torch.zeros(T, n_groups, dtype=torch.bool).scatter(1, worth.topk(groups_per_token).indices, True)
    ids = b.masked_fill(~keep.repeat(1, E // n_groups), -torch.inf).topk(top_k).indices
    return ids, _shared(scores_TE, ids)
