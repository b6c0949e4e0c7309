"""Fresh wrong answers: routers and gates (lessons 01 and 06)."""

import torch
import torch.nn.functional as F

# 01.router_logits


def no_transpose(hidden_TD, router_ED):
    return hidden_TD.float() @ router_ED.float()


def no_float(hidden_TD, router_ED):
    return hidden_TD @ router_ED.T


def float_at_the_end(hidden_TD, router_ED):
    return F.linear(hidden_TD, router_ED).float()


def with_softmax(hidden_TD, router_ED):
    return F.softmax(hidden_TD.float() @ router_ED.float().T, dim=1)


def experts_first(hidden_TD, router_ED):
    return router_ED.float() @ hidden_TD.float().T


def logits_without_graph(hidden_TD, router_ED):
    out = torch.zeros(len(hidden_TD), len(router_ED))
    for t in range(len(hidden_TD)):
        for e in range(len(router_ED)):
            out[t, e] = (hidden_TD[t].float() * router_ED[e].float()).sum().item()
    return out


# 01.topk_gates


def topk_no_keepdim(logits_TE, top_k, renormalize):
    w, ids = logits_TE.softmax(-1).topk(top_k, dim=-1)
    if renormalize:
        w = w / w.sum(-1)
    return ids, w


def topk_fancy_index(logits_TE, top_k, renormalize):
    ids = logits_TE.topk(top_k, dim=-1).indices
    w = logits_TE.softmax(-1)[ids]
    if renormalize:
        w = w / w.sum(-1, keepdim=True)
    return ids, w


def topk_of_two(logits_TE, top_k, renormalize):
    w, ids = logits_TE.softmax(-1).topk(2, dim=-1)
    if renormalize:
        w = w / w.sum(-1, keepdim=True)
    return ids, w


def topk_always_softmax_after(logits_TE, top_k, renormalize):
    v, ids = logits_TE.topk(top_k, dim=-1)
    return ids, v.softmax(-1)


def topk_probs_first(logits_TE, top_k, renormalize):
    w, ids = logits_TE.softmax(-1).topk(top_k, dim=-1)
    if renormalize:
        w = w / w.sum(-1, keepdim=True)
    return w, ids


def topk_softmax_again(logits_TE, top_k, renormalize):
    w, ids = torch.topk(torch.softmax(logits_TE, dim=-1), top_k)
    if renormalize:
        w = torch.softmax(w, dim=-1)
    return ids, w


# 01.gate_family


def _near(a, b):
    return torch.allclose(a, b, atol=1e-3)


