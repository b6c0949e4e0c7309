"""Answers to lesson 01 as learners write them: wrong ones by misconception, and right ones."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from planted import router_families as families


def logits_loop(hidden_TD, router_ED):
    rows = [[torch.dot(h.float(), r.float()) for r in router_ED] for h in hidden_TD]
    return torch.stack([torch.stack(row) for row in rows])


def logits_einsum(hidden, router):
    return torch.einsum("td,ed->te", hidden.to(torch.float32), router.to(torch.float32))


def logits_in_bf16(hidden_TD, router_ED):
    return F.linear(hidden_TD, router_ED)


def logits_rounded(hidden_TD, router_ED):
    return F.linear(hidden_TD, router_ED).to(torch.float32)


def logits_softmaxed(hidden_TD, router_ED):
    return F.softmax(F.linear(hidden_TD.float(), router_ED.float()), dim=1)


def logits_viewed(hidden_TD, router_ED):
    n_experts, d_model = router_ED.shape
    return torch.matmul(hidden_TD.float(), router_ED.float().view(d_model, n_experts))


def logits_cosine(hidden_TD, router_ED):
    h, r = hidden_TD.float(), router_ED.float()
    h = h / h.norm(dim=-1, keepdim=True)
    r = r / r.norm(dim=-1, keepdim=True)
    return h @ r.T


def logits_like_attention(hidden_TD, router_ED):
    return hidden_TD.float() @ router_ED.float().T / math.sqrt(hidden_TD.size(-1))


# topk_gates


def gates_from_logits(logits_TE, top_k, renormalize):
    """Never takes the softmax of everything: log-sum-exp gives its denominator."""
    values, ids = torch.topk(logits_TE, top_k)
    total = values if renormalize else logits_TE
    return ids, torch.exp(values - torch.logsumexp(total, dim=1, keepdim=True))


def gates_by_sorting(logits_TE, top_k, renormalize):
    p = F.softmax(logits_TE, dim=1)
    ids = p.argsort(dim=1)[:, -top_k:]
    w = torch.gather(p, 1, ids)
    return ids, w / w.sum(1)[:, None] if renormalize else w


def gates_in_python(logits_TE, top_k, renormalize):
    ids, weights = [], []
    for row in logits_TE.tolist():
        e = [math.exp(z - max(row)) for z in row]
        best = sorted(range(len(row)), key=lambda i: -row[i])[:top_k]
        total = sum(e[i] for i in best) if renormalize else sum(e)
        ids.append(best)
        weights.append([e[i] / total for i in best])
    return np.array(ids), np.array(weights)


def gates_masked(logits_TE, top_k, renormalize):
    kept = torch.zeros_like(logits_TE, dtype=torch.bool)
    ids = logits_TE.topk(top_k, dim=-1).indices
    kept.scatter_(1, ids, True)
    p = (logits_TE.masked_fill(~kept, -torch.inf) if renormalize else logits_TE).softmax(-1)
    return ids, p.gather(1, ids)


def gates_rows(logits_TE, top_k, renormalize):
    probs = torch.softmax(logits_TE, dim=-1)
    ids = torch.argsort(probs)[-top_k:]
    w = probs.gather(-1, ids) if len(ids) <= len(probs) else probs
    return ids, w / w.sum(-1, keepdim=True) if renormalize else w


def gates_columns(logits_TE, top_k, renormalize):
    probs = torch.softmax(logits_TE, 0)
    w, ids = torch.topk(probs, top_k, -1)
    if renormalize:
        w /= w.sum(-1, keepdim=True)
    return ids, w


def gates_mixtral_always(logits_TE, top_k, renormalize):
    w, ids = torch.topk(logits_TE, top_k, dim=-1)
    return ids, F.softmax(w, dim=-1)


def gates_divided_by_one(logits_TE, top_k, renormalize):
    probs = F.softmax(logits_TE, dim=-1)
    if renormalize:
        probs = probs / probs.sum(dim=-1, keepdim=True)
    w, ids = probs.topk(top_k, dim=-1)
    return ids, w


def gates_if_not(logits_TE, top_k, renormalize):
    w, ids = F.softmax(logits_TE, dim=-1).topk(top_k, dim=-1)
    if not renormalize:
        w = w / w.sum(dim=-1, keepdim=True)
    return ids, w


def gates_lowest(logits_TE, top_k, renormalize):
    probs = F.softmax(logits_TE, dim=-1)
    ids = torch.argsort(probs, dim=-1)[..., :top_k]
    w = probs.gather(-1, ids)
    return ids, w / w.sum(dim=-1, keepdim=True) if renormalize else w


def gates_two_softmaxes(logits_TE, top_k, renormalize):
    w, ids = torch.topk(F.softmax(logits_TE, -1), top_k, dim=-1)
    if renormalize:
        w = F.softmax(w, -1)
    return ids, w


def gates_values_first(logits_TE, top_k, renormalize):
    p = F.softmax(logits_TE, -1)
    top = torch.topk(p, top_k, dim=-1)
    return (top.values / top.values.sum(-1, keepdim=True), top.indices) if renormalize else tuple(top)


def gates_bare_logits(logits_TE, top_k, renormalize):
    w, ids = torch.topk(logits_TE, top_k, dim=-1)
    if renormalize:
        w = w / w.sum(dim=-1, keepdim=True)
    return ids, w


def gates_one_sum(logits_TE, top_k, renormalize):
    w, ids = torch.topk(F.softmax(logits_TE, -1), top_k, dim=-1)
    if renormalize:
        w = w / w.sum()
    return ids, w


def gates_overflow(logits_TE, top_k, renormalize):
    e = torch.exp(logits_TE)
    w, ids = (e / e.sum(-1, keepdim=True)).topk(top_k, -1)
    return ids, w / w.sum(-1, keepdim=True) if renormalize else w


# sigmoid_gates


def sigmoid_by_sorting(logits_TE, expert_bias_E, top_k, scale):
    s = 1 / (1 + torch.exp(-logits_TE))
    ids = (s + expert_bias_E[None, :]).argsort(dim=-1, descending=True)[:, :top_k]
    w = torch.take_along_dim(s, ids, dim=-1)
    return ids, scale * (w / w.sum(dim=-1, keepdim=True))


def sigmoid_in_numpy(logits_TE, expert_bias_E, top_k, scale):
    s = 1 / (1 + np.exp(-logits_TE.numpy()))
    ids = np.argpartition(-(s + expert_bias_E.numpy()), top_k - 1, axis=1)[:, :top_k]
    w = np.take_along_axis(s, ids, axis=1)
    return ids, w / (w.sum(1, keepdims=True) + 1e-20) * scale


def sigmoid_deepseek(logits_TE, expert_bias_E, top_k, scale):
    """Keep the originals, add the bias, gather, divide, scale: the order of DeepSeek's own code."""
    scores = logits_TE.sigmoid()
    original = scores
    scores = scores + expert_bias_E
    ids = torch.topk(scores, top_k, dim=-1)[1]
    weights = original.gather(1, ids)
    weights /= weights.sum(dim=-1, keepdim=True)
    weights *= scale
    return ids, weights


