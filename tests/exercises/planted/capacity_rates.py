"""Answers to 07.expected_drop_rate and 07.assignment."""

import functools
import math

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.stats import binom, norm, poisson

# 07.expected_drop_rate


def rate_by_sums(n_tokens, n_experts, top_k, capacity):
    p = top_k / n_experts
    over = sum(
        (n - capacity) * math.comb(n_tokens, n) * p**n * (1 - p) ** (n_tokens - n)
        for n in range(capacity, n_tokens + 1)
    )
    return over * n_experts / (n_tokens * top_k)


def rate_by_tails(T, E, K, C):
    return E * sum(binom.sf(j, T, K / E) for j in range(C, T)) / (T * K)


def rate_by_adding_tokens(T, E, K, C):
    """The distribution of one expert's load, grown token by token."""
    load = np.zeros(T + 1)
    load[0] = 1
    for _ in range(T):
        load[1:] = load[1:] * (1 - K / E) + load[:-1] * K / E
        load[0] *= 1 - K / E
    kept = (np.minimum(np.arange(T + 1), C) * load).sum()
    return 1 - E * kept / (T * K)


def rate_of_means(T, E, K, C):
    mean = T * K / E
    return float(max(mean - C, 0) / mean)


def rate_poisson(T, E, K, C):
    lam = T * K / E
    n = np.arange(C, int(lam + 20 * math.sqrt(lam) + 50))
    return float(((n - C) * poisson.pmf(n, lam)).sum() / lam)


def rate_with_replacement(T, E, K, C):
    n = np.arange(C, T * K + 1)
    return float(E * ((n - C) * binom.pmf(n, T * K, 1 / E)).sum() / (T * K))


def rate_per_token(T, E, K, C):
    return float(rate_by_sums(T, E, K, C) * K)


def rate_one_expert(T, E, K, C):
    n = np.arange(T + 1)
    return float((np.maximum(n - C, 0) * binom.pmf(n, T, K / E)).sum() / (T * K))


def rate_chance(T, E, K, C):
    return float(1 - binom.cdf(C, T, K / E))


def rate_bell(T, E, K, C):
    p = K / E
    sd = math.sqrt(T * p * (1 - p))
    if sd == 0:
        return float(max(T * p - C, 0) / (T * p))
    gap = T * p - C
    return float((gap * norm.cdf(gap / sd) + sd * norm.pdf(gap / sd)) / (T * p))


def rate_short(T, E, K, C):
    return float(rate_by_tails(T, E, K, max(C - 1, 0)))


def rate_k_one(T, E, K, C):
    n = np.arange(C, T + 1)
    return float(E * ((n - C) * binom.pmf(n, T, 1 / E)).sum() / (T * K))


RATE_RIGHT = [rate_by_sums, rate_by_tails, rate_by_adding_tokens]
RATE_WRONG = {
    "mean_load": rate_of_means,
    "poisson": rate_poisson,
    "independent_choices": rate_with_replacement,
    "over_tokens": rate_per_token,
    "one_expert": rate_one_expert,
    "overflow_probability": rate_chance,
    "normal": rate_bell,
    "place_lost": rate_short,
    "k_forgotten": rate_k_one,
}


# 07.assignment


def first_come(scores, capacity, order=None, next_best=False):
    scores = scores.numpy()
    left = dict.fromkeys(range(scores.shape[1]), capacity)
    ids = np.full(len(scores), -1)
    for t in range(len(scores)) if order is None else order:
        for e in np.argsort(-scores[t])[: scores.shape[1] if next_best else 1]:
            if left[int(e)] > 0:
                left[int(e)] -= 1
                ids[t] = e
                break
    return ids


def total_of(scores, ids):
    return float(sum(scores[t, e] for t, e in enumerate(ids.tolist()) if e >= 0))


def optimum(scores, capacity):
    cost = -np.repeat(scores.numpy(), capacity, axis=1)
    r, c = linear_sum_assignment(cost)
    return float(-cost[r, c].sum())


