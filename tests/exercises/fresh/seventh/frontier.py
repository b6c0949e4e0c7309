"""Lesson 16."""

import math

import torch


def best_of_the_sequence(scores_BL, share):
    n = math.ceil(share * scores_BL.shape[1])
    passes = torch.zeros_like(scores_BL, dtype=torch.bool)
    return passes.scatter(1, scores_BL.topk(n, dim=1).indices, True)


def rounded_down(scores_BL, share):
    L = scores_BL.shape[1]
    better = (scores_BL[:, None, :] > scores_BL[:, :, None]).tril().sum(-1)
    return better < (share * torch.arange(1, L + 1)).floor()


def t_in_place_of_t_plus_one(scores_BL, share):
    B, L = scores_BL.shape
    passes = torch.zeros(B, L, dtype=torch.bool)
    for t in range(L):
        n = math.ceil(share * t)
        better = (scores_BL[:, : t + 1] > scores_BL[:, t : t + 1]).sum(1)
        passes[:, t] = better < n
    return passes


def counts_itself(scores_BL, share):
    L = scores_BL.shape[1]
    rank = (scores_BL[:, None, :] >= scores_BL[:, :, None]).tril().sum(-1)
    return rank < torch.ceil(share * torch.arange(1, L + 1))


def budget_of_the_whole(scores_BL, share):
    n = math.ceil(share * scores_BL.shape[1])
    better = (scores_BL[:, None, :] > scores_BL[:, :, None]).tril().sum(-1)
    return better < n


def above_a_quantile(scores_BL, share):
    passes = torch.zeros_like(scores_BL, dtype=torch.bool)
    for t in range(scores_BL.shape[1]):
        limit = torch.quantile(scores_BL[:, : t + 1], 1 - share, dim=1)
        passes[:, t] = scores_BL[:, t] >= limit
    return passes


def moved(null_bias, used_T, target, rate):
    return null_bias + rate * float(torch.sign(used_T.double().mean() - target))


def weights_with_the_bias(logits_TC, null_bias, n_real, top_k, target, rate):
    p = logits_TC.softmax(-1)
    p[:, n_real:] += null_bias
    w, ids = p.topk(top_k)
    w = w / w.sum(1, keepdim=True)
    weights = torch.zeros_like(p).scatter(1, ids, w)[:, :n_real]
    used = (ids < n_real).sum(1)
    return weights, used, moved(null_bias, used, target, rate)


def real_ones_sum_to_one(logits_TC, null_bias, n_real, top_k, target, rate):
    p = logits_TC.softmax(-1)
    biased = p.clone()
    biased[:, n_real:] += null_bias
    ids = biased.topk(top_k).indices
    weights = torch.zeros_like(p).scatter(1, ids, p.gather(1, ids))[:, :n_real]
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-9)
    used = (ids < n_real).sum(1)
    return weights, used, moved(null_bias, used, target, rate)


def bias_the_other_way(logits_TC, null_bias, n_real, top_k, target, rate):
    p = logits_TC.softmax(-1)
    biased = torch.cat([p[:, :n_real], p[:, n_real:] + null_bias], dim=1)
    ids = biased.topk(top_k).indices
    w = p.gather(1, ids)
    w = w / w.sum(1, keepdim=True)
    weights = torch.zeros_like(p).scatter(1, ids, w)[:, :n_real]
    used = (ids < n_real).sum(1)
    new = null_bias + rate if used.double().mean() < target else null_bias - rate
    return weights, used, new


def bias_on_the_logits(logits_TC, null_bias, n_real, top_k, target, rate):
    p = logits_TC.softmax(-1)
    biased = logits_TC.clone()
    biased[:, n_real:] += null_bias
    ids = biased.topk(top_k).indices
    w = p.gather(1, ids)
    w = w / w.sum(1, keepdim=True)
    weights = torch.zeros_like(p).scatter(1, ids, w)[:, :n_real]
    used = (ids < n_real).sum(1)
    return weights, used, moved(null_bias, used, target, rate)


def step_by_the_distance(logits_TC, null_bias, n_real, top_k, target, rate):
    p = logits_TC.softmax(-1)
    biased = p.clone()
    biased[:, n_real:] += null_bias
    ids = biased.topk(top_k).indices
    w = p.gather(1, ids)
    w = w / w.sum(1, keepdim=True)
    weights = torch.zeros_like(p).scatter(1, ids, w)[:, :n_real]
    used = (ids < n_real).sum(1)
    return weights, used, null_bias + rate * (used.double().mean().item() - target)


