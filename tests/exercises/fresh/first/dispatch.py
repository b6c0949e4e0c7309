"""Fresh wrong answers: capacity and dispatch (lessons 07 and 08)."""

import torch

# 07.dispatch_combine


def _buffers(hidden_TD, topk_ids_TK, positions_TK, capacity, E):
    keep = positions_TK < capacity
    t, k = torch.where(keep)
    buffers = hidden_TD.new_zeros(E, capacity, hidden_TD.shape[1])
    buffers[topk_ids_TK[t, k], positions_TK[t, k]] = hidden_TD[t]
    return buffers, t, k


def dispatch_at_most(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    keep = positions_TK <= capacity
    t, k = torch.where(keep)
    buffers = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buffers[topk_ids_TK[t, k], positions_TK[t, k]] = hidden_TD[t]
    y = buffers @ experts_EDD
    w = topk_weights_TK[t, k][:, None]
    return buffers, torch.zeros_like(hidden_TD).index_add(0, t, y[topk_ids_TK[t, k], positions_TK[t, k]] * w)


def dispatch_no_mask(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    buffers = hidden_TD.new_zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buffers[topk_ids_TK, positions_TK] = hidden_TD[:, None]
    y = (buffers @ experts_EDD)[topk_ids_TK, positions_TK]
    return buffers, (y * topk_weights_TK[..., None]).sum(1)


def dispatch_clamped(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    buffers, _, _ = _buffers(hidden_TD, topk_ids_TK, positions_TK, capacity, len(experts_EDD))
    y = (buffers @ experts_EDD)[topk_ids_TK, positions_TK.clamp(max=capacity - 1)]
    return buffers, (y * topk_weights_TK[..., None]).sum(1)


def dispatch_unweighted(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    buffers, t, k = _buffers(hidden_TD, topk_ids_TK, positions_TK, capacity, len(experts_EDD))
    y = (buffers @ experts_EDD)[topk_ids_TK[t, k], positions_TK[t, k]]
    return buffers, torch.zeros_like(hidden_TD).index_add(0, t, y)


def dispatch_plus_equals(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    buffers, t, k = _buffers(hidden_TD, topk_ids_TK, positions_TK, capacity, len(experts_EDD))
    y = (buffers @ experts_EDD)[topk_ids_TK[t, k], positions_TK[t, k]]
    out = torch.zeros_like(hidden_TD)
    out[t] += y * topk_weights_TK[t, k][:, None]
    return buffers, out


def dispatch_renormalised(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    buffers, t, k = _buffers(hidden_TD, topk_ids_TK, positions_TK, capacity, len(experts_EDD))
    w = topk_weights_TK * (positions_TK < capacity)
    w = w / w.sum(-1, keepdim=True).clamp_min(1e-9)
    y = (buffers @ experts_EDD)[topk_ids_TK[t, k], positions_TK[t, k]]
    return buffers, torch.zeros_like(hidden_TD).index_add(0, t, y * w[t, k][:, None])


# 08.combine


def combine_order_for_inverse(results_SD, topk_weights_TK, row_ids_S):
    T, K = topk_weights_TK.shape
    y = results_SD.float()[row_ids_S].view(T, K, results_SD.shape[1])
    return (y * topk_weights_TK[..., None].float()).sum(1)


def combine_bf16(results_SD, topk_weights_TK, row_ids_S):
    T, K = topk_weights_TK.shape
    y = results_SD[row_ids_S.argsort()].view(T, K, results_SD.shape[1])
    return (y * topk_weights_TK[..., None].to(y.dtype)).sum(1).float()


def combine_index_add(results_SD, topk_weights_TK, row_ids_S):
    T, K = topk_weights_TK.shape
    w = topk_weights_TK.flatten()[row_ids_S]
    out = torch.zeros(T, results_SD.shape[1])
    return out.index_add(0, row_ids_S // K, results_SD.float() * w[:, None])


def combine_minus_one(results_SD, topk_weights_TK, row_ids_S):
    T, K = topk_weights_TK.shape
    y = results_SD.float()[row_ids_S.argsort()].view(T, K, -1)
    return (y * topk_weights_TK[..., None]).sum(1)


def combine_weights_flat(results_SD, topk_weights_TK, row_ids_S):
    T, K = topk_weights_TK.shape
    y = results_SD.float() * topk_weights_TK.flatten()[:, None]
    return y[row_ids_S.argsort()].view(T, K, results_SD.shape[1]).sum(1)


def combine_mean(results_SD, topk_weights_TK, row_ids_S):
    T, K = topk_weights_TK.shape
    y = results_SD.float()[row_ids_S.argsort()].view(T, K, results_SD.shape[1])
    return (y * topk_weights_TK[..., None]).mean(1)


FRESH = {
    "07.dispatch_combine": [
        ("position <= C", dispatch_at_most, {"one_too_many", "index_out_of_range", "position_beyond"}),
        ("no mask", dispatch_no_mask, {"index_out_of_range", "position_beyond", "no_mask"}),
        ("clamped", dispatch_clamped, {"clamped_read"}),
        ("no weights", dispatch_unweighted, {"no_weights"}),
        ("out[t] += rows", dispatch_plus_equals, {"overwritten"}),
        ("rescaled", dispatch_renormalised, {"renormalised"}),
    ],
    "08.combine": [
        ("order for inverse", combine_order_for_inverse, {"order_as_inverse"}),
        ("summed in bf16", combine_bf16, {"bf16_sum"}),
        ("index_add in sorted order", combine_index_add, {"added_as_sorted"}),
        ("view(T, K, -1)", combine_minus_one, {"minus_one_of_nothing"}),
        ("weights left in token order", combine_weights_flat, {"weights_unsorted"}),
        ("mean for sum", combine_mean, {"mean", "averaged"}),
    ],
}
