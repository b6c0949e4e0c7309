"""The fifteenth set, 13.saliency: what a class would most likely hand in."""

import torch


# The learner adds up what an expert gives to its tokens and forgets to divide by how many they are: a sum,
# which grows with popularity, in place of a mean.
def summed(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    values = topk_weights_TK * outputs_TKD.norm(dim=-1)
    saliency_E = torch.zeros(n_experts, dtype=values.dtype)
    return saliency_E.index_add(0, topk_ids_TK.flatten(), values.flatten())


# The learner divides by the number of all tokens T, not by the number of tokens that chose the expert.
def by_all_tokens(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    values = topk_weights_TK * outputs_TKD.norm(dim=-1)
    sums = torch.zeros(n_experts, dtype=values.dtype)
    sums = sums.index_add(0, topk_ids_TK.flatten(), values.flatten())
    return sums / topk_ids_TK.shape[0]


# The learner leaves out the router's weights: the mean length of an expert's outputs alone.
def unweighted(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    lengths = outputs_TKD.norm(dim=-1)
    saliency_E = torch.zeros(n_experts, dtype=lengths.dtype)
    for e in range(n_experts):
        chosen = topk_ids_TK == e
        if chosen.any():
            saliency_E[e] = lengths[chosen].mean()
    return saliency_E


# The learner averages the weighted output vectors first and takes the length of that mean: the norm of a
# mean, in which outputs of different directions cancel, in place of the mean of norms.
def norm_of_mean(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    weighted = topk_weights_TK.unsqueeze(-1) * outputs_TKD
    saliency_E = torch.zeros(n_experts, dtype=weighted.dtype)
    for e in range(n_experts):
        chosen = topk_ids_TK == e
        if chosen.any():
            saliency_E[e] = weighted[chosen].mean(dim=0).norm()
    return saliency_E


# The learner forgets the expert that nobody chose: 0 / 0 gives NaN there instead of 0.
def idle_nan(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    values = topk_weights_TK * outputs_TKD.norm(dim=-1)
    return torch.stack([values[topk_ids_TK == e].mean() for e in range(n_experts)])


# The learner takes a weighted mean of the lengths: divides by the sum of the expert's weights and not by
# the number of its tokens, so that an expert with small weights scores as high as one with large ones.
def by_weights(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    values = topk_weights_TK * outputs_TKD.norm(dim=-1)
    saliency_E = torch.zeros(n_experts, dtype=values.dtype)
    for e in range(n_experts):
        chosen = topk_ids_TK == e
        if chosen.any():
            saliency_E[e] = values[chosen].sum() / topk_weights_TK[chosen].sum()
    return saliency_E


FRESH = {
    "13.saliency": [
        ("sums", summed, {"sum_not_mean"}),
        ("over all tokens", by_all_tokens, {"over_all_tokens"}),
        ("no weights", unweighted, {"no_weight"}),
        ("norm of the mean", norm_of_mean, {"length_of_the_mean"}),
        ("NaN for an idle expert", idle_nan, {"nan_for_idle"}),
        ("divided by the weights", by_weights, {"weighted_mean"}),
    ],
}
