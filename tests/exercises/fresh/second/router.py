"""The second set, written from the learner's notebooks alone: lessons 00 and 01."""

import math

import torch
import torch.nn.functional as F

# 00.top2_mix


def mix_all_softmax(logits_E, outputs_ED):
    probs = torch.softmax(logits_E, dim=0)
    best = torch.topk(probs, 2)
    return best.values[0] * outputs_ED[best.indices[0]] + best.values[1] * outputs_ED[best.indices[1]]


def mix_divided_by_sum(logits_E, outputs_ED):
    values, ids = logits_E.topk(2)
    weights = values / values.sum()
    return weights @ outputs_ED[ids]


def mix_not_added(logits_E, outputs_ED):
    values, ids = torch.topk(logits_E, k=2)
    w = F.softmax(values, dim=0)
    return w.unsqueeze(1) * outputs_ED[ids]


def mix_orders(logits_E, outputs_ED):
    order = torch.argsort(logits_E)
    two = order[-2:]
    w = torch.softmax(torch.topk(logits_E, 2).values, -1)
    return (w[:, None] * outputs_ED[two]).sum(0)


def mix_softmax_last(logits_E, outputs_ED):
    first = int(logits_E.argmax())
    rest = logits_E.clone()
    rest[first] = 0
    second = int(rest.argmax())
    w = torch.softmax(torch.stack([logits_E[first], logits_E[second]]), 0)
    return w[0] * outputs_ED[first] + w[1] * outputs_ED[second]


def mix_best_alone(logits_E, outputs_ED):
    w = F.softmax(logits_E, dim=-1)
    return w.max() * outputs_ED[w.argmax()]


# 01.router_logits


def logits_einsum(hidden_TD, router_ED):
    return torch.einsum("td,ed->et", hidden_TD.to(torch.float32), router_ED.to(torch.float32))


def logits_cosine(hidden_TD, router_ED):
    h = F.normalize(hidden_TD.float(), dim=-1)
    r = F.normalize(router_ED.float(), dim=-1)
    return h @ r.T


def logits_one_cast(hidden_TD, router_ED):
    return torch.matmul(hidden_TD.float(), router_ED.T)


def logits_cast_back(hidden_TD, router_ED):
    logits = hidden_TD.float() @ router_ED.float().t()
    return logits.to(hidden_TD.dtype)


def logits_attention(hidden_TD, router_ED):
    d = hidden_TD.shape[-1]
    return hidden_TD.float() @ router_ED.float().T / math.sqrt(d)


def logits_numpy(hidden_TD, router_ED):
    out = hidden_TD.detach().float().numpy() @ router_ED.detach().float().numpy().T
    return torch.from_numpy(out)


# 01.topk_gates


def gates_over_tokens(logits_TE, top_k, renormalize):
    p = torch.softmax(logits_TE, 0)
    weights, ids = torch.topk(p, top_k)
    if renormalize:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return ids, weights


def gates_not_assigned(logits_TE, top_k, renormalize):
    weights, ids = logits_TE.softmax(dim=-1).topk(top_k)
    if renormalize:
        weights / weights.sum(dim=-1, keepdim=True)
    return ids, weights


def gates_dense(logits_TE, top_k, renormalize):
    p = logits_TE.softmax(dim=-1)
    ids = p.topk(top_k).indices
    keep = torch.zeros_like(p).scatter(1, ids, 1.0)
    weights = p * keep
    if renormalize:
        weights = weights / weights.sum(1, keepdim=True)
    return ids, weights


def gates_smallest(logits_TE, top_k, renormalize):
    p = torch.softmax(logits_TE, dim=1)
    ids = torch.argsort(p, dim=1)[:, :top_k]
    weights = p.gather(1, ids)
    if renormalize:
        weights = weights / weights.sum(1, keepdim=True)
    return ids, weights


def gates_whole_batch(logits_TE, top_k, renormalize):
    p = F.softmax(logits_TE, dim=1)
    weights, ids = p.topk(top_k, dim=1)
    if renormalize:
        weights /= weights.sum()
    return ids, weights


