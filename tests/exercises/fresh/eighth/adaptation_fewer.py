"""Lesson 13: who would be missed, take experts out, two into one."""

import torch
from scipy.optimize import linear_sum_assignment

# 13.saliency


def saliency_sum(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    values_TK = topk_weights_TK * outputs_TKD.norm(dim=-1)
    sums_E = torch.zeros(n_experts, dtype=values_TK.dtype)
    return sums_E.index_add(0, topk_ids_TK.flatten(), values_TK.flatten())


def saliency_over_all_tokens(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    values_TK = topk_weights_TK * outputs_TKD.norm(dim=-1)
    sums_E = torch.zeros(n_experts, dtype=values_TK.dtype)
    return sums_E.index_add(0, topk_ids_TK.flatten(), values_TK.flatten()) / len(topk_ids_TK)


def saliency_nobody_is_nan(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    values_TK = topk_weights_TK * outputs_TKD.norm(dim=-1)
    return torch.stack([values_TK[topk_ids_TK == e].mean() for e in range(n_experts)])


def saliency_without_weights(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    lengths_TK = outputs_TKD.norm(dim=-1)
    sums_E = torch.zeros(n_experts, dtype=lengths_TK.dtype)
    sums_E = sums_E.index_add(0, topk_ids_TK.flatten(), lengths_TK.flatten())
    return sums_E / torch.bincount(topk_ids_TK.flatten(), minlength=n_experts).clamp(min=1)


def saliency_plus_equals(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    values_TK = topk_weights_TK * outputs_TKD.norm(dim=-1)
    sums_E = torch.zeros(n_experts, dtype=values_TK.dtype)
    counts_E = torch.bincount(topk_ids_TK.flatten(), minlength=n_experts)
    for k in range(topk_ids_TK.shape[1]):
        sums_E[topk_ids_TK[:, k]] += values_TK[:, k]
    return sums_E / counts_E.clamp(min=1)


def saliency_product_of_means(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    lengths_TK = outputs_TKD.norm(dim=-1)
    saliency_E = torch.zeros(n_experts, dtype=lengths_TK.dtype)
    for e in range(n_experts):
        chosen_TK = topk_ids_TK == e
        if chosen_TK.any():
            saliency_E[e] = topk_weights_TK[chosen_TK].mean() * lengths_TK[chosen_TK].mean()
    return saliency_E


# 13.prune


def renumbered(kept_N, n_experts, ids_TK):
    """Look up the new number of each id, -1 where its expert is gone."""
    new_E = torch.full((n_experts,), -1)
    new_E[kept_N] = torch.arange(len(kept_N))
    return new_E[ids_TK]


def prune_best_first(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    kept_N = saliency_E.topk(n_keep).indices
    new_ids_TK = renumbered(kept_N, len(saliency_E), topk_ids_TK)
    return router_ED[kept_N], bias_E[kept_N], experts_EP[kept_N], new_ids_TK


def prune_old_numbers(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    kept_N = saliency_E.topk(n_keep).indices.sort().values
    new_ids_TK = torch.where(torch.isin(topk_ids_TK, kept_N), topk_ids_TK, -1)
    return router_ED[kept_N], bias_E[kept_N], experts_EP[kept_N], new_ids_TK


def prune_whole_bias(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    kept_N = saliency_E.topk(n_keep).indices.sort().values
    new_ids_TK = renumbered(kept_N, len(saliency_E), topk_ids_TK)
    return router_ED[kept_N], bias_E, experts_EP[kept_N], new_ids_TK


def prune_keeps_the_lowest(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    kept_N = saliency_E.argsort()[:n_keep].sort().values
    new_ids_TK = renumbered(kept_N, len(saliency_E), topk_ids_TK)
    return router_ED[kept_N], bias_E[kept_N], experts_EP[kept_N], new_ids_TK


def prune_gone_are_zero(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    kept_N = saliency_E.topk(n_keep).indices.sort().values
    new_E = torch.zeros(len(saliency_E), dtype=torch.long)
    new_E[kept_N] = torch.arange(n_keep)
    return router_ED[kept_N], bias_E[kept_N], experts_EP[kept_N], new_E[topk_ids_TK]


def prune_marks_the_gone_too_late(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    kept_N = saliency_E.topk(n_keep).indices.sort().values
    new_ids_TK = topk_ids_TK.clone()
    for new, old in enumerate(kept_N.tolist()):
        new_ids_TK[new_ids_TK == old] = new
    new_ids_TK[~torch.isin(new_ids_TK, kept_N)] = -1
    return router_ED[kept_N], bias_E[kept_N], experts_EP[kept_N], new_ids_TK


# 13.merge


def parts(gate_up_HD):
    """Split gate rows from up rows."""
    return gate_up_HD.chunk(2)


def table_of(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF):
    """Inner products of all pairs of units: a's in rows, b's in columns."""
    (gate_a, up_a), (gate_b, up_b) = parts(gate_up_a_HD), parts(gate_up_b_HD)
    return (gate_a @ gate_b.T + up_a @ up_b.T + down_a_DF.T @ down_b_DF).detach()


def mean_with(p_F, gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    """Take b's units in this order, then the weighted mean."""
    gate_b, up_b = parts(gate_up_b_HD)
    gate_up_HD = weight_a * gate_up_a_HD + (1 - weight_a) * torch.cat([gate_b[p_F], up_b[p_F]])
    return gate_up_HD, weight_a * down_a_DF + (1 - weight_a) * down_b_DF[:, p_F]


def merge_down_stays(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    table_FF = table_of(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF)
    p_F = torch.as_tensor(linear_sum_assignment(table_FF.numpy(), maximize=True)[1])
    gate_b, up_b = parts(gate_up_b_HD)
    gate_up_HD = weight_a * gate_up_a_HD + (1 - weight_a) * torch.cat([gate_b[p_F], up_b[p_F]])
    return gate_up_HD, weight_a * down_a_DF + (1 - weight_a) * down_b_DF


def merge_by_gate_rows(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    (gate_a, _), (gate_b, _) = parts(gate_up_a_HD), parts(gate_up_b_HD)
    table_FF = (gate_a @ gate_b.T).detach()
    p_F = torch.as_tensor(linear_sum_assignment(table_FF.numpy(), maximize=True)[1])
    return mean_with(p_F, gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a)


def merge_table_of_b_and_a(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    table_FF = table_of(gate_up_b_HD, down_b_DF, gate_up_a_HD, down_a_DF)
    p_F = torch.as_tensor(linear_sum_assignment(table_FF.numpy(), maximize=True)[1])
    return mean_with(p_F, gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a)


def merge_each_takes_its_best(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    p_F = table_of(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF).argmax(dim=1)
    return mean_with(p_F, gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a)


def merge_forgets_maximize(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    table_FF = table_of(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF)
    p_F = torch.as_tensor(linear_sum_assignment(table_FF.numpy())[1])
    return mean_with(p_F, gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a)


def merge_lerp_turned_round(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    table_FF = table_of(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF)
    p_F = torch.as_tensor(linear_sum_assignment(table_FF.numpy(), maximize=True)[1])
    gate_b, up_b = parts(gate_up_b_HD)
    gate_up_HD = torch.lerp(gate_up_a_HD, torch.cat([gate_b[p_F], up_b[p_F]]), weight_a)
    return gate_up_HD, torch.lerp(down_a_DF, down_b_DF[:, p_F], weight_a)


FRESH = {
    "13.saliency": [
        ("the sum, not the mean", saliency_sum, {"sum_not_mean"}),
        ("divided by all tokens", saliency_over_all_tokens, {"over_all_tokens"}),
        ("the mean of nothing for an expert without tokens", saliency_nobody_is_nan, {"nan_for_idle"}),
        ("the mean length of the output, without the weight", saliency_without_weights, {"no_weight"}),
        ("added up with sums[ids] += values", saliency_plus_equals, {"last_token_alone"}),
        ("mean weight times mean length", saliency_product_of_means, {"product_of_means"}),
    ],
    "13.prune": [
        ("topk as it comes, the best expert first", prune_best_first, {"in_order_of_saliency"}),
        ("the chosen ids keep their old numbers", prune_old_numbers, {"ids_not_renumbered"}),
        ("left the bias as it was", prune_whole_bias, {"bias_first_entries"}),
        ("argsort()[:n_keep], which are the lowest", prune_keeps_the_lowest, {"least_kept"}),
        ("a table of zeros, so that the gone become expert 0", prune_gone_are_zero, {"removed_become_0"}),
        (
            "renumbered first, then looked who is not among the kept",
            prune_marks_the_gone_too_late,
            {"marked_late"},
        ),
    ],
    "13.merge": [
        ("brought gate and up into order, not down", merge_down_stays, {"down_stays"}),
        ("paired by the gate rows", merge_by_gate_rows, {"matched_by_one_part"}),
        ("b's units in the table's rows, a's in its columns", merge_table_of_b_and_a, {"inverse_order"}),
        ("argmax for each unit of a", merge_each_takes_its_best, {"each_its_best"}),
        ("linear_sum_assignment without maximize", merge_forgets_maximize, {"worst_match"}),
        ("lerp(a, b, weight_a)", merge_lerp_turned_round, {"weights_swapped"}),
    ],
}