def sigmoid_values_first(logits_TE, expert_bias_E, top_k, scale):
    ids, w = sigmoid_deepseek(logits_TE, expert_bias_E, top_k, scale)
    return w, ids


def sigmoid_biased_weight(logits_TE, expert_bias_E, top_k, scale):
    scores = torch.sigmoid(logits_TE) + expert_bias_E
    w, ids = scores.topk(top_k, dim=-1)
    return ids, w / w.sum(dim=-1, keepdim=True) * scale


def sigmoid_unbiased(logits_TE, expert_bias_E, top_k, scale):
    w, ids = torch.sigmoid(logits_TE).topk(top_k, dim=-1)
    return ids, w / w.sum(dim=-1, keepdim=True) * scale


def sigmoid_biased_logits(logits_TE, expert_bias_E, top_k, scale):
    ids = torch.sigmoid(logits_TE + expert_bias_E).topk(top_k, dim=-1).indices
    w = torch.sigmoid(logits_TE).gather(1, ids)
    return ids, w / w.sum(dim=-1, keepdim=True) * scale


def sigmoid_softmaxed(logits_TE, expert_bias_E, top_k, scale):
    s = F.softmax(logits_TE, dim=-1)
    ids = (s + expert_bias_E).topk(top_k, dim=-1).indices
    w = s.gather(1, ids)
    return ids, w / w.sum(dim=-1, keepdim=True) * scale