def gates_renorm_logits(logits_TE, top_k, renormalize):
    values, ids = logits_TE.topk(top_k, dim=-1)
    if renormalize:
        return ids, values / values.sum(-1, keepdim=True)
    return ids, logits_TE.softmax(-1).gather(-1, ids)


# 01.sigmoid_gates


def sig_biased_weights(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(logits_TE) + expert_bias_E
    w, ids = torch.topk(s, top_k, dim=-1)
    return ids, scale * w / w.sum(-1, keepdim=True)


def sig_bias_inside(logits_TE, expert_bias_E, top_k, scale):
    ids = torch.sigmoid(logits_TE + expert_bias_E).topk(top_k, dim=-1)[1]
    s = torch.sigmoid(logits_TE).gather(1, ids)
    return ids, s / s.sum(dim=1, keepdim=True) * scale


def sig_scale_cancels(logits_TE, expert_bias_E, top_k, scale):
    scores = logits_TE.sigmoid()
    ids = (scores + expert_bias_E).topk(top_k).indices
    w = scores.gather(-1, ids) * scale
    w = w / w.sum(-1, keepdim=True)
    return ids, w


def sig_norm_over_all(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(logits_TE)
    s_norm = s / s.sum(dim=-1, keepdim=True)
    _, ids = torch.topk(s + expert_bias_E, top_k)
    return ids, s_norm.gather(1, ids) * scale


def sig_softmax_of_scores(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(logits_TE)
    ids = torch.topk(s + expert_bias_E[None, :], k=top_k, dim=1).indices
    return ids, scale * torch.softmax(torch.gather(s, 1, ids), dim=1)


def sig_bias_subtracted(logits_TE, expert_bias_E, top_k, scale):
    v, ids = (logits_TE.sigmoid() + expert_bias_E).topk(top_k, -1)
    v = v - expert_bias_E[:top_k]
    return ids, scale * v / v.sum(-1, keepdim=True)


FRESH = {
    "00.top2_mix": [
        ("softmax over all experts", mix_all_softmax, {"not_renormalised"}),
        ("logits divided by their sum", mix_divided_by_sum, {"divided_logits"}),
        ("the rows not added", mix_not_added, {"not_summed"}),
        ("ascending ids, descending weights", mix_orders, {"swapped"}),
        ("the best set to 0 to find the second", mix_softmax_last, {"second_by_zero"}),
        ("the best expert alone", mix_best_alone, {"best_alone_weighted"}),
    ],
    "01.router_logits": [
        ("experts first in the einsum", logits_einsum, {"transposed"}),
        ("cosine", logits_cosine, {"cosine"}),
        ("one of two cast", logits_one_cast, {"dtypes_mixed"}),
        ("cast back", logits_cast_back, {"input_dtype"}),
        ("divided by sqrt(D)", logits_attention, {"attention_scale"}),
        ("through numpy", logits_numpy, {"gradient_lost"}),
    ],
    "01.topk_gates": [
        ("softmax over tokens", gates_over_tokens, {"softmax_over_tokens"}),
        ("rescaled and thrown away", gates_not_assigned, {"never_renormalized"}),
        ("weights [T, E]", gates_dense, {"all_experts"}),
        ("ascending sort", gates_smallest, {"smallest"}),
        ("one sum for the batch, in place", gates_whole_batch, {"sum_over_batch"}),
        ("logits over their sum", gates_renorm_logits, {"no_softmax"}),
    ],
    "01.sigmoid_gates": [
        ("weights with the bias", sig_biased_weights, {"bias_in_weight"}),
        ("bias inside the sigmoid", sig_bias_inside, {"bias_on_logits"}),
        ("scale before rescaling", sig_scale_cancels, {"scale_cancels"}),
        ("rescaled over all experts", sig_norm_over_all, {"sum_over_all"}),
        ("softmax of the scores", sig_softmax_of_scores, {"softmax_of_scores"}),
        ("the first K biases subtracted", sig_bias_subtracted, {"first_biases_off"}),
    ],
}
