"""Lessons 00 and 01: the two best experts, logits, gates, and which gate it was."""

import torch
import torch.nn.functional as F

# 00.top2_mix


def softmax_over_all_kept(logits_E, outputs_ED):
    probs = logits_E.softmax(dim=-1)
    values, ids = probs.topk(2)
    return values @ outputs_ED[ids]


def everyone_speaks(logits_E, outputs_ED):
    return logits_E.softmax(dim=-1) @ outputs_ED


def raw_logits_weigh(logits_E, outputs_ED):
    values, ids = logits_E.topk(2)
    return values @ outputs_ED[ids]


def divided_by_their_sum(logits_E, outputs_ED):
    values, ids = logits_E.topk(2)
    return (values / values.sum()) @ outputs_ED[ids]


def first_two_rows(logits_E, outputs_ED):
    weights = logits_E.topk(2).values.softmax(dim=-1)
    return weights @ outputs_ED[:2]


def never_summed(logits_E, outputs_ED):
    values, ids = logits_E.topk(2)
    weights = values.softmax(dim=-1)
    return weights[:, None] * outputs_ED[ids]


# 01.router_logits


def in_the_given_dtype(hidden_TD, router_ED):
    return hidden_TD @ router_ED.T


def cast_at_the_end(hidden_TD, router_ED):
    return (hidden_TD @ router_ED.T).float()


def probabilities(hidden_TD, router_ED):
    return (hidden_TD.float() @ router_ED.float().T).softmax(dim=-1)


def experts_first(hidden_TD, router_ED):
    return router_ED.float() @ hidden_TD.float().T


def filled_by_item(hidden_TD, router_ED):
    logits = torch.zeros(len(hidden_TD), len(router_ED))
    for t in range(len(hidden_TD)):
        for e in range(len(router_ED)):
            logits[t, e] = (hidden_TD[t].float() * router_ED[e].float()).sum().item()
    return logits


def one_of_two_cast(hidden_TD, router_ED):
    return hidden_TD.float() @ router_ED.T


# 01.topk_gates


def chosen_only_softmax(logits_TE, top_k, renormalize):
    values, ids = logits_TE.topk(top_k, dim=-1)
    weights = values.softmax(dim=-1)
    if renormalize:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return ids, weights


