"""The fourteenth set, 13.saliency: what a class would most likely hand in."""

import torch


# Averages over all T tokens of the text, with 0 for those that did not choose the expert, instead of over
# the tokens that chose it: a popular expert scores more because it is popular.
def mean_of_all(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    T = topk_ids_TK.shape[0]
    added_TK = topk_weights_TK * outputs_TKD.norm(dim=-1)
    added_TE = torch.zeros(T, n_experts, dtype=added_TK.dtype).scatter(1, topk_ids_TK, added_TK)
    return added_TE.mean(dim=0)


# Adds up with sums[ids] += values, which does not accumulate where an id comes more than once: of each
# expert only one (the last written) choice is left in the sum, and it is divided by the right count.
def plus_equals(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    ids = topk_ids_TK.flatten()
    values = (topk_weights_TK * outputs_TKD.norm(dim=-1)).flatten()
    sums = torch.zeros(n_experts, dtype=values.dtype)
    sums[ids] += values
    counts = torch.bincount(ids, minlength=n_experts)
    return sums / counts.clamp(min=1)


# Takes a weighted mean: divides by the sum of the weights instead of by the number of tokens, so that an
# expert which always has a small weight scores as much as one with a large weight.
def by_weight(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    score_E = torch.zeros(n_experts, dtype=outputs_TKD.dtype)
    lengths_TK = outputs_TKD.norm(dim=-1)
    for e in range(n_experts):
        mask = topk_ids_TK == e
        if mask.any():
            w = topk_weights_TK[mask]
            score_E[e] = (w * lengths_TK[mask]).sum() / w.sum()
    return score_E


# Takes the mean first and the length afterwards: the norm of the mean weighted output. Outputs that point
# in different directions cancel, and the score comes out too small.
def norm_of_mean(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    score_E = torch.zeros(n_experts, dtype=outputs_TKD.dtype)
    for e in range(n_experts):
        mask = topk_ids_TK == e
        if mask.any():
            added = topk_weights_TK[mask][:, None] * outputs_TKD[mask]
            score_E[e] = added.mean(dim=0).norm()
    return score_E


# Leaves the router's weight out: the mean length of an expert's outputs, as if "before weighting" meant
# that no weight belongs in the score.
def unweighted(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    score_E = torch.zeros(n_experts, dtype=outputs_TKD.dtype)
    for e in range(n_experts):
        t, k = torch.where(topk_ids_TK == e)
        if len(t) > 0:
            score_E[e] = outputs_TKD[t, k].norm(dim=-1).mean()
    return score_E


# Does not think of experts that no token chose: the mean of nothing is 0 / 0 = nan, where it should be 0.
def mean_of_nothing(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    value_TK = topk_weights_TK * outputs_TKD.norm(dim=-1)
    return torch.stack([value_TK[topk_ids_TK == e].mean() for e in range(n_experts)])


FRESH = {
    "13.saliency": [
        ("the mean over all tokens", mean_of_all, {"over_all_tokens"}),
        ("sums[ids] += values", plus_equals, {"last_token_alone"}),
        ("divided by the sum of the weights", by_weight, {"weighted_mean"}),
        ("the length of the mean", norm_of_mean, {"length_of_the_mean"}),
        ("without the weights", unweighted, {"no_weight"}),
        ("NaN for an idle expert", mean_of_nothing, {"nan_for_idle"}),
    ],
}
