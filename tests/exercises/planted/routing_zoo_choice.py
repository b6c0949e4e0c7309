"""Answers to lesson 06 as learners write them: expert choice and Sinkhorn."""

import math

import numpy as np
import torch
import torch.nn.functional as F

# Expert choice: right


def ec_einsum(logits_TE, experts_per_token):
    """As in the paper: scores [n, e], top-k of their transpose, one-hot permutation."""
    n, e = logits_TE.shape
    scores = F.softmax(logits_TE, dim=-1)
    gates, picked = torch.topk(scores.t(), n * experts_per_token // e, dim=-1)
    one_hot = F.one_hot(picked, n).float()
    return torch.einsum("ek,ekn->ne", gates, one_hot)


def ec_by_threshold(logits_TE, experts_per_token):
    p = logits_TE.double().softmax(1)
    n_tokens, n_experts = p.shape
    k = int(n_tokens * experts_per_token / n_experts)
    cut = p.sort(dim=0, descending=True).values[k - 1]
    return torch.where(p >= cut, p, 0.0)


def ec_loop(logits_TE, experts_per_token):
    p = np.exp(logits_TE.numpy())
    p = p / p.sum(axis=1, keepdims=True)
    out = np.zeros_like(p)
    places = p.shape[0] * experts_per_token // p.shape[1]
    for e in range(p.shape[1]):
        best = sorted(range(p.shape[0]), key=lambda t: p[t, e], reverse=True)[:places]
        out[best, e] = p[best, e]
    return out


# Expert choice: wrong


def ec_token_choice(logits_TE, experts_per_token):
    p = logits_TE.softmax(-1)
    v, i = p.topk(experts_per_token, dim=-1)
    return torch.zeros_like(p).scatter(-1, i, v)


def ec_softmax_columns(logits_TE, experts_per_token):
    p = F.softmax(logits_TE, dim=0)
    v, i = p.topk(p.shape[0] * experts_per_token // p.shape[1], dim=0)
    return torch.zeros_like(p).scatter(0, i, v)


def ec_raw_logits(logits_TE, experts_per_token):
    k = logits_TE.shape[0] * experts_per_token // logits_TE.shape[1]
    i = logits_TE.topk(k, dim=0).indices
    mask = torch.zeros_like(logits_TE)
    mask.scatter_(0, i, 1)
    return mask * logits_TE.softmax(dim=1)


def ec_one_each(logits_TE, experts_per_token):
    p = logits_TE.softmax(-1)
    v, i = p.topk(p.shape[0] // p.shape[1], dim=0)
    return torch.zeros_like(p).scatter(0, i, v)


def ec_c_tokens(logits_TE, experts_per_token):
    p = logits_TE.softmax(-1)
    v, i = p.topk(experts_per_token, dim=0)
    return torch.zeros_like(p).scatter(0, i, v)


def ec_mask(logits_TE, experts_per_token):
    return (ec_einsum(logits_TE, experts_per_token) > 0).float()


def ec_rescaled(logits_TE, experts_per_token):
    w = ec_einsum(logits_TE, experts_per_token)
    total = w.sum(-1, keepdim=True)
    return torch.where(total > 0, w / total, w)


def ec_column_softmax(logits_TE, experts_per_token):
    p = logits_TE.softmax(-1)
    v, i = p.topk(p.shape[0] * experts_per_token // p.shape[1], dim=0)
    return torch.zeros_like(p).scatter(0, i, v / v.sum(0))


# Sinkhorn: right


def sinkhorn_potentials(logits_TE, rounds):
    """Two vectors of prices rather than a matrix that is scaled."""
    z = logits_TE.double()
    n_tokens, n_experts = z.shape
    u, v = torch.zeros(n_tokens, 1).double(), torch.zeros(1, n_experts).double()
    for _ in range(rounds):
        v = math.log(n_tokens / n_experts) - torch.logsumexp(z + u, dim=0, keepdim=True)
        u = -torch.logsumexp(z + v, dim=1, keepdim=True)
    return torch.exp(z + u + v)


def sinkhorn_log_softmax(logits_TE, rounds):
    plan = logits_TE
    for _ in range(rounds):
        plan = F.log_softmax(plan, dim=0)
        plan = F.log_softmax(plan, dim=1)
    return plan.exp()


def sinkhorn_in_numpy(logits_TE, rounds):
    """Each column is scaled first, so its largest may be taken out before: then exp is safe."""
    z = logits_TE.numpy().astype(np.float64)
    p = np.exp(z - z.max(axis=0, keepdims=True))
    for _ in range(rounds):
        p *= p.shape[0] / p.shape[1] / p.sum(axis=0, keepdims=True)
        p /= p.sum(axis=1, keepdims=True)
    return p


# Sinkhorn: wrong


def sinkhorn_softmax(logits_TE, rounds):
    return logits_TE.softmax(dim=-1)


def sinkhorn_columns(logits_TE, rounds):
    plan = logits_TE
    for _ in range(rounds):
        plan = plan - plan.logsumexp(dim=0, keepdim=True)
    return plan.exp() * len(plan) / plan.shape[1]


def sinkhorn_once(logits_TE, rounds):
    plan = torch.softmax(logits_TE, dim=0)
    return plan / plan.sum(dim=1, keepdim=True)


def sinkhorn_bare_exp(logits_TE, rounds):
    p = torch.exp(logits_TE)
    for _ in range(rounds):
        p = p / p.sum(0, keepdim=True) * (p.shape[0] / p.shape[1])
        p = p / p.sum(1, keepdim=True)
    return p


def sinkhorn_doubly_stochastic(logits_TE, rounds):
    plan = logits_TE
    for _ in range(rounds):
        plan = plan.log_softmax(dim=1)
        plan = plan.log_softmax(dim=0)
    return plan.exp()


def sinkhorn_joint(logits_TE, rounds):
    plan = logits_TE
    n_tokens, n_experts = plan.shape
    for _ in range(rounds):
        plan = plan.log_softmax(dim=0) - math.log(n_experts)
        plan = plan.log_softmax(dim=1) - math.log(n_tokens)
    return plan.exp()


def sinkhorn_dual_softmax(logits_TE, rounds):
    return logits_TE.softmax(0) * logits_TE.softmax(1)


def sinkhorn_softmax_in_turn(logits_TE, rounds):
    p = logits_TE
    for _ in range(rounds):
        p = torch.softmax(p, dim=0)
        p = torch.softmax(p, dim=1)
    return p


def sinkhorn_no_exp(logits_TE, rounds):
    plan = logits_TE
    for _ in range(rounds):
        plan = plan.log_softmax(dim=0)
        plan = plan.log_softmax(dim=1)
    return plan


RIGHT = {
    "06.expert_choice": [ec_einsum, ec_by_threshold],
    "06.sinkhorn": [sinkhorn_potentials, sinkhorn_log_softmax, sinkhorn_in_numpy],
}
WRONG = {
    "06.expert_choice": {
        "tokens_choose": ec_token_choice,
        "softmax_over_tokens": ec_softmax_columns,
        "ranked_by_logit": ec_raw_logits,
        "capacity_without_c": ec_one_each,
        "c_tokens_each": ec_c_tokens,
        "only_a_mask": ec_mask,
        "rescaled_per_token": ec_rescaled,
        "softmax_among_chosen": ec_column_softmax,
        "gradient_lost": ec_loop,
    },
    "06.sinkhorn": {
        "rows_only": sinkhorn_softmax,
        "columns_only": sinkhorn_columns,
        "one_round": sinkhorn_once,
        "overflow": sinkhorn_bare_exp,
        "columns_to_one": sinkhorn_doubly_stochastic,
        "sums_to_one_in_all": sinkhorn_joint,
        "product_of_softmaxes": sinkhorn_dual_softmax,
        "softmax_again": sinkhorn_softmax_in_turn,
        "still_logarithms": sinkhorn_no_exp,
    },
}
