"""More wrong answers to lesson 01, several for one mistake; `router` lists which is which."""

import torch
import torch.nn.functional as F

# 01.router_logits


def logits_by_products(hidden_TD, router_ED):
    return (hidden_TD[:, None, :] * router_ED[None, :, :]).sum(-1).float()


def logits_in_double(hidden_TD, router_ED):
    return hidden_TD.double() @ router_ED.double().T


def logits_below_zero(hidden_TD, router_ED):
    scores = torch.einsum("td,ed->te", hidden_TD.float(), router_ED.float())
    return scores - scores.max(dim=1, keepdim=True).values


def logits_on_their_side(hidden_TD, router_ED):
    return F.linear(router_ED.float(), hidden_TD.float())


def logits_best(hidden_TD, router_ED):
    return F.linear(hidden_TD.float(), router_ED.float()).max(dim=1).indices


def logits_untransposed(hidden_TD, router_ED):
    return hidden_TD.float() @ router_ED.float()


def logits_one_side(hidden_TD, router_ED):
    return hidden_TD.float() @ router_ED.T


def logits_no_grad(hidden_TD, router_ED):
    with torch.no_grad():
        return hidden_TD.float() @ router_ED.float().T


def logits_numpy(hidden_TD, router_ED):
    return torch.from_numpy(hidden_TD.float().numpy() @ router_ED.float().numpy().T)


def logits_one_detached(hidden_TD, router_ED):
    return hidden_TD.float() @ router_ED.detach().float().T


LOGITS = {
    "rounded_on_the_way": logits_by_products,
    "other_dtype": logits_in_double,
    "shifted": logits_below_zero,
    "transposed": logits_on_their_side,
    "choice": logits_best,
    "sigmoid": lambda hidden_TD, router_ED: torch.sigmoid(F.linear(hidden_TD.float(), router_ED.float())),
    "transpose_missing": logits_untransposed,
    "dtypes_mixed": logits_one_side,
    "gradient_lost": logits_no_grad,
    "gradient_lost:in numpy": logits_numpy,
    "gradient_lost:one side": logits_one_detached,
}

# 01.topk_gates


def gates(finish=lambda w, p: w / w.sum(-1, keepdim=True), k=None, of=lambda z: F.softmax(z, dim=-1)):
    """Softmax, top-k, rescale, with one step done differently."""

    def answer(logits_TE, top_k, renormalize):
        p = of(logits_TE)
        w, ids = p.topk(k or top_k, dim=-1)
        return ids, finish(w, p) if renormalize else w

    return answer


def gates_spread(logits_TE, top_k, renormalize):
    p = F.softmax(logits_TE, -1)
    w, ids = p.topk(top_k)
    if renormalize:
        w = w / w.sum(-1, keepdim=True)
    everyone = torch.zeros_like(p)
    everyone[torch.arange(len(p))[:, None], ids] = w
    return ids, everyone


def gates_kept_at_1(logits_TE, top_k, renormalize):
    if top_k == 1:
        w, ids = F.softmax(logits_TE, -1).max(-1, keepdim=True)
        return ids, w
    return gates()(logits_TE, top_k, renormalize)


def gates_no_keepdim(logits_TE, top_k, renormalize):
    w, ids = F.softmax(logits_TE, -1).topk(top_k)
    if renormalize:
        w = w / w.sum(-1)
    return ids, w


def gates_threshold(logits_TE, top_k, renormalize):
    """The mass of all that reach the k-th largest: with a tie there that is more than K."""
    p = F.softmax(logits_TE, -1)
    w, ids = p.topk(top_k)
    if renormalize:
        w = w / (p * (p >= w[:, -1:])).sum(-1, keepdim=True)
    return ids, w


def gates_detached(logits_TE, top_k, renormalize):
    w, ids = F.softmax(logits_TE, -1).topk(top_k)
    return ids, (w / w.sum(-1, keepdim=True) if renormalize else w).detach()


def gates_detached_sum(logits_TE, top_k, renormalize):
    w, ids = F.softmax(logits_TE, -1).topk(top_k)
    return ids, w / w.sum(-1, keepdim=True).detach() if renormalize else w


GATES = {
    "equal_weights": gates(lambda w, p: torch.ones_like(w) / w.shape[1]),
    "fixed_k": gates(k=2),
    "all_experts": gates_spread,
    "kept_at_k1": gates_kept_at_1,
    "length_one": gates(lambda w, p: w / w.norm(dim=-1, keepdim=True)),
    "by_the_largest": gates(lambda w, p: w / w[:, :1]),
    "log_softmax": gates(of=lambda z: F.log_softmax(z, dim=-1)),
    "tied_in": gates_threshold,
    "keepdim_missing": gates_no_keepdim,
    "gradient_lost:detached": gates_detached,
    "gradient_partly_lost": gates_detached_sum,
}

# 01.sigmoid_gates


def sigmoids(choose=lambda s, b: s + b, weigh=None):
    """Choose by score plus bias, weigh by score, with one step done differently."""

    def answer(logits_TE, expert_bias_E, top_k, scale):
        s = torch.sigmoid(logits_TE)
        ids = torch.topk(choose(s, expert_bias_E), top_k, dim=-1).indices
        if weigh:
            return ids, weigh(logits_TE, s, ids, expert_bias_E, scale)
        w = s.gather(-1, ids)
        return ids, scale * w / w.sum(-1, keepdim=True)

    return answer


