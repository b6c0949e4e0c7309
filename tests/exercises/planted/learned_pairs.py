"""Answers to 12.coactivation as learners write them: wrong ones by misconception, and right ones."""

import itertools

import numpy as np
import torch
import torch.nn.functional as F


def rows_of(topk_ids_TK):
    return [set(row) for row in topk_ids_TK.tolist()]


def co_by_sets(topk_ids_TK, n_experts):
    rows, k = rows_of(topk_ids_TK), topk_ids_TK.shape[1]
    n = [sum(e in row for row in rows) for e in range(n_experts)]
    given = torch.zeros(n_experts, n_experts)
    lift = torch.zeros(n_experts, n_experts)
    for i in range(n_experts):
        for j in range(n_experts):
            if i != j:
                given[i, j] = sum(i in row and j in row for row in rows) / n[i]
                lift[i, j] = given[i, j] / ((k - 1) * n[j] / (sum(n) - n[i]))
    return given, lift


def count_slots(topk_ids_TK, n_experts, pairs):
    both = torch.zeros(n_experts, n_experts, dtype=torch.double)
    for p, q in pairs:
        ones = torch.ones(len(topk_ids_TK), dtype=torch.double)
        both.index_put_((topk_ids_TK[:, p], topk_ids_TK[:, q]), ones, accumulate=True)
    return both


def co_by_slots(topk_ids_TK, n_experts):
    k = topk_ids_TK.shape[1]
    both = count_slots(topk_ids_TK, n_experts, itertools.permutations(range(k), 2))
    n = torch.bincount(topk_ids_TK.flatten(), minlength=n_experts).double()
    share = n / n.sum()
    given = both / n.view(-1, 1)
    return given, given / ((k - 1) * share.view(1, -1) / (1 - share).view(-1, 1))


def co_by_numpy(topk_ids_TK, n_experts):
    member = np.zeros((len(topk_ids_TK), n_experts))
    np.put_along_axis(member, topk_ids_TK.numpy(), 1.0, axis=1)
    both = np.einsum("ti,tj->ij", member, member)
    n = member.sum(0)
    np.fill_diagonal(both, 0)
    expected = (topk_ids_TK.shape[1] - 1) * np.outer(1 / (topk_ids_TK.numel() - n), n)
    return torch.from_numpy(both / n[:, None]), torch.from_numpy(both / n[:, None] / expected)


def tables(topk_ids_TK, n_experts):
    member = F.one_hot(topk_ids_TK, n_experts).sum(1).double()
    both = member.T @ member
    n = torch.diag(both).clone()
    both.fill_diagonal_(0)
    return both, n, topk_ids_TK.shape[1], topk_ids_TK.numel()


def expected_of(n, k, total):
    return (k - 1) * n[None] / (total - n)[:, None]


def co_diagonal(ids, n_experts):
    both, n, k, total = tables(ids, n_experts)
    given = (both + torch.diag(n)) / n[:, None]
    return given, given / expected_of(n, k, total)


def co_transposed(ids, n_experts):
    both, n, k, total = tables(ids, n_experts)
    given = both / n
    return given, given / expected_of(n, k, total)


def co_tokens(ids, n_experts):
    both, n, k, total = tables(ids, n_experts)
    return both / len(ids), both / n[:, None] / expected_of(n, k, total)


def co_jaccard(ids, n_experts):
    both, n, k, total = tables(ids, n_experts)
    return both / (n[:, None] + n - both), both / n[:, None] / expected_of(n, k, total)


def co_even(ids, n_experts):
    both, n, k, _ = tables(ids, n_experts)
    given = both / n[:, None]
    return given, given * (n_experts - 1) / (k - 1)


def co_all_tokens(ids, n_experts):
    both, n, _, _ = tables(ids, n_experts)
    given = both / n[:, None]
    return given, given / (n / len(ids))


def co_k_draws(ids, n_experts):
    both, n, k, total = tables(ids, n_experts)
    given = both / n[:, None]
    return given, given / (k * n[None] / (total - n)[:, None])


def co_one_draw(ids, n_experts):
    both, n, _, total = tables(ids, n_experts)
    given = both / n[:, None]
    return given, given / (n[None] / (total - n)[:, None])


def co_own_load(ids, n_experts):
    both, n, k, total = tables(ids, n_experts)
    given = both / n[:, None]
    return given, given / expected_of(n, k, total).T


def co_left_in(ids, n_experts):
    both, n, k, total = tables(ids, n_experts)
    given = both / n[:, None]
    return given, given / ((k - 1) * n / total)


def co_two_slots(ids, n_experts):
    return co_by_slots(ids[:, :2], n_experts)


def co_ordered(ids, n_experts):
    _, n, k, total = tables(ids, n_experts)
    given = count_slots(ids, n_experts, itertools.combinations(range(k), 2)) / n[:, None]
    return given, given / expected_of(n, k, total)


def co_difference(ids, n_experts):
    both, n, k, total = tables(ids, n_experts)
    given = both / n[:, None]
    return given, (given - expected_of(n, k, total)).fill_diagonal_(0)


def co_one_of_all(ids, n_experts):
    both, n, _, total = tables(ids, n_experts)
    given = both / n[:, None]
    return given, given / (n / total)


def co_symmetric(ids, n_experts):
    both, n, k, total = tables(ids, n_experts)
    given = both / n[:, None]
    return (given + given.T) / 2, given / expected_of(n, k, total)


def co_tokens_left(ids, n_experts):
    both, n, k, _ = tables(ids, n_experts)
    given = both / n[:, None]
    return given, given / ((k - 1) * n[None] / (len(ids) - n)[:, None])


def in_floats(answer):
    return lambda ids, n_experts: tuple(table.float() for table in answer(ids, n_experts))


COACTIVATION_WRONG = {
    "tokens_for_choices": co_tokens_left,
    "one_draw_of_all": co_one_of_all,
    "symmetric": co_symmetric,
    "diagonal_kept": co_diagonal,
    "transposed": co_transposed,
    "share_of_tokens": co_tokens,
    "jaccard": co_jaccard,
    "even_chance": co_even,
    "share_of_all_tokens": co_all_tokens,
    "k_draws": co_k_draws,
    "one_draw": co_one_draw,
    "own_load": co_own_load,
    "own_choices_left_in": co_left_in,
    "first_two_slots": co_two_slots,
    "ordered_pairs": co_ordered,
    "difference": co_difference,
}
COACTIVATION_WRONG = {name: in_floats(answer) for name, answer in COACTIVATION_WRONG.items()}
COACTIVATION_RIGHT = [co_by_sets, co_by_slots, co_by_numpy]
