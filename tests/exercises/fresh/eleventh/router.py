"""Lessons 00 and 01: the next most plausible ones, two to five an exercise."""

import torch
import torch.nn.functional as F


def smallest_two(logits_E, outputs_ED):
    ids = logits_E.argsort()[:2]
    return logits_E[ids].softmax(dim=-1) @ outputs_ED[ids]


def even_halves(logits_E, outputs_ED):
    return outputs_ED[logits_E.topk(2).indices].mean(dim=0)


def weights_the_other_way_round(logits_E, outputs_ED):
    values, ids = logits_E.sort()
    return values[-2:].flip(0).softmax(dim=-1) @ outputs_ED[ids[-2:]]


def topk_of_the_outputs(logits_E, outputs_ED):
    weights = logits_E.topk(2).values.softmax(dim=-1)
    return weights @ outputs_ED.topk(2, dim=0).values


def scaled_by_the_root(hidden_TD, router_ED):
    return hidden_TD.float() @ router_ED.float().T / hidden_TD.shape[1] ** 0.5


def cosine(hidden_TD, router_ED):
    return F.normalize(hidden_TD.float(), dim=-1) @ F.normalize(router_ED.float(), dim=-1).T


def in_doubles(hidden_TD, router_ED):
    return hidden_TD.double() @ router_ED.double().T


def always_all(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    return ids, weights


def renormalised_the_other_way(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    if not renormalize:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return ids, weights


def along_the_tokens(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.softmax(dim=-1).topk(top_k, dim=0)
    if renormalize:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return ids, weights


def logits_divided(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.topk(top_k, dim=-1)
    if renormalize:
        return ids, weights / weights.sum(dim=-1, keepdim=True)
    return ids, weights.softmax(dim=-1)


def rescaled_by_all(logits_TE, expert_bias_E, top_k, scale):
    scores = logits_TE.sigmoid()
    ids = (scores + expert_bias_E).topk(top_k, dim=-1).indices
    return ids, scale * scores.gather(-1, ids) / scores.sum(dim=-1, keepdim=True)


def softmax_scores(logits_TE, expert_bias_E, top_k, scale):
    scores = logits_TE.softmax(dim=-1)
    ids = (scores + expert_bias_E).topk(top_k, dim=-1).indices
    weights = scores.gather(-1, ids)
    return ids, scale * weights / weights.sum(dim=-1, keepdim=True)


def bias_inside_the_sigmoid(logits_TE, expert_bias_E, top_k, scale):
    scores = (logits_TE + expert_bias_E).sigmoid()
    weights, ids = scores.topk(top_k, dim=-1)
    return ids, scale * weights / weights.sum(dim=-1, keepdim=True)


def one_token_looked_at(logits_TE, topk_ids_TK, topk_weights_TK):
    chosen = logits_TE[0, topk_ids_TK[0]]
    w = topk_weights_TK[0]
    if torch.allclose(w, chosen.softmax(-1), atol=1e-5):
        return "topk_softmax"
    if torch.allclose(w, logits_TE[0].softmax(-1)[topk_ids_TK[0]], atol=1e-5):
        return "softmax_topk"
    if torch.allclose(w, chosen.sigmoid(), atol=1e-5):
        return "topk_sigmoid"
    shares = chosen.sigmoid() / chosen.sigmoid().sum()
    return "sigmoid" if torch.allclose(w / w.sum(), shares, atol=1e-5) else "sqrt_softplus"


def exactly_equal(logits_TE, topk_ids_TK, topk_weights_TK):
    chosen = logits_TE.gather(-1, topk_ids_TK)
    sigmoid = chosen.sigmoid()
    shares = topk_weights_TK / topk_weights_TK.sum(-1, keepdim=True)
    if torch.equal(topk_weights_TK, chosen.softmax(-1)):
        return "topk_softmax"
    if torch.equal(topk_weights_TK, logits_TE.softmax(-1).gather(-1, topk_ids_TK)):
        return "softmax_topk"
    if torch.equal(topk_weights_TK, sigmoid):
        return "topk_sigmoid"
    if torch.equal(shares, sigmoid / sigmoid.sum(-1, keepdim=True)):
        return "sigmoid"
    return "sqrt_softplus"


FRESH = {
    "00.top2_mix": [
        ("the two smallest", smallest_two, {"smallest"}),
        ("the two averaged", even_halves, {"average"}),
        ("weights the other way round", weights_the_other_way_round, {"swapped"}),
        ("the largest two of each column", topk_of_the_outputs, set()),
    ],
    "01.router_logits": [
        ("divided by the root of D", scaled_by_the_root, {"attention_scale"}),
        ("cosines", cosine, {"cosine"}),
        ("fp64", in_doubles, {"other_dtype"}),
    ],
    "01.topk_gates": [
        ("never rescaled", always_all, {"never_renormalized"}),
        ("renormalize the wrong way round", renormalised_the_other_way, {"flag_swapped"}),
        ("top-k along the tokens", along_the_tokens, {"sliced_rows"}),
        ("logits divided by their sum", logits_divided, set()),
    ],
    "01.sigmoid_gates": [
        ("divided by the sum of all scores", rescaled_by_all, {"sum_over_all"}),
        ("softmax scores", softmax_scores, {"softmax_scores"}),
        ("bias in the sigmoid, for choice and weight", bias_inside_the_sigmoid, {"bias_everywhere"}),
    ],
    "01.gate_family": [
        ("the first token only, top-k weights compared", one_token_looked_at, {"one_token_decides"}),
        ("equality of floats", exactly_equal, set()),
    ],
}