def scaled_early(logits_TE, expert_bias_E, top_k, scale):
    s = scale * logits_TE.sigmoid()
    ids = (s + expert_bias_E).topk(top_k).indices
    w = s.gather(1, ids)
    return ids, scale * w / w.sum(1, keepdim=True)


def sigmoids_divided(logits_TE, expert_bias_E, top_k, scale):
    s = F.normalize(torch.sigmoid(logits_TE), p=1, dim=-1)
    ids = (s + expert_bias_E).topk(top_k).indices
    return ids, chosen_sum(s, ids, scale)


def chosen_sum(values, ids, scale):
    w = values.gather(-1, ids)
    return w / w.sum(-1, keepdim=True) * scale


SIGMOIDS = {
    "bias_subtracted": sigmoids(lambda s, b: s - b),
    "clamped": sigmoids(lambda s, b: F.relu(s + b)),
    "bias_in_weight_only": sigmoids(
        lambda s, b: s, lambda z, s, ids, b, scale: chosen_sum(s + b, ids, scale)
    ),
    "scaled_choice": scaled_early,
    "scale_of_the_paper": sigmoids(weigh=lambda z, s, ids, b, scale: chosen_sum(s, ids, 2.5)),
    "softmax_of_logits": sigmoids(
        weigh=lambda z, s, ids, b, scale: F.softmax(torch.gather(z, 1, ids), 1) * scale
    ),
    "logits_as_weights": sigmoids(weigh=lambda z, s, ids, b, scale: chosen_sum(z, ids, scale)),
    "sum_over_batch": sigmoids(
        weigh=lambda z, s, ids, b, scale: scale * s.gather(1, ids) / s.gather(1, ids).sum()
    ),
    "rescaled_before_choice": sigmoids_divided,
    "bias_per_token": sigmoids(lambda s, b: s + b[:, None]),
    "first_biases_off": sigmoids(
        weigh=lambda z, s, ids, b, scale: share(s.gather(1, ids) + b[ids] - b[: ids.shape[1]]) * scale
    ),
    "gradient_lost:detached": sigmoids(weigh=lambda z, s, ids, b, scale: chosen_sum(s.detach(), ids, scale)),
}

# 01.gate_family


def close(a, b):
    return torch.allclose(a, b, atol=1e-4)


def share(scores):
    return scores / scores.sum(-1, keepdim=True)


def family_two_scales(logits_TE, topk_ids_TK, topk_weights_TK):
    z = logits_TE.gather(1, topk_ids_TK)
    if close(topk_weights_TK, z.softmax(-1)):
        return "topk_softmax"
    if close(topk_weights_TK, logits_TE.softmax(-1).gather(1, topk_ids_TK)):
        return "softmax_topk"
    if close(topk_weights_TK, z.sigmoid()):
        return "topk_sigmoid"
    if any(close(topk_weights_TK, scale * share(z.sigmoid())) for scale in (1.0, 2.5)):
        return "sigmoid"
    return "sqrt_softplus"


def family_first_token(logits_TE, topk_ids_TK, topk_weights_TK):
    z, w = logits_TE[0, topk_ids_TK[0]], topk_weights_TK[0]
    if close(w, z.softmax(-1)):
        return "topk_softmax"
    if close(w, logits_TE[0].softmax(-1)[topk_ids_TK[0]]):
        return "softmax_topk"
    if close(w, z.sigmoid()):
        return "topk_sigmoid"
    return "sigmoid" if close(share(w), share(z.sigmoid())) else "sqrt_softplus"


def family_equal_sums(logits_TE, topk_ids_TK, topk_weights_TK):
    z, sums = logits_TE.gather(1, topk_ids_TK), topk_weights_TK.sum(-1)
    if not close(sums, sums[:1].expand_as(sums)):
        return "topk_sigmoid" if close(topk_weights_TK, z.sigmoid()) else "softmax_topk"
    if close(share(topk_weights_TK), z.softmax(-1)):
        return "topk_softmax"
    return "sigmoid" if close(share(topk_weights_TK), share(z.sigmoid())) else "sqrt_softplus"


def family_of_ratios(logits_TE, topk_ids_TK, topk_weights_TK):
    z, w = logits_TE.gather(1, topk_ids_TK), topk_weights_TK
    if close(w / w[:, :1], (z - z[:, :1]).exp()):
        return "softmax_topk_renorm"
    return "sigmoid" if close(w / w[:, :1], z.sigmoid() / z[:, :1].sigmoid()) else "sqrt_softplus"


def family_by_distance(logits_TE, topk_ids_TK, topk_weights_TK):
    z, w = logits_TE.gather(1, topk_ids_TK), topk_weights_TK
    if close(w, z.softmax(-1)):
        return "topk_softmax"
    if close(w, logits_TE.softmax(-1).gather(1, topk_ids_TK)):
        return "softmax_topk"
    if close(w, z.sigmoid()):
        return "topk_sigmoid"
    far = [F.l1_loss(w, z.sigmoid()), F.l1_loss(w, F.softplus(z).sqrt())]
    return "sigmoid" if far[0] < far[1] else "sqrt_softplus"


FAMILIES = {
    "ratios_only": family_of_ratios,
    "nearest_raw": family_by_distance,
    "scale_assumed:one or 2.5": family_two_scales,
    "one_token_decides": family_first_token,
    "sums_compared": family_equal_sums,
}
