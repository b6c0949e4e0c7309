"""Unseen wrong answers to lesson 08, written from the lesson's text alone."""

import torch

# 08.permutation_plan


def plan_starts(topk_ids_TK, n_experts):
    flat = topk_ids_TK.flatten()
    order = torch.argsort(flat, stable=True)
    counts = torch.bincount(flat, minlength=n_experts)
    return order, order // topk_ids_TK.shape[1], counts.cumsum(0) - counts


def plan_remainder(topk_ids_TK, n_experts):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    return order, order % topk_ids_TK.shape[1], torch.bincount(flat, minlength=n_experts).cumsum(0)


def plan_inverse(topk_ids_TK, n_experts):
    flat = topk_ids_TK.flatten()
    inverse = flat.argsort(stable=True).argsort()
    return inverse, inverse // topk_ids_TK.shape[1], torch.bincount(flat, minlength=n_experts).cumsum(0)


def plan_choices_first(topk_ids_TK, n_experts):
    T = len(topk_ids_TK)
    flat = topk_ids_TK.t().flatten()
    order = flat.argsort(stable=True)
    return order, order % max(T, 1), torch.bincount(flat, minlength=n_experts).cumsum(0)


def plan_too_short(topk_ids_TK, n_experts):
    flat = topk_ids_TK.view(-1)
    order = flat.argsort(stable=True)
    return order, order // topk_ids_TK.size(1), flat.bincount().cumsum(0)


def plan_last_row(topk_ids_TK, n_experts):
    flat = topk_ids_TK.reshape(-1)
    values, order = flat.sort(stable=True)
    ends = torch.searchsorted(values, torch.arange(n_experts), right=True) - 1
    return order, torch.div(order, topk_ids_TK.shape[1], rounding_mode="floor"), ends


# 08.undo_sort


