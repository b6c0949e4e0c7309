"""Unseen wrong answers to lesson 07, written from the lesson's text alone."""

import math

import torch
import torch.nn.functional as F
from scipy import stats
from scipy.optimize import linear_sum_assignment

# 07.capacity


def places_without_k(n_tokens, n_experts, top_k, capacity_factor):
    return math.ceil(n_tokens / n_experts * capacity_factor)


def places_cut(n_tokens, n_experts, top_k, capacity_factor):
    return int(capacity_factor * n_tokens * top_k / n_experts)


def places_twice(n_tokens, n_experts, top_k, capacity_factor):
    fair = math.ceil(n_tokens * top_k / n_experts)
    return math.ceil(fair * capacity_factor)


def places_nearest(n_tokens, n_experts, top_k, capacity_factor):
    return round(n_tokens * top_k / n_experts * capacity_factor)


def places_plus_one(n_tokens, n_experts, top_k, capacity_factor):
    return int(n_tokens * top_k * capacity_factor / n_experts) + 1


def places_floor_first(n_tokens, n_experts, top_k, capacity_factor):
    return math.ceil(n_tokens * top_k // n_experts * capacity_factor)


# 07.positions


def queue_from_one(topk_ids_TK, n_experts):
    flat = topk_ids_TK.flatten()
    hot = F.one_hot(flat, n_experts)
    return hot.cumsum(0).gather(1, flat[:, None]).view(topk_ids_TK.shape)


def queue_first_choices(topk_ids_TK, n_experts):
    T, K = topk_ids_TK.shape
    flat = topk_ids_TK.T.flatten()
    hot = F.one_hot(flat, n_experts)
    pos = ((hot.cumsum(0) - 1) * hot).sum(-1)
    return pos.view(K, T).T


def queue_per_choice(topk_ids_TK, n_experts):
    hot = F.one_hot(topk_ids_TK, n_experts)
    return ((hot.cumsum(dim=0) - 1) * hot).sum(dim=-1)


def queue_left_sorted(topk_ids_TK, n_experts):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=n_experts)
    starts = counts.cumsum(0) - counts
    return (torch.arange(len(flat)) - starts[flat[order]]).view(topk_ids_TK.shape)


def queue_whole_rank(topk_ids_TK, n_experts):
    return topk_ids_TK.flatten().argsort(stable=True).argsort().view_as(topk_ids_TK)


def queue_longest(topk_ids_TK, n_experts):
    hot = F.one_hot(topk_ids_TK.reshape(-1), n_experts)
    return (hot.cumsum(dim=0) - hot).max(dim=-1).values.view(topk_ids_TK.shape)


# 07.expected_drop_rate


def rate_one_of_e(n_tokens, n_experts, top_k, capacity):
    total = 0.0
    for n in range(capacity + 1, n_tokens + 1):
        total += (n - capacity) * stats.binom.pmf(n, n_tokens, 1 / n_experts)
    return total * n_experts / (n_tokens * top_k)


def rate_overflows(n_tokens, n_experts, top_k, capacity):
    return float(stats.binom.sf(capacity, n_tokens, top_k / n_experts))


def rate_all_slots(n_tokens, n_experts, top_k, capacity):
    S = n_tokens * top_k
    p = 1 / n_experts
    excess = sum(
        (n - capacity) * math.comb(S, n) * p**n * (1 - p) ** (S - n) for n in range(capacity + 1, S + 1)
    )
    return n_experts * excess / S


def rate_poisson(n_tokens, n_experts, top_k, capacity):
    lam = n_tokens * top_k / n_experts
    excess = sum((n - capacity) * stats.poisson.pmf(n, lam) for n in range(capacity + 1, n_tokens + 1))
    return excess / lam


def rate_simulated(n_tokens, n_experts, top_k, capacity):
    generator = torch.Generator().manual_seed(0)
    dropped = 0
    for _ in range(200):
        ids = torch.rand(n_tokens, n_experts, generator=generator).topk(top_k).indices
        load = torch.bincount(ids.flatten(), minlength=n_experts)
        dropped += (load - capacity).clamp(min=0).sum().item()
    return dropped / (200 * n_tokens * top_k)


def rate_of_the_mean(n_tokens, n_experts, top_k, capacity):
    load = n_tokens * top_k / n_experts
    return max(0.0, load - capacity) / load


# 07.dispatch_combine