def sigmoid_after_softmax(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(F.softmax(logits_TE, dim=-1))
    ids = (s + expert_bias_E).topk(top_k, dim=-1).indices
    w = s.gather(1, ids)
    return ids, w / w.sum(dim=-1, keepdim=True) * scale


def sigmoid_bare(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(logits_TE)
    ids = (s + expert_bias_E).topk(top_k, dim=-1).indices
    return ids, s.gather(1, ids) * scale


def sigmoid_over_everything(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(logits_TE)
    ids = (s + expert_bias_E).topk(top_k, dim=-1).indices
    s = s / s.sum(dim=-1, keepdim=True)
    return ids, s.gather(1, ids) * scale


def sigmoid_scaled_first(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(logits_TE)
    ids = (s + expert_bias_E).topk(top_k, dim=-1).indices
    w = s.gather(1, ids) * scale
    return ids, w / w.sum(dim=-1, keepdim=True)


def sigmoid_then_softmax(logits_TE, expert_bias_E, top_k, scale):
    s = torch.sigmoid(logits_TE)
    ids = (s + expert_bias_E).topk(top_k, dim=-1).indices
    return ids, F.softmax(s.gather(1, ids), dim=-1) * scale


RIGHT = {
    "01.router_logits": [logits_loop, logits_einsum],
    "01.topk_gates": [gates_from_logits, gates_by_sorting, gates_in_python, gates_masked],
    "01.sigmoid_gates": [sigmoid_by_sorting, sigmoid_in_numpy, sigmoid_deepseek],
    "01.gate_family": [families.family_nearest, families.family_inverted],
}
WRONG = {
    "01.router_logits": {
        "input_dtype": logits_in_bf16,
        "late_fp32": logits_rounded,
        "probabilities": logits_softmaxed,
        "reshape": logits_viewed,
        "cosine": logits_cosine,
        "attention_scale": logits_like_attention,
    },
    "01.topk_gates": {
        "swapped_return": gates_values_first,
        "no_softmax": gates_bare_logits,
        "sliced_rows": gates_rows,
        "softmax_over_tokens": gates_columns,
        "always_renormalized": gates_mixtral_always,
        "never_renormalized": gates_divided_by_one,
        "flag_swapped": gates_if_not,
        "smallest": gates_lowest,
        "softmax_twice": gates_two_softmaxes,
        "sum_over_batch": gates_one_sum,
        "bare_exp": gates_overflow,
    },
    "01.sigmoid_gates": {
        "swapped_return": sigmoid_values_first,
        "bias_in_weight": sigmoid_biased_weight,
        "bias_ignored": sigmoid_unbiased,
        "bias_on_logits": sigmoid_biased_logits,
        "softmax_scores": sigmoid_softmaxed,
        "sigmoid_of_softmax": sigmoid_after_softmax,
        "not_renormalized": sigmoid_bare,
        "sum_over_all": sigmoid_over_everything,
        "scale_cancels": sigmoid_scaled_first,
        "softmax_of_scores": sigmoid_then_softmax,
    },
    "01.gate_family": {
        "sums_only": families.family_by_sum,
        "scale_assumed": families.family_scale_one,
        "choice_recomputed": families.family_own_topk,
        "sigmoid_merged": families.family_shares_first,
        "root_forgotten": families.family_no_root,
        "softmax_over_chosen": families.family_always_divided,
        "names_swapped": families.family_misnamed,
        "softmax_axis": families.family_columns,
    },
}