def undo_again(results_SD, row_ids_S, top_k):
    S, D = results_SD.shape
    inverse = row_ids_S.argsort()
    return inverse.view(S // top_k, top_k), results_SD[row_ids_S].view(S // top_k, top_k, D)


def undo_column_wise(results_SD, row_ids_S, top_k):
    S, D = results_SD.shape
    T = S // top_k
    inverse = row_ids_S.argsort()
    return inverse.view(top_k, T).T, results_SD[inverse].view(top_k, T, D).transpose(0, 1)


def undo_positions_kept(results_SD, row_ids_S, top_k):
    S, D = results_SD.shape
    out = torch.zeros_like(results_SD).index_copy(0, row_ids_S, results_SD)
    return row_ids_S.view(S // top_k, top_k), out.view(S // top_k, top_k, D)


def undo_by_hand(results_SD, row_ids_S, top_k):
    S, D = results_SD.shape
    where = torch.empty_like(row_ids_S)
    out = torch.empty(S, D)
    for p, slot in enumerate(row_ids_S.tolist()):
        where[slot] = p
        out[slot] = results_SD[p].detach()
    return where.reshape(S // top_k, top_k), out.reshape(S // top_k, top_k, D)


def undo_minus_one(results_SD, row_ids_S, top_k):
    inverse = torch.empty_like(row_ids_S)
    inverse[row_ids_S] = torch.arange(len(row_ids_S))
    return inverse.view(-1, top_k), results_SD[inverse].view(-1, top_k, *results_SD[0].shape)


def undo_and_sum(results_SD, row_ids_S, top_k):
    S, D = results_SD.shape
    inverse = torch.argsort(row_ids_S)
    return inverse.view(S // top_k, top_k), results_SD[inverse].view(S // top_k, top_k, D).sum(1)


# 08.grouped_product


def grouped_ends_as_sizes(rows_SD, matrices_EDF, ends_E):
    sizes = ends_E.tolist()
    parts, at = [], 0
    for e, n in enumerate(sizes):
        parts.append(rows_SD[at : at + n] @ matrices_EDF[e])
        at += n
    out = torch.cat(parts)
    return torch.cat([out, out.new_zeros(max(0, len(rows_SD) - len(out)), out.shape[1])])[: len(rows_SD)]


def grouped_mask_after(rows_SD, matrices_EDF, ends_E):
    at = torch.arange(len(rows_SD))
    e = torch.searchsorted(ends_E.long(), at, right=True)
    y = torch.einsum("sd,sdf->sf", rows_SD, matrices_EDF[e.clamp(max=len(ends_E) - 1)])
    return y * (at < ends_E[-1])[:, None]


def grouped_no_rest(rows_SD, matrices_EDF, ends_E):
    out, start = [], 0
    for e, end in enumerate(ends_E.tolist()):
        out.append(rows_SD[start:end].matmul(matrices_EDF[e]))
        start = end
    return torch.cat(out, dim=0)


def grouped_rest_to_last(rows_SD, matrices_EDF, ends_E):
    ends = ends_E.tolist()
    starts = [0, *ends[:-1]]
    ends[-1] = len(rows_SD)
    return torch.cat([rows_SD[a:b] @ m for a, b, m in zip(starts, ends, matrices_EDF, strict=True)])


def grouped_left_edge(rows_SD, matrices_EDF, ends_E):
    out = rows_SD.new_zeros(len(rows_SD), matrices_EDF.shape[2])
    n = int(ends_E[-1])
    e = torch.bucketize(torch.arange(n), ends_E.long())
    rows = torch.stack([rows_SD[p] @ matrices_EDF[e[p]] for p in range(n)]) if n else out[:0]
    return torch.cat([rows, out[n:]])


def grouped_data(rows_SD, matrices_EDF, ends_E):
    out = torch.zeros(len(rows_SD), matrices_EDF.shape[-1])
    start = 0
    for e in range(len(ends_E)):
        end = int(ends_E[e])
        out[start:end] = rows_SD[start:end] @ matrices_EDF[e].data
        start = end
    return out


# 08.combine


def combine_index_add(results_SD, topk_weights_TK, row_ids_S):
    T, K = topk_weights_TK.shape
    w = topk_weights_TK.flatten()[row_ids_S]
    y = results_SD.float() * w[:, None]
    return torch.zeros(T, results_SD.shape[1]).index_add(0, row_ids_S // K, y)


def combine_float_late(results_SD, topk_weights_TK, row_ids_S):
    T, K = topk_weights_TK.shape
    y = results_SD[row_ids_S.argsort()].view(T, K, results_SD.shape[1])
    return (y * topk_weights_TK.to(y.dtype).unsqueeze(-1)).sum(1).float()


def combine_weights_unsorted(results_SD, topk_weights_TK, row_ids_S):
    T, K = topk_weights_TK.shape
    y = results_SD.float() * topk_weights_TK.reshape(-1, 1)
    return y[row_ids_S.argsort()].view(T, K, results_SD.shape[1]).sum(dim=1)


def combine_forth_again(results_SD, topk_weights_TK, row_ids_S):
    T, K = topk_weights_TK.shape
    y = results_SD.float()[row_ids_S].view(T, K, results_SD.shape[1])
    return (y * topk_weights_TK[..., None]).sum(1)


def combine_rescaled(results_SD, topk_weights_TK, row_ids_S):
    T, K = topk_weights_TK.shape
    inverse = torch.empty_like(row_ids_S)
    inverse[row_ids_S] = torch.arange(T * K)
    w = topk_weights_TK / topk_weights_TK.sum(-1, keepdim=True)
    return (results_SD.float()[inverse].view(T, K, results_SD.shape[1]) * w[:, :, None]).sum(1)


def combine_mean(results_SD, topk_weights_TK, row_ids_S):
    T, K = topk_weights_TK.shape
    y = results_SD.float()[row_ids_S.argsort()].view(T, K, results_SD.shape[1])
    return (y * topk_weights_TK[..., None]).mean(dim=1)


# 08.bytes_moved


def bytes_idle_too(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    T, S, D, F, E = len(topk_ids_TK), topk_ids_TK.numel(), d_model, d_expert, n_experts
    n = [2 * S * D, S * D + E * 2 * F * D + 2 * S * F, 3 * S * F, S * F + E * D * F + S * D, S * D + T * D]
    return torch.tensor(n) * bytes_per_element


def bytes_read_only(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    S, D, F = topk_ids_TK.numel(), d_model, d_expert
    busy = len(topk_ids_TK.unique())
    return bytes_per_element * torch.tensor(
        [S * D, S * D + busy * 2 * F * D, S * 2 * F, S * F + busy * D * F, S * D]
    )


def bytes_one_matrix(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    T, S, D, F = topk_ids_TK.shape[0], topk_ids_TK.numel(), d_model, d_expert
    busy = torch.unique(topk_ids_TK).numel()
    up = S * D + busy * F * D + S * F
    return torch.tensor([2 * S * D, up, 2 * S * F, S * F + busy * D * F + S * D, S * D + T * D]) * (
        bytes_per_element
    )


def bytes_combine_all(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    S, D, F = topk_ids_TK.numel(), d_model, d_expert
    busy = int((torch.bincount(topk_ids_TK.flatten(), minlength=n_experts) > 0).sum())
    rows = [2 * D, D + 2 * F, 3 * F, F + D, 2 * D]
    extra = [0, busy * 2 * F * D, 0, busy * D * F, 0]
    return [bytes_per_element * (S * r + x) for r, x in zip(rows, extra, strict=True)]


def bytes_elements(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    T, S, D, F = topk_ids_TK.shape[0], topk_ids_TK.numel(), d_model, d_expert
    b = len(topk_ids_TK.unique())
    return torch.tensor(
        [2 * S * D, S * D + 2 * b * F * D + 2 * S * F, 3 * S * F, S * F + b * D * F + S * D, (S + T) * D]
    )


def bytes_tokens_once(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    T, S, D, F = topk_ids_TK.shape[0], topk_ids_TK.numel(), d_model, d_expert
    b = len(topk_ids_TK.unique())
    n = [T * D + S * D, S * D + 2 * b * F * D + 2 * S * F, 3 * S * F, S * F + b * D * F + S * D, (S + T) * D]
    return torch.tensor(n) * bytes_per_element
