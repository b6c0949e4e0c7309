"""Lesson 08: a plan, its undoing, the grouped product, a combine, bytes."""

import torch
from fresh.tenth.parts import stages

# 08.permutation_plan


def starts_for_ends(topk_ids_TK, n_experts):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=n_experts)
    return order, order // topk_ids_TK.shape[1], counts.cumsum(0) - counts


def counts_for_ends(topk_ids_TK, n_experts):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    return order, order // topk_ids_TK.shape[1], torch.bincount(flat, minlength=n_experts)


def experts_for_tokens(topk_ids_TK, n_experts):
    experts, order = topk_ids_TK.flatten().sort(stable=True)
    return order, experts, torch.bincount(experts, minlength=n_experts).cumsum(0)


# 08.undo_sort


def order_for_inverse(results_SD, row_ids_S, top_k):
    return row_ids_S.view(-1, top_k), results_SD[row_ids_S].view(-1, top_k, results_SD.shape[1])


def slots_sorted_by_value(results_SD, row_ids_S, top_k):
    positions = row_ids_S.sort().values
    return positions.view(-1, top_k), results_SD[row_ids_S.argsort()].view(-1, top_k, results_SD.shape[1])


def choices_first(results_SD, row_ids_S, top_k):
    inverse = row_ids_S.argsort()
    n_tokens = len(row_ids_S) // top_k
    return inverse.view(top_k, n_tokens).T, results_SD[inverse].view(top_k, n_tokens, -1).transpose(0, 1)


# 08.grouped_product


def ends_for_sizes(rows_SD, matrices_EDF, ends_E):
    groups = rows_SD.split(ends_E.tolist())
    return torch.cat([g @ m for g, m in zip(groups, matrices_EDF, strict=True)])


def tail_left_out(rows_SD, matrices_EDF, ends_E):
    out, start = [], 0
    for e, end in enumerate(ends_E.tolist()):
        out.append(rows_SD[start:end] @ matrices_EDF[e])
        start = end
    return torch.cat(out)


def tail_to_the_last_expert(rows_SD, matrices_EDF, ends_E):
    experts = torch.searchsorted(ends_E, torch.arange(len(rows_SD)), right=True).clamp(max=len(ends_E) - 1)
    return torch.einsum("sd,sdf->sf", rows_SD, matrices_EDF[experts])


# 08.combine


def added_as_they_lie(results_SD, topk_weights_TK, row_ids_S):
    n_tokens, k = topk_weights_TK.shape
    weighted = results_SD.float() * topk_weights_TK.flatten()[row_ids_S][:, None]
    return torch.zeros(n_tokens, results_SD.shape[1]).index_add(0, row_ids_S // k, weighted)


def summed_in_bf16(results_SD, topk_weights_TK, row_ids_S):
    n_tokens, k = topk_weights_TK.shape
    rows = results_SD[row_ids_S.argsort()].view(n_tokens, k, results_SD.shape[1])
    return (rows * topk_weights_TK.unsqueeze(-1).to(rows.dtype)).sum(dim=1).float()


def never_unsorted(results_SD, topk_weights_TK, row_ids_S):
    n_tokens, k = topk_weights_TK.shape
    rows = results_SD.float().view(n_tokens, k, results_SD.shape[1])
    return (rows * topk_weights_TK.unsqueeze(-1)).sum(dim=1)


# 08.bytes_moved


def every_matrix_read(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    n_tokens = len(topk_ids_TK)
    return stages(n_tokens, topk_ids_TK.numel(), n_experts, d_model, d_expert, bytes_per_element)


def nothing_written(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    slots, busy = topk_ids_TK.numel(), len(topk_ids_TK.unique())
    d, f, size = d_model, d_expert, bytes_per_element
    read = [slots * d, slots * d + busy * 2 * f * d, slots * 2 * f, slots * f + busy * f * d, slots * d]
    return [size * part for part in read]


def tokens_gathered_once(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    n_tokens, slots, busy = len(topk_ids_TK), topk_ids_TK.numel(), len(topk_ids_TK.unique())
    parts = stages(n_tokens, slots, busy, d_model, d_expert, bytes_per_element)
    parts[0] = (n_tokens + slots) * d_model * bytes_per_element
    return parts


FRESH = {
    "08.permutation_plan": [
        ("starts for ends", starts_for_ends, {"starts"}),
        ("counts for ends", counts_for_ends, {"sizes"}),
        ("the experts returned for the tokens", experts_for_tokens, {"experts_for_tokens"}),
    ],
    "08.undo_sort": [
        ("the order for its inverse", order_for_inverse, {"order_twice"}),
        ("row ids sorted by value", slots_sorted_by_value, {"sorted_values"}),
        ("viewed as [K, T]", choices_first, {"choice_major"}),
    ],
    "08.grouped_product": [
        ("ends taken for sizes", ends_for_sizes, {"ends_for_sizes"}),
        ("rows of nobody left out", tail_left_out, {"owned_only"}),
        ("rows of nobody to the last expert", tail_to_the_last_expert, {"tail_to_last"}),
    ],
    "08.combine": [
        ("index_add in sorted order", added_as_they_lie, {"added_as_sorted"}),
        ("weighted and summed in the results' dtype", summed_in_bf16, {"bf16_sum"}),
        ("never unsorted", never_unsorted, {"not_put_back"}),
    ],
    "08.bytes_moved": [
        ("the matrices of all experts", every_matrix_read, {"all_experts"}),
        ("only what is read", nothing_written, {"writes_forgotten"}),
        ("the gather reads each token once", tokens_gathered_once, {"gather_reads_tokens"}),
    ],
}