def not_divided(logits_TC, null_bias, n_real, top_k, target, rate):
    p = logits_TC.softmax(-1)
    biased = p.clone()
    biased[:, n_real:] += null_bias
    ids = biased.topk(top_k).indices
    mask = torch.zeros_like(p).scatter(1, ids, 1.0)
    used = mask[:, :n_real].sum(1).long()
    return (p * mask)[:, :n_real], used, moved(null_bias, used, target, rate)


def best_with_best(query_TP, first_NH, second_MH, top_k):
    H = first_NH.shape[1]
    a, i = (query_TP[:, :H] @ first_NH.T).topk(top_k)
    b, j = (query_TP[:, H:] @ second_MH.T).topk(top_k)
    return i * len(second_MH) + j, a + b


def times_the_first_table(query_TP, first_NH, second_MH, top_k):
    H = first_NH.shape[1]
    a, i = (query_TP[:, :H] @ first_NH.T).topk(top_k)
    b, j = (query_TP[:, H:] @ second_MH.T).topk(top_k)
    scores, p = (a[:, :, None] + b[:, None, :]).flatten(1).topk(top_k)
    return i.gather(1, p // top_k) * len(first_NH) + j.gather(1, p % top_k), scores


def candidates_for_rows(query_TP, first_NH, second_MH, top_k):
    H = first_NH.shape[1]
    a = (query_TP[:, :H] @ first_NH.T).topk(top_k).values
    b = (query_TP[:, H:] @ second_MH.T).topk(top_k).values
    scores, p = (a[:, :, None] + b[:, None, :]).flatten(1).topk(top_k)
    return p // top_k * len(second_MH) + p % top_k, scores


def fewer_candidates(query_TP, first_NH, second_MH, top_k):
    H = first_NH.shape[1]
    n = math.ceil(top_k**0.5)
    a, i = (query_TP[:, :H] @ first_NH.T).topk(n)
    b, j = (query_TP[:, H:] @ second_MH.T).topk(n)
    ids = (i[:, :, None] * len(second_MH) + j[:, None, :]).flatten(1)
    scores, p = (a[:, :, None] + b[:, None, :]).flatten(1).topk(top_k)
    return ids.gather(1, p), scores


def axes_the_other_way(query_TP, first_NH, second_MH, top_k):
    H = first_NH.shape[1]
    a, i = (query_TP[:, :H] @ first_NH.T).topk(top_k)
    b, j = (query_TP[:, H:] @ second_MH.T).topk(top_k)
    scores, p = (a[:, None, :] + b[:, :, None]).flatten(1).topk(top_k)
    return i.gather(1, p // top_k) * len(second_MH) + j.gather(1, p % top_k), scores


def scores_multiplied(query_TP, first_NH, second_MH, top_k):
    H = first_NH.shape[1]
    a, i = (query_TP[:, :H] @ first_NH.T).topk(top_k)
    b, j = (query_TP[:, H:] @ second_MH.T).topk(top_k)
    scores, p = (a[:, :, None] * b[:, None, :]).flatten(1).topk(top_k)
    return i.gather(1, p // top_k) * len(second_MH) + j.gather(1, p % top_k), scores


FRESH = {
    "16.causal_depth": [
        ("the best of the whole sequence", best_of_the_sequence, {"whole_sequence"}),
        ("rounded down in place of up", rounded_down, {"rounded_down"}),
        ("ceil(share · t)", t_in_place_of_t_plus_one, {"without_itself"}),
        ("the position itself counted among the better ones", counts_itself, {"one_too_few"}),
        ("ceil(share · L) at every position", budget_of_the_whole, {"fixed_budget"}),
        ("above the (1 - share) quantile of those so far", above_a_quantile, {"interpolated_quantile"}),
    ],
    "16.null_experts": [
        ("weights from the scores with the bias", weights_with_the_bias, {"bias_in_the_weight"}),
        ("the real weights made to sum to 1", real_ones_sum_to_one, {"weights_of_the_real_ones_alone"}),
        ("the bias moves the other way", bias_the_other_way, {"bias_runs_away"}),
        ("the bias added to the logits", bias_on_the_logits, {"bias_on_the_logit"}),
        ("a step as large as the distance from the target", step_by_the_distance, {"step_proportional"}),
        ("scores as they are, not divided", not_divided, {"not_normalised"}),
    ],
    "16.product_keys": [
        ("the k-th best first half with the k-th best second half", best_with_best, {"paired_not_crossed"}),
        ("i * N + j", times_the_first_table, {"stride_of_the_other_table"}),
        ("places among the candidates taken for rows", candidates_for_rows, {"positions_not_ids"}),
        ("only sqrt(K) candidates of each half", fewer_candidates, {"root_of_k_from_each"}),
        ("sums [second, first], read as [first, second]", axes_the_other_way, {"row_and_column_mixed_up"}),
        ("scores of the halves multiplied", scores_multiplied, {"scores_multiplied"}),
    ],
}
