"""Lesson 07: places, queues, expected drops, buffers, an assignment."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom

# 07.capacity


def rounded_down(n_tokens, n_experts, top_k, capacity_factor):
    return int(n_tokens * top_k * capacity_factor / n_experts)


def rounded_too_early(n_tokens, n_experts, top_k, capacity_factor):
    return math.ceil(math.ceil(n_tokens * top_k / n_experts) * capacity_factor)


def k_forgotten(n_tokens, n_experts, top_k, capacity_factor):
    return math.ceil(n_tokens * capacity_factor / n_experts)


# 07.positions


def counted_from_1(topk_ids_TK, n_experts):
    ids = topk_ids_TK.flatten()
    running = F.one_hot(ids, n_experts).cumsum(dim=0)
    return running.gather(1, ids[:, None]).reshape(topk_ids_TK.shape)


def choice_by_choice(topk_ids_TK, n_experts):
    ids = topk_ids_TK.T.flatten()
    running = F.one_hot(ids, n_experts).cumsum(dim=0) - 1
    return running.gather(1, ids[:, None]).reshape(topk_ids_TK.T.shape).T


def left_in_sorted_order(topk_ids_TK, n_experts):
    ids = topk_ids_TK.flatten()
    order = ids.argsort(stable=True)
    counts = torch.bincount(ids, minlength=n_experts)
    starts = counts.cumsum(0) - counts
    places = torch.arange(len(ids)) - starts[ids[order]]
    return places.reshape(topk_ids_TK.shape)


# 07.expected_drop_rate


def drop_of_the_average(n_tokens, n_experts, top_k, capacity):
    mean = n_tokens * top_k / n_experts
    return max(0.0, mean - capacity) / mean


def rows_drawn_one_by_one(n_tokens, n_experts, top_k, capacity):
    rows = n_tokens * top_k
    n = np.arange(capacity, rows + 1)
    return float(((n - capacity) * binom.pmf(n, rows, 1 / n_experts)).sum() * n_experts / rows)


def divided_by_tokens(n_tokens, n_experts, top_k, capacity):
    n = np.arange(capacity, n_tokens + 1)
    lost = ((n - capacity) * binom.pmf(n, n_tokens, top_k / n_experts)).sum()
    return float(lost * n_experts / n_tokens)


# 07.dispatch_combine


def one_place_too_many(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    t, k = (positions_TK <= capacity).nonzero(as_tuple=True)
    e, p = topk_ids_TK[t, k], positions_TK[t, k]
    buffers = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buffers[e, p] = hidden_TD[t]
    results = buffers @ experts_EDD
    weighted = results[e, p] * topk_weights_TK[t, k][:, None]
    return buffers, torch.zeros_like(hidden_TD).index_add(0, t, weighted)


def last_choice_wins(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    t, k = (positions_TK < capacity).nonzero(as_tuple=True)
    e, p = topk_ids_TK[t, k], positions_TK[t, k]
    buffers = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buffers[e, p] = hidden_TD[t]
    results = buffers @ experts_EDD
    out = torch.zeros_like(hidden_TD)
    out[t] = results[e, p] * topk_weights_TK[t, k][:, None]
    return buffers, out


def rescaled_after_drops(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    kept = positions_TK < capacity
    weights = topk_weights_TK * kept
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-9)
    t, k = kept.nonzero(as_tuple=True)
    e, p = topk_ids_TK[t, k], positions_TK[t, k]
    buffers = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buffers[e, p] = hidden_TD[t]
    results = buffers @ experts_EDD
    return buffers, torch.zeros_like(hidden_TD).index_add(0, t, results[e, p] * weights[t, k][:, None])


# 07.assignment


def best_of(scores_TE, capacity):
    table = scores_TE.repeat_interleave(capacity, dim=1)
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    return float(table[rows, columns].sum())


def goes_to_the_next(scores_TE, capacity):
    n_tokens, n_experts = scores_TE.shape
    free = [capacity] * n_experts
    greedy = torch.full((n_tokens,), -1)
    total = 0.0
    for t in range(n_tokens):
        for e in scores_TE[t].argsort(descending=True).tolist():
            if free[e] > 0:
                free[e] -= 1
                greedy[t] = e
                total += float(scores_TE[t, e])
                break
    return greedy, total, best_of(scores_TE, capacity)


def one_token_an_expert(scores_TE, capacity):
    n_tokens, n_experts = scores_TE.shape
    free = [capacity] * n_experts
    greedy = torch.full((n_tokens,), -1)
    total = 0.0
    for t in range(n_tokens):
        e = int(scores_TE[t].argmax())
        if free[e] > 0:
            free[e] -= 1
            greedy[t] = e
            total += float(scores_TE[t, e])
    return greedy, total, best_of(scores_TE, 1)


def smallest_total(scores_TE, capacity):
    greedy, total, _ = one_token_an_expert(scores_TE, capacity)
    table = scores_TE.repeat_interleave(capacity, dim=1)
    rows, columns = linear_sum_assignment(table.numpy())
    return greedy, total, float(table[rows, columns].sum())


FRESH = {
    "07.capacity": [
        ("rounded down", rounded_down, {"floor"}),
        ("rounded before the factor", rounded_too_early, {"rounded_twice"}),
        ("K forgotten", k_forgotten, {"no_k"}),
    ],
    "07.positions": [
        ("counted from 1", counted_from_1, {"from_one"}),
        ("all first choices first", choice_by_choice, {"choice_major"}),
        ("left in sorted order", left_in_sorted_order, {"left_sorted"}),
    ],
    "07.expected_drop_rate": [
        ("the drop of the average load", drop_of_the_average, {"mean_load"}),
        ("T * K independent rows", rows_drawn_one_by_one, {"independent_choices"}),
        ("divided by T", divided_by_tokens, {"over_tokens"}),
    ],
    "07.dispatch_combine": [
        ("position up to C", one_place_too_many, {"no_such_place"}),
        ("out[t] = ...", last_choice_wins, {"overwritten"}),
        ("weights rescaled after drops", rescaled_after_drops, {"renormalised"}),
    ],
    "07.assignment": [
        ("greedy asks the next best", goes_to_the_next, {"falls_back"}),
        ("best with one token an expert", one_token_an_expert, {"one_place"}),
        ("maximize forgotten", smallest_total, {"minimised"}),
    ],
}
