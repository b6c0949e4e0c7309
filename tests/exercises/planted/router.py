"""Answers to lesson 01 as learners write them: wrong ones by misconception, and right ones."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from planted import more_tenth
from planted import router_families as families
from planted import router_more as more
from planted import router_sigmoid as sigmoid


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


def gates_crossed(logits_TE, top_k, renormalize):
    probs = F.softmax(logits_TE, dim=-1)
    ids = probs.argsort(dim=-1)[:, -top_k:]  # rising, while topk falls
    w = probs.topk(top_k, dim=-1).values
    return ids, w / w.sum(dim=-1, keepdim=True) if renormalize else w


RIGHT = {
    "01.router_logits": [logits_loop, logits_einsum],
    "01.topk_gates": [gates_from_logits, gates_by_sorting, gates_masked],
    "01.sigmoid_gates": [sigmoid.by_sorting, sigmoid.deepseek],
    "01.gate_family": [families.family_nearest, families.family_inverted],
}
WRONG = {
    "01.router_logits": {
        **more.LOGITS,
        "input_dtype": logits_in_bf16,
        "late_fp32": logits_rounded,
        "probabilities": logits_softmaxed,
        "reshape": logits_viewed,
        "cosine": logits_cosine,
        "attention_scale": logits_like_attention,
    },
    "01.topk_gates": {
        **more.GATES,
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
        "weights_misplaced": gates_crossed,
        "bare_exp": gates_overflow,
        "gradient_lost": gates_in_python,
    },
    "01.sigmoid_gates": {
        **more.SIGMOIDS,
        "swapped_return": sigmoid.values_first,
        "bias_in_weight": sigmoid.biased_weight,
        "bias_ignored": sigmoid.unbiased,
        "bias_on_logits": sigmoid.biased_logits,
        "bias_everywhere": sigmoid.linear_bias,
        "largest_scores": sigmoid.two_topks,
        "softmax_scores": sigmoid.softmaxed,
        "sigmoid_of_softmax": sigmoid.after_softmax,
        "not_renormalized": sigmoid.bare,
        "sum_over_all": sigmoid.over_everything,
        "scale_cancels": sigmoid.scaled_first,
        "softmax_of_scores": sigmoid.then_softmax,
        "gradient_lost": sigmoid.in_numpy,
    },
    "01.gate_family": {
        **more.FAMILIES,
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

more_tenth.add_to(WRONG)
