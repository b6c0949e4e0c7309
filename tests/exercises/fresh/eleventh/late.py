"""Lessons 07, 08 and 10: the next most plausible ones, three an exercise whose spec was not yet read."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from fresh.tenth.capacity import best_of
from fresh.tenth.parts import information, joint, stages
from fresh.tenth.transformer import experts_on, keys_of, losses, rms
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom

# 07


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


# 08


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


# 10


def targets_shifted(logits_WLV, targets_WL, lengths_W):
    real = torch.arange(targets_WL.shape[1] - 1) < lengths_W[:, None] - 1
    found = losses(logits_WLV[:, :-1].contiguous(), targets_WL[:, 1:].contiguous())
    return float(found[real].mean()) / math.log(2)


def divided_by_all_places(logits_WLV, targets_WL, lengths_W):
    real = torch.arange(targets_WL.shape[1]) < lengths_W[:, None]
    return float((losses(logits_WLV, targets_WL) * real).mean()) / math.log(2)


def zero_is_padding(logits_WLV, targets_WL, lengths_W):
    real = targets_WL != 0
    return float(losses(logits_WLV, targets_WL)[real].mean()) / math.log(2)


def masked_scores(q, k, v, mask, scale=None):
    n = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(n, dim=1), v.repeat_interleave(n, dim=1)
    scores = q @ k.transpose(-1, -2) / (scale or q.shape[-1] ** 0.5)
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1) @ v


def looks_ahead(q_BHLP, k_BGLP, v_BGLP):
    length = q_BHLP.shape[2]
    return masked_scores(q_BHLP, k_BGLP, v_BGLP, torch.ones(length, length).triu().bool())


def no_mask(q_BHLP, k_BGLP, v_BGLP):
    length = q_BHLP.shape[2]
    return masked_scores(q_BHLP, k_BGLP, v_BGLP, torch.ones(length, length).bool())


def divided_by_p(q_BHLP, k_BGLP, v_BGLP):
    length = q_BHLP.shape[2]
    mask = torch.ones(length, length).tril().bool()
    return masked_scores(q_BHLP, k_BGLP, v_BGLP, mask, scale=q_BHLP.shape[-1])


def softmax_over_all(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = rms(stream_TD, norm_D, eps)
    weights, ids = (x @ router_ED.T).softmax(dim=-1).topk(top_k, dim=-1)
    return stream_TD + experts_on(x, weights, ids, gate_up_proj, down_proj)


def eps_outside_the_root(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = stream_TD / (stream_TD.square().mean(dim=-1, keepdim=True).sqrt() + eps) * norm_D
    values, ids = (x @ router_ED.T).topk(top_k, dim=-1)
    return stream_TD + experts_on(x, values.softmax(dim=-1), ids, gate_up_proj, down_proj)


def layer_norm(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    x = F.layer_norm(stream_TD, (stream_TD.shape[1],), norm_D, None, eps)
    values, ids = (x @ router_ED.T).topk(top_k, dim=-1)
    return stream_TD + experts_on(x, values.softmax(dim=-1), ids, gate_up_proj, down_proj)


def terms(logits_BLV, tokens_BL, router_logits_NTE, top_k):
    ce = F.cross_entropy(logits_BLV[:, :-1].flatten(0, 1), tokens_BL[:, 1:].flatten())
    balance, z = [], []
    for layer in router_logits_NTE:
        ids = layer.topk(top_k, dim=-1).indices
        f = torch.bincount(ids.flatten(), minlength=layer.shape[1]) / ids.numel()
        balance.append(layer.shape[1] * (f * layer.softmax(dim=-1).mean(dim=0)).sum())
        z.append(layer.logsumexp(dim=-1))
    return ce, torch.stack(balance).sum(), z


def z_not_squared(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    ce, balance, z = terms(logits_BLV, tokens_BL, router_logits_NTE, top_k)
    return ce + alpha * balance + beta * sum(part.mean() for part in z)


def weights_swapped(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    ce, balance, z = terms(logits_BLV, tokens_BL, router_logits_NTE, top_k)
    return ce + beta * balance + alpha * sum(part.square().mean() for part in z)


def wrong_end_cut(logits_BLV, tokens_BL, router_logits_NTE, top_k, alpha, beta):
    _, balance, z = terms(logits_BLV, tokens_BL, router_logits_NTE, top_k)
    ce = F.cross_entropy(logits_BLV[:, 1:].flatten(0, 1), tokens_BL[:, :-1].flatten())
    return ce + alpha * balance + beta * sum(part.square().mean() for part in z)


def entropy_of_the_labels(experts_N, labels_N, shuffles_RN):
    p = joint(experts_N, labels_N).sum(dim=0)
    entropy = float(-(p[p > 0] * p[p > 0].log2()).sum())
    chance = [information(joint(experts_N, labels_N[order])) for order in shuffles_RN]
    return entropy, sum(chance) / len(chance)


def first_shuffle_only(experts_N, labels_N, shuffles_RN):
    return information(joint(experts_N, labels_N)), information(joint(experts_N, labels_N[shuffles_RN[0]]))


def both_shuffled(experts_N, labels_N, shuffles_RN):
    chance = [information(joint(experts_N[order], labels_N[order])) for order in shuffles_RN]
    return information(joint(experts_N, labels_N)), sum(chance) / len(chance)


def prefix_without_model(router_ED, gate_up_proj, down_proj, layer):
    keys = keys_of(router_ED, gate_up_proj, down_proj, layer)
    return {name.removeprefix("model."): tensor for name, tensor in keys.items()}


def up_is_w2(router_ED, gate_up_proj, down_proj, layer):
    keys = keys_of(router_ED, gate_up_proj, down_proj, layer)
    swap = {".w2.": ".w3.", ".w3.": ".w2."}
    return {
        next((name.replace(a, b) for a, b in swap.items() if a in name), name): tensor
        for name, tensor in keys.items()
    }


def in_fp32(router_ED, gate_up_proj, down_proj, layer):
    keys = keys_of(router_ED, gate_up_proj, down_proj, layer)
    return {name: tensor.float().clone() for name, tensor in keys.items()}


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
    "10.bits_per_byte": [
        ("shifted once more", targets_shifted, {"shifted"}),
        ("divided by all places", divided_by_all_places, {"padding_in_the_mean"}),
        ("every 0 taken for padding", zero_is_padding, {"zeros_left_out"}),
    ],
    "10.causal_attention": [
        ("the mask the wrong way round", looks_ahead, {"sees_the_future"}),
        ("no mask", no_mask, {"no_mask"}),
        ("divided by P, not its root", divided_by_p, {"scaled_by_width"}),
    ],
    "10.moe_block": [
        ("softmax over all, not rescaled", softmax_over_all, {"not_renormalised"}),
        ("eps outside the root", eps_outside_the_root, {"eps_outside"}),
        ("LayerNorm", layer_norm, {"layer_norm"}),
    ],
    "10.training_loss": [
        ("z-loss not squared", z_not_squared, {"z_without_square"}),
        ("alpha and beta swapped", weights_swapped, {"weights_swapped"}),
        ("shifted the wrong way", wrong_end_cut, {"shifted_back"}),
    ],
    "10.expert_information": [
        ("entropy of the labels", entropy_of_the_labels, {"label_entropy"}),
        ("one shuffle", first_shuffle_only, {"first_shuffle"}),
        ("experts shuffled along with labels", both_shuffled, {"pairs_kept"}),
    ],
    "10.mixtral_keys": [
        ("no model. in front", prefix_without_model, {"other_stem"}),
        ("w2 and w3 swapped", up_is_w2, {"in_order"}),
        ("fp32", in_fp32, {"cast"}),
    ],
}
