"""Lesson 07: the next most plausible ones, two to five an exercise."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from fresh.tenth.capacity import best_of
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom


def rounded_to_nearest(n_tokens, n_experts, top_k, capacity_factor):
    return round(n_tokens * top_k * capacity_factor / n_experts)


def one_more(n_tokens, n_experts, top_k, capacity_factor):
    return int(n_tokens * top_k * capacity_factor / n_experts) + 1


def factor_rounded(n_tokens, n_experts, top_k, capacity_factor):
    return math.ceil(n_tokens * top_k / n_experts) * math.ceil(capacity_factor)


def each_choice_by_itself(topk_ids_TK, n_experts):
    running = F.one_hot(topk_ids_TK, n_experts).cumsum(dim=0) - 1
    return running.gather(-1, topk_ids_TK.unsqueeze(-1)).squeeze(-1)


def running_counts(topk_ids_TK, n_experts):
    return F.one_hot(topk_ids_TK.flatten(), n_experts).cumsum(dim=0) - 1


def poisson(n_tokens, n_experts, top_k, capacity):
    from scipy.stats import poisson as law

    n = np.arange(capacity, 10 * n_tokens)
    mean = n_tokens * top_k / n_experts
    return float(((n - capacity) * law.pmf(n, mean)).sum() / mean)


def chance_of_overflow(n_tokens, n_experts, top_k, capacity):
    return float(binom.sf(capacity, n_tokens, top_k / n_experts))


def one_expert_only(n_tokens, n_experts, top_k, capacity):
    n = np.arange(capacity, n_tokens + 1)
    lost = ((n - capacity) * binom.pmf(n, n_tokens, top_k / n_experts)).sum()
    return float(lost / (n_tokens * top_k))


def clamped_into_the_last_place(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    k = topk_ids_TK.shape[1]
    e, p = topk_ids_TK.flatten(), positions_TK.flatten().clamp(max=capacity - 1)
    t = torch.arange(len(hidden_TD)).repeat_interleave(k)
    buffers = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buffers[e, p] = hidden_TD[t]
    weighted = (buffers @ experts_EDD)[e, p] * topk_weights_TK.flatten()[:, None]
    return buffers, torch.zeros_like(hidden_TD).index_add(0, t, weighted)


def weights_on_the_way_in(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    t, k = (positions_TK < capacity).nonzero(as_tuple=True)
    e, p = topk_ids_TK[t, k], positions_TK[t, k]
    buffers = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buffers[e, p] = hidden_TD[t] * topk_weights_TK[t, k][:, None]
    return buffers, torch.zeros_like(hidden_TD).index_add(0, t, (buffers @ experts_EDD)[e, p])


def experts_transposed(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    t, k = (positions_TK < capacity).nonzero(as_tuple=True)
    e, p = topk_ids_TK[t, k], positions_TK[t, k]
    buffers = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buffers[e, p] = hidden_TD[t]
    weighted = (buffers @ experts_EDD.mT)[e, p] * topk_weights_TK[t, k][:, None]
    return buffers, torch.zeros_like(hidden_TD).index_add(0, t, weighted)


def greedy_of(scores_TE, capacity):
    free = [capacity] * scores_TE.shape[1]
    greedy, total = torch.full((len(scores_TE),), -1), 0.0
    for t in range(len(scores_TE)):
        e = int(scores_TE[t].argmax())
        if free[e] > 0:
            free[e] -= 1
            greedy[t] = e
            total += float(scores_TE[t, e])
    return greedy, total


def dropped_counted(scores_TE, capacity):
    greedy, _ = greedy_of(scores_TE, capacity)
    return greedy, float(scores_TE.amax(dim=1).sum()), best_of(scores_TE, capacity)


def no_limit_in_the_best(scores_TE, capacity):
    return *greedy_of(scores_TE, capacity), float(scores_TE.amax(dim=1).sum())


def table_repeated_in_turn(scores_TE, capacity):
    """The columns are repeated, but the chosen entries are read from the first table."""
    table = scores_TE.repeat_interleave(capacity, dim=1)
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    best = float(scores_TE[rows, columns % scores_TE.shape[1]].sum())
    return *greedy_of(scores_TE, capacity), best


FRESH = {
    "07.capacity": [
        ("rounded to the nearest", rounded_to_nearest, {"nearest"}),
        ("rounded down, plus 1", one_more, {"plus_one"}),
        ("share and factor rounded up", factor_rounded, set()),
    ],
    "07.positions": [
        ("each choice has queues of its own", each_choice_by_itself, {"each_choice_alone"}),
        ("the running counts", running_counts, {"running_counts"}),
    ],
    "07.expected_drop_rate": [
        ("Poisson", poisson, {"poisson"}),
        ("the chance that an expert overflows", chance_of_overflow, {"overflow_probability"}),
        ("one expert's drops over all rows", one_expert_only, {"one_expert"}),
    ],
    "07.dispatch_combine": [
        ("clamped into the last place", clamped_into_the_last_place, {"clamped_write"}),
        ("weights on the way in", weights_on_the_way_in, {"weighted_input"}),
        ("experts transposed", experts_transposed, {"transposed"}),
    ],
    "07.assignment": [
        ("the dropped counted in greedy's total", dropped_counted, {"dropped_counted"}),
        ("no limit in the best", no_limit_in_the_best, {"unconstrained"}),
        ("column modulo E", table_repeated_in_turn, {"column_modulo"}),
    ],
}