def softmax_down_the_tokens(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.softmax(dim=0).topk(top_k, dim=-1)
    if renormalize:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return ids, weights


def keepdim_forgotten(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    if renormalize:
        weights = weights / weights.sum(dim=-1)
    return ids, weights


def softmax_again(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    if renormalize:
        weights = weights.softmax(dim=-1)
    return ids, weights


def values_and_indices(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    if renormalize:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return weights, ids


def one_sum_for_the_batch(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    if renormalize:
        weights = weights / weights.sum()
    return ids, weights


# 01.sigmoid_gates


def bias_in_the_weights(logits_TE, expert_bias_E, top_k, scale):
    values, ids = (logits_TE.sigmoid() + expert_bias_E).topk(top_k, dim=-1)
    return ids, scale * values / values.sum(dim=-1, keepdim=True)


def bias_forgotten(logits_TE, expert_bias_E, top_k, scale):
    values, ids = logits_TE.sigmoid().topk(top_k, dim=-1)
    return ids, scale * values / values.sum(dim=-1, keepdim=True)


def bias_on_the_logits(logits_TE, expert_bias_E, top_k, scale):
    ids = (logits_TE + expert_bias_E).topk(top_k, dim=-1).indices
    scores = logits_TE.sigmoid().gather(-1, ids)
    return ids, scale * scores / scores.sum(dim=-1, keepdim=True)


def scaled_then_normalised(logits_TE, expert_bias_E, top_k, scale):
    scores = logits_TE.sigmoid()
    ids = (scores + expert_bias_E).topk(top_k, dim=-1).indices
    weights = scores.gather(-1, ids) * scale
    return ids, weights / weights.sum(dim=-1, keepdim=True)


def only_scaled(logits_TE, expert_bias_E, top_k, scale):
    scores = logits_TE.sigmoid()
    ids = (scores + expert_bias_E).topk(top_k, dim=-1).indices
    return ids, scores.gather(-1, ids) * scale


def softmax_of_the_chosen_scores(logits_TE, expert_bias_E, top_k, scale):
    scores = logits_TE.sigmoid()
    ids = (scores + expert_bias_E).topk(top_k, dim=-1).indices
    return ids, scale * scores.gather(-1, ids).softmax(dim=-1)


# 01.gate_family


def by_their_sum(logits_TE, topk_ids_TK, topk_weights_TK):
    sums = topk_weights_TK.sum(dim=-1)
    if torch.allclose(sums, torch.ones_like(sums)):
        return "topk_softmax"
    if (sums < 1).all():
        return "softmax_topk"
    return "sigmoid"


def scale_forgotten(logits_TE, topk_ids_TK, topk_weights_TK):
    chosen = logits_TE.gather(-1, topk_ids_TK)
    sigmoid = chosen.sigmoid()
    softplus = F.softplus(chosen).sqrt()
    families = {
        "topk_softmax": chosen.softmax(-1),
        "softmax_topk": logits_TE.softmax(-1).gather(-1, topk_ids_TK),
        "topk_sigmoid": sigmoid,
        "sigmoid": sigmoid / sigmoid.sum(-1, keepdim=True),
        "sqrt_softplus": softplus / softplus.sum(-1, keepdim=True),
    }
    for name, weights in families.items():
        if torch.allclose(weights, topk_weights_TK, atol=1e-5):
            return name
    return "softmax_topk_renorm"


def sigmoid_before_topk_sigmoid(logits_TE, topk_ids_TK, topk_weights_TK):
    chosen = logits_TE.gather(-1, topk_ids_TK)
    shares = topk_weights_TK / topk_weights_TK.sum(-1, keepdim=True)
    sigmoid = chosen.sigmoid()
    if torch.allclose(topk_weights_TK, chosen.softmax(-1), atol=1e-5):
        return "topk_softmax"
    if torch.allclose(topk_weights_TK, logits_TE.softmax(-1).gather(-1, topk_ids_TK), atol=1e-5):
        return "softmax_topk"
    if torch.allclose(shares, sigmoid / sigmoid.sum(-1, keepdim=True), atol=1e-5):
        return "sigmoid"
    if torch.allclose(topk_weights_TK, sigmoid, atol=1e-5):
        return "topk_sigmoid"
    return "sqrt_softplus"


def its_own_topk(logits_TE, topk_ids_TK, topk_weights_TK):
    chosen = logits_TE.topk(topk_ids_TK.shape[1], dim=-1).values
    weights = topk_weights_TK.sort(dim=-1, descending=True).values
    shares = weights / weights.sum(-1, keepdim=True)
    sigmoid = chosen.sigmoid()
    if torch.allclose(weights, chosen.softmax(-1), atol=1e-5):
        return "topk_softmax"
    if torch.allclose(weights, logits_TE.softmax(-1).topk(chosen.shape[1], dim=-1).values, atol=1e-5):
        return "softmax_topk"
    if torch.allclose(weights, sigmoid, atol=1e-5):
        return "topk_sigmoid"
    if torch.allclose(shares, sigmoid / sigmoid.sum(-1, keepdim=True), atol=1e-5):
        return "sigmoid"
    return "sqrt_softplus"


def all_compared_as_shares(logits_TE, topk_ids_TK, topk_weights_TK):
    chosen = logits_TE.gather(-1, topk_ids_TK)
    shares = topk_weights_TK / topk_weights_TK.sum(-1, keepdim=True)
    families = {
        "softmax_topk": logits_TE.softmax(-1).gather(-1, topk_ids_TK),
        "sigmoid": chosen.sigmoid(),
        "sqrt_softplus": F.softplus(chosen).sqrt(),
        "topk_sigmoid": chosen.sigmoid(),
        "topk_softmax": chosen.softmax(-1),
    }
    for name, scores in families.items():
        if torch.allclose(shares, scores / scores.sum(-1, keepdim=True), atol=1e-5):
            return name
    return "topk_softmax"


def root_forgotten(logits_TE, topk_ids_TK, topk_weights_TK):
    chosen = logits_TE.gather(-1, topk_ids_TK)
    shares = topk_weights_TK / topk_weights_TK.sum(-1, keepdim=True)
    sigmoid, softplus = chosen.sigmoid(), F.softplus(chosen)
    if torch.allclose(topk_weights_TK, logits_TE.softmax(-1).gather(-1, topk_ids_TK), atol=1e-5):
        return "softmax_topk"
    if torch.allclose(topk_weights_TK, sigmoid, atol=1e-5):
        return "topk_sigmoid"
    if torch.allclose(shares, sigmoid / sigmoid.sum(-1, keepdim=True), atol=1e-5):
        return "sigmoid"
    if torch.allclose(shares, softplus / softplus.sum(-1, keepdim=True), atol=1e-5):
        return "sqrt_softplus"
    return "topk_softmax"


FRESH = {
    "00.top2_mix": [
        (
            "weights of a softmax over all experts",
            softmax_over_all_kept,
            {"not_renormalised"},
        ),
        ("all experts are mixed", everyone_speaks, {"everyone"}),
        ("the two logits themselves are the weights", raw_logits_weigh, {"raw_logits"}),
        ("the two logits divided by their sum", divided_by_their_sum, {"divided_logits"}),
        ("the first two rows instead of the chosen ones", first_two_rows, {"first_rows"}),
        ("two weighted rows, never added up", never_summed, {"not_summed"}),
    ],
    "01.router_logits": [
        ("multiplied in the inputs' dtype", in_the_given_dtype, {"input_dtype"}),
        ("cast to fp32 after the product", cast_at_the_end, {"late_fp32"}),
        ("a softmax on top", probabilities, {"probabilities"}),
        ("[E, T]", experts_first, {"transposed"}),
        ("filled number by number with item()", filled_by_item, {"gradient_lost"}),
        ("only the hidden states cast", one_of_two_cast, {"dtypes_mixed"}),
    ],
    "01.topk_gates": [
        ("softmax over the chosen, whatever renormalize says", chosen_only_softmax, {"always_renormalized"}),
        ("softmax over the tokens", softmax_down_the_tokens, {"softmax_over_tokens"}),
        ("divided by a sum without keepdim", keepdim_forgotten, {"keepdim_missing"}),
        ("a second softmax for rescaling", softmax_again, {"softmax_twice"}),
        ("weights and ids in the order of topk", values_and_indices, {"swapped_return"}),
        ("divided by the sum of the whole batch", one_sum_for_the_batch, {"sum_over_batch"}),
    ],
    "01.sigmoid_gates": [
        ("biased scores weigh", bias_in_the_weights, {"bias_in_weight"}),
        ("chosen without the bias", bias_forgotten, {"bias_ignored"}),
        ("bias added to the logits", bias_on_the_logits, {"bias_on_logits"}),
        ("scaled first, so that rescaling undoes it", scaled_then_normalised, {"scale_cancels"}),
        ("not rescaled to sum to 1", only_scaled, {"not_renormalized"}),
        ("rescaled with a softmax of the scores", softmax_of_the_chosen_scores, {"softmax_of_scores"}),
    ],
    "01.gate_family": [
        ("looks only at what the weights sum to", by_their_sum, {"sums_only"}),
        ("sigmoid and sqrt_softplus compared without a scale", scale_forgotten, {"scale_assumed"}),
        (
            "sigmoid, up to a scale, before topk_sigmoid",
            sigmoid_before_topk_sigmoid,
            {"sigmoid_merged"},
        ),
        ("its own top-k instead of the given ids", its_own_topk, {"choice_recomputed"}),
        ("everything compared up to a scale", all_compared_as_shares, {"ratios_only"}),
        ("softplus without the root", root_forgotten, {"root_forgotten"}),
    ],
}