def answer(scores, capacity, ids=None, greedy=None, best=None):
    ids = first_come(scores, capacity) if ids is None else ids
    greedy = total_of(scores, ids) if greedy is None else greedy
    return torch.from_numpy(ids), greedy, optimum(scores, capacity) if best is None else best


def assignment_linprog(scores_TE, capacity):
    """A linear program: its corners are whole assignments."""
    T, E = scores_TE.shape
    one_expert = np.kron(np.eye(T), np.ones((1, E)))
    places = np.kron(np.ones((1, T)), np.eye(E))
    limits = np.r_[np.ones(T), np.full(E, capacity)]
    solved = linprog(-scores_TE.numpy().ravel(), A_ub=np.r_[one_expert, places], b_ub=limits, bounds=(0, 1))
    return answer(scores_TE, capacity, best=-solved.fun)


def assignment_recursive(scores_TE, capacity):
    """Tries every assignment, remembering the best that the remaining places allow."""
    rows = scores_TE.tolist()

    @functools.cache
    def best_from(t, free):
        if t == len(rows):
            return 0.0
        options = [best_from(t + 1, free)]
        for e, places in enumerate(free):
            if places:
                options.append(rows[t][e] + best_from(t + 1, (*free[:e], places - 1, *free[e + 1 :])))
        return max(options)

    best = best_from(0, (capacity,) * scores_TE.shape[1])
    ids, queue = [], [0] * scores_TE.shape[1]
    for row in rows:
        e = row.index(max(row))
        ids.append(e if queue[e] < capacity else -1)
        queue[e] += 1
    ids = torch.tensor(ids)
    return ids, sum(row[e] for row, e in zip(rows, ids.tolist(), strict=True) if e >= 0), best


def assignment_costs(scores_TE, capacity):
    r, c = linear_sum_assignment(np.repeat(scores_TE.numpy(), capacity, axis=1))
    return answer(scores_TE, capacity, best=float(scores_TE[r, c // capacity].sum()))


def assignment_square(scores_TE, capacity):
    r, c = linear_sum_assignment(scores_TE.numpy(), maximize=True)
    return answer(scores_TE, capacity, best=float(scores_TE[r, c].sum()))


def assignment_rows(scores_TE, capacity):
    many = np.repeat(scores_TE.numpy(), capacity, axis=0)
    r, c = linear_sum_assignment(many, maximize=True)
    return answer(scores_TE, capacity, best=float(many[r, c].sum()))


def assignment_maxima(scores_TE, capacity):
    return answer(scores_TE, capacity, best=float(scores_TE.max(dim=1).values.sum()))


def assignment_next_best(scores_TE, capacity):
    return answer(scores_TE, capacity, ids=first_come(scores_TE, capacity, next_best=True))


def assignment_best_first(scores_TE, capacity):
    order = np.argsort(-scores_TE.numpy().max(axis=1))
    return answer(scores_TE, capacity, ids=first_come(scores_TE, capacity, order))


def assignment_all_counted(scores_TE, capacity):
    return answer(scores_TE, capacity, greedy=float(scores_TE.max(1)[0].sum()))


def assignment_indexed(scores_TE, capacity):
    ids = first_come(scores_TE, capacity)
    return answer(scores_TE, capacity, ids=ids, greedy=scores_TE.numpy()[range(len(ids)), ids].sum())


def assignment_inclusive(scores_TE, capacity):
    return answer(scores_TE, capacity, ids=first_come(scores_TE, capacity + 1))


ASSIGNMENT_RIGHT = [assignment_linprog, assignment_recursive]
ASSIGNMENT_WRONG = {
    "minimised": assignment_costs,
    "one_place": assignment_square,
    "tokens_repeated": assignment_rows,
    "unconstrained": assignment_maxima,
    "falls_back": assignment_next_best,
    "by_score": assignment_best_first,
    "dropped_counted": assignment_all_counted,
    "minus_one_reads": assignment_indexed,
    "one_too_many": assignment_inclusive,
}