def combine_passes(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    kept = positions_TK < capacity
    t, k = kept.nonzero(as_tuple=True)
    e, p = topk_ids_TK[t, k], positions_TK[t, k]
    buf = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buf[e, p] = hidden_TD[t]
    y = torch.bmm(buf, experts_EDD)[e, p] * topk_weights_TK[t, k, None]
    out = torch.zeros_like(hidden_TD).index_add(0, t, y)
    return buf, torch.where(kept.any(dim=1, keepdim=True), out, hidden_TD)


def combine_weighs_first(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    t, k = (positions_TK < capacity).nonzero(as_tuple=True)
    e, p = topk_ids_TK[t, k], positions_TK[t, k]
    buf = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buf[e, p] = hidden_TD[t] * topk_weights_TK[t, k].unsqueeze(1)
    y = buf @ experts_EDD
    return buf, torch.zeros_like(hidden_TD).index_add(0, t, y[e, p])


def combine_overwrites(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    E, D = experts_EDD.shape[:2]
    buf = torch.zeros(E, capacity, D)
    out = torch.zeros_like(hidden_TD)
    t, k = torch.where(positions_TK < capacity)
    buf[topk_ids_TK[t, k], positions_TK[t, k]] = hidden_TD[t]
    res = buf @ experts_EDD
    out[t] = res[topk_ids_TK[t, k], positions_TK[t, k]] * topk_weights_TK[t, k][:, None]
    return buf, out


def combine_one_short(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    t, k = torch.where(positions_TK + 1 < capacity)
    e, p = topk_ids_TK[t, k], positions_TK[t, k]
    buf = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buf[e, p] = hidden_TD[t]
    y = (buf @ experts_EDD)[e, p] * topk_weights_TK[t, k][:, None]
    return buf, torch.zeros_like(hidden_TD).index_add(0, t, y)


def combine_turned(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    t, k = torch.where(positions_TK < capacity)
    e, p = topk_ids_TK[t, k], positions_TK[t, k]
    buf = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buf[e, p] = hidden_TD[t]
    y = torch.einsum("ecd,efd->ecf", buf, experts_EDD)
    return buf, torch.zeros_like(hidden_TD).index_add(0, t, y[e, p] * topk_weights_TK[t, k][:, None])


def combine_with_residual(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    t, k = torch.where(positions_TK < capacity)
    e, p = topk_ids_TK[t, k], positions_TK[t, k]
    buf = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buf[e, p] = hidden_TD[t]
    y = (buf @ experts_EDD)[e, p] * topk_weights_TK[t, k][:, None]
    return buf, hidden_TD.index_add(0, t, y)


# 07.assignment


def _greedy(scores, capacity, tokens=None):
    free = [capacity] * scores.shape[1]
    expert_T = torch.full((len(scores),), -1)
    for t in range(len(scores)) if tokens is None else tokens:
        e = int(scores[t].argmax())
        if free[e] > 0:
            free[e] -= 1
            expert_T[t] = e
    return expert_T


def _greedy_total(scores, expert_T):
    served = expert_T >= 0
    return float(scores[served, expert_T[served]].sum())


def _best(scores, capacity):
    wide = scores.repeat_interleave(capacity, dim=1).numpy()
    r, c = linear_sum_assignment(wide, maximize=True)
    return float(wide[r, c].sum())


def assign_next_best(scores_TE, capacity):
    free = [capacity] * scores_TE.shape[1]
    who = torch.full((len(scores_TE),), -1)
    for t, row in enumerate(scores_TE):
        for e in row.argsort(descending=True).tolist():
            if free[e]:
                free[e] -= 1
                who[t] = e
                break
    return who, _greedy_total(scores_TE, who), _best(scores_TE, capacity)


def assign_highest_first(scores_TE, capacity):
    tokens = scores_TE.max(dim=1).values.argsort(descending=True).tolist()
    who = _greedy(scores_TE, capacity, tokens)
    return who, _greedy_total(scores_TE, who), _best(scores_TE, capacity)


def assign_one_place(scores_TE, capacity):
    who = _greedy(scores_TE, capacity)
    rows, cols = linear_sum_assignment(scores_TE.numpy(), maximize=True)
    return who, _greedy_total(scores_TE, who), float(scores_TE[rows, cols].sum())


def assign_minimum(scores_TE, capacity):
    who = _greedy(scores_TE, capacity)
    wide = scores_TE.repeat_interleave(capacity, dim=1)
    rows, cols = linear_sum_assignment(wide.numpy())
    return who, _greedy_total(scores_TE, who), wide[rows, cols].sum().item()


def assign_minus_one_pays(scores_TE, capacity):
    who = _greedy(scores_TE, capacity)
    total = scores_TE[torch.arange(len(who)), who].sum().item()
    return who, total, _best(scores_TE, capacity)


def assign_best_pairs(scores_TE, capacity):
    who = _greedy(scores_TE, capacity)
    E = scores_TE.shape[1]
    free, seen, best = [capacity] * E, set(), 0.0
    for i in scores_TE.flatten().argsort(descending=True).tolist():
        t, e = divmod(i, E)
        if t not in seen and free[e]:
            seen.add(t)
            free[e] -= 1
            best += float(scores_TE[t, e])
    return who, _greedy_total(scores_TE, who), best
