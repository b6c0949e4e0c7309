"""Lesson 08: the next most plausible ones, two to five an exercise."""

import torch
from fresh.tenth.parts import stages


def rows_detached(rows_SD, matrices_EDF, ends_E):
    out = torch.zeros(len(rows_SD), matrices_EDF.shape[2])
    start = 0
    for e, end in enumerate(ends_E.tolist()):
        out[start:end] = rows_SD[start:end].data @ matrices_EDF[e]
        start = end
    return out


def starts_taken_for_ends(rows_SD, matrices_EDF, ends_E):
    out, ends = [], [*ends_E.tolist(), len(rows_SD)]
    for e in range(len(ends) - 1):
        out.append(rows_SD[ends[e] : ends[e + 1]] @ matrices_EDF[e])
    head = rows_SD.new_zeros(ends[0], matrices_EDF.shape[2])
    return torch.cat([head, *out])


def masked_by_multiplication(rows_SD, matrices_EDF, ends_E):
    places = torch.arange(len(rows_SD))
    e = torch.searchsorted(ends_E, places, right=True).clamp(max=len(ends_E) - 1)
    out = torch.einsum("sd,sdf->sf", rows_SD, matrices_EDF[e])
    return out * (places < ends_E[-1])[:, None]


def order_for_the_inverse(results_SD, topk_weights_TK, row_ids_S):
    n_tokens, k = topk_weights_TK.shape
    rows = results_SD.float()[row_ids_S].view(n_tokens, k, results_SD.shape[1])
    return (rows * topk_weights_TK.unsqueeze(-1)).sum(dim=1)


def weights_left_out(results_SD, topk_weights_TK, row_ids_S):
    n_tokens, k = topk_weights_TK.shape
    return results_SD.float()[row_ids_S.argsort()].view(n_tokens, k, results_SD.shape[1]).sum(dim=1)


def product_then_fp32(results_SD, topk_weights_TK, row_ids_S):
    n_tokens, k = topk_weights_TK.shape
    rows = results_SD[row_ids_S.argsort()].view(n_tokens, k, results_SD.shape[1])
    weighted = rows * topk_weights_TK.to(rows.dtype).unsqueeze(-1)
    return weighted.float().sum(dim=1)


def combine_writes_slots(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    slots, busy = topk_ids_TK.numel(), len(topk_ids_TK.unique())
    return stages(slots, slots, busy, d_model, d_expert, bytes_per_element)


def gate_and_up_once(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    n_tokens, slots, busy = len(topk_ids_TK), topk_ids_TK.numel(), len(topk_ids_TK.unique())
    parts = stages(n_tokens, slots, busy, d_model, d_expert, bytes_per_element)
    parts[1] = bytes_per_element * (slots * d_model + busy * d_expert * d_model + slots * d_expert)
    return parts


def elements(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    n_tokens, slots, busy = len(topk_ids_TK), topk_ids_TK.numel(), len(topk_ids_TK.unique())
    return stages(n_tokens, slots, busy, d_model, d_expert, 1)


FRESH = {
    "08.grouped_product": [
        ("rows detached", rows_detached, {"detached"}),
        ("ends taken for starts", starts_taken_for_ends, {"ends_as_starts"}),
        ("masked by multiplication: NaN", masked_by_multiplication, {"tail_not_zero"}),
    ],
    "08.combine": [
        ("the order for its inverse", order_for_the_inverse, {"order_as_inverse"}),
        ("no weights", weights_left_out, {"no_weights"}),
        ("weighted in bf16, summed in fp32", product_then_fp32, {"bf16_sum"}),
    ],
    "08.bytes_moved": [
        ("the combine writes slots", combine_writes_slots, {"combine_writes_slots"}),
        ("gate and up counted as one", gate_and_up_once, {"gate_forgotten"}),
        ("elements, not bytes", elements, {"elements"}),
    ],
}