def family_else_softmax(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    w = topk_weights_TK
    if not _near(w.sum(-1), torch.ones(len(w))):
        if _near(w, logits_TE.softmax(-1).gather(1, topk_ids_TK)):
            return "softmax_topk"
        return "topk_sigmoid" if _near(w, z.sigmoid()) else "sigmoid"
    return "topk_softmax"


def family_exact_sigmoid(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    w = topk_weights_TK
    if _near(w, z.softmax(-1)):
        return "topk_softmax"
    if _near(w, logits_TE.softmax(-1).gather(1, topk_ids_TK)):
        return "softmax_topk"
    if _near(w, z.sigmoid()):
        return "topk_sigmoid"
    s = z.sigmoid()
    if _near(w, s / s.sum(-1, keepdim=True)):
        return "sigmoid"
    return "sqrt_softplus"


def family_softplus(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    w = topk_weights_TK
    if _near(w, z.softmax(-1)):
        return "topk_softmax"
    if _near(w, logits_TE.softmax(-1).gather(1, topk_ids_TK)):
        return "softmax_topk"
    if _near(w, z.sigmoid()):
        return "topk_sigmoid"
    s = F.softplus(z)
    if _near(w / w.sum(-1, keepdim=True), s / s.sum(-1, keepdim=True)):
        return "sqrt_softplus"
    return "sigmoid"


def family_two_kinds(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    w = topk_weights_TK / topk_weights_TK.sum(-1, keepdim=True)
    s = z.sigmoid()
    if _near(w, z.softmax(-1)):
        return "topk_softmax"
    return "sigmoid" if _near(w, s / s.sum(-1, keepdim=True)) else "sqrt_softplus"


def family_own_choice(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.topk(topk_ids_TK.shape[1], dim=-1).values
    w = topk_weights_TK
    if _near(w, z.softmax(-1)):
        return "topk_softmax"
    if _near(w, logits_TE.softmax(-1).topk(w.shape[1]).values):
        return "softmax_topk"
    if _near(w, z.sigmoid()):
        return "topk_sigmoid"
    s = z.sigmoid()
    same = _near(w / w.sum(-1, keepdim=True), s / s.sum(-1, keepdim=True))
    return "sigmoid" if same else "sqrt_softplus"


def family_names_by_ear(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    w = topk_weights_TK
    if _near(w, z.softmax(-1)):
        return "softmax_topk"
    if _near(w, logits_TE.softmax(-1).gather(1, topk_ids_TK)):
        return "topk_softmax"
    if _near(w, z.sigmoid()):
        return "topk_sigmoid"
    s = z.sigmoid()
    same = _near(w / w.sum(-1, keepdim=True), s / s.sum(-1, keepdim=True))
    return "sigmoid" if same else "sqrt_softplus"


# 06.group_limited


def _choose(scores_TE, x, top_k):
    ids = x.topk(top_k, dim=-1).indices
    w = scores_TE.gather(1, ids)
    return ids, w / w.sum(-1, keepdim=True)


def _kept(worth_TG, n):
    return torch.zeros_like(worth_TG).scatter(1, worth_TG.topk(n, dim=-1).indices, 1.0).bool()


def groups_repeat(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    x = scores_TE + expert_bias_E
    worth = x.view(len(x), n_groups, -1).topk(2, dim=-1).values.sum(-1)
    keep = _kept(worth, groups_per_token).repeat(1, x.shape[1] // n_groups)
    return _choose(scores_TE, x.masked_fill(~keep, float("-inf")), top_k)


def groups_choice_unbiased(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    x = scores_TE + expert_bias_E
    worth = x.view(len(x), n_groups, -1).topk(2, dim=-1).values.sum(-1)
    keep = _kept(worth, groups_per_token).repeat_interleave(x.shape[1] // n_groups, dim=1)
    return _choose(scores_TE, scores_TE.masked_fill(~keep, float("-inf")), top_k)


def groups_bias_ignored(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    x = scores_TE
    worth = x.view(len(x), n_groups, -1).topk(2, dim=-1).values.sum(-1)
    keep = _kept(worth, groups_per_token).repeat_interleave(x.shape[1] // n_groups, dim=1)
    return _choose(scores_TE, x.masked_fill(~keep, float("-inf")), top_k)


def groups_zero_mask(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    x = scores_TE + expert_bias_E
    worth = x.view(len(x), n_groups, -1).topk(2, dim=-1).values.sum(-1)
    keep = _kept(worth, groups_per_token).repeat_interleave(x.shape[1] // n_groups, dim=1)
    return _choose(scores_TE, x * keep, top_k)


def groups_max(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    x = scores_TE + expert_bias_E
    worth = x.view(len(x), n_groups, -1).amax(-1)
    keep = _kept(worth, groups_per_token).repeat_interleave(x.shape[1] // n_groups, dim=1)
    return _choose(scores_TE, x.masked_fill(~keep, float("-inf")), top_k)


def groups_not_rescaled(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    x = scores_TE + expert_bias_E
    worth = x.view(len(x), n_groups, -1).topk(2, dim=-1).values.sum(-1)
    keep = _kept(worth, groups_per_token).repeat_interleave(x.shape[1] // n_groups, dim=1)
    ids = x.masked_fill(~keep, float("-inf")).topk(top_k, dim=-1).indices
    return ids, scores_TE.gather(1, ids)


FRESH = {
    "01.router_logits": [
        ("the .T forgotten", no_transpose, {"transpose_missing"}),
        ("the inputs' dtype kept", no_float, {"input_dtype", "dtypes_mixed"}),
        ("fp32 after the product", float_at_the_end, {"late_fp32", "dtypes_mixed"}),
        ("softmax taken", with_softmax, {"probabilities"}),
        ("[E, T] instead of [T, E]", experts_first, {"transposed"}),
        ("a loop with .item()", logits_without_graph, {"gradient_lost"}),
    ],
    "01.topk_gates": [
        ("no keepdim", topk_no_keepdim, {"keepdim_missing", "sum_over_batch"}),
        ("w[ids] for gather", topk_fancy_index, {"rows_indexed_for_gather"}),
        ("K = 2 written into the code", topk_of_two, {"number_written_in", "fixed_k"}),
        ("flag not looked at", topk_always_softmax_after, {"always_renormalized"}),
        ("weights first", topk_probs_first, {"swapped_return"}),
        ("softmax for renormalising", topk_softmax_again, {"softmax_twice"}),
    ],
    "01.gate_family": [
        ("sum of 1 means softmax", family_else_softmax, {"sums_only"}),
        ("scale taken to be 1", family_exact_sigmoid, {"scale_assumed"}),
        ("the root forgotten", family_softplus, {"root_forgotten"}),
        ("divided before comparing", family_two_kinds, {"softmax_over_chosen", "sigmoid_merged"}),
        ("own top-k", family_own_choice, {"choice_recomputed"}),
        ("names the other way round", family_names_by_ear, {"names_swapped"}),
    ],
    "06.group_limited": [
        ("repeat for repeat_interleave", groups_repeat, {"mask_repeated", "tiled_mask"}),
        ("experts chosen without the bias", groups_choice_unbiased, {"unbiased_choice"}),
        ("no bias at all", groups_bias_ignored, {"bias_ignored", "no_bias"}),
        ("masked with 0", groups_zero_mask, {"masked_with_zero"}),
        ("best expert of a group", groups_max, {"best_of_group"}),
        ("weights not rescaled", groups_not_rescaled, {"not_rescaled", "not_renormalized"}),
    ],
}
