"""Lesson 02: experts, the layer in two ways, its router's gradient, a shared expert."""

import torch
import torch.nn.functional as F


def swiglu(x, gate_up, down):
    gate, up = (x @ gate_up.T).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ down.T


# 02.swiglu


def gate_and_up_swapped(hidden_ND, gate_FD, up_FD, down_DF):
    return ((hidden_ND @ gate_FD.T) * F.silu(hidden_ND @ up_FD.T)) @ down_DF.T


def sigmoid_gate(hidden_ND, gate_FD, up_FD, down_DF):
    return (torch.sigmoid(hidden_ND @ gate_FD.T) * (hidden_ND @ up_FD.T)) @ down_DF.T


def silu_of_the_product(hidden_ND, gate_FD, up_FD, down_DF):
    return F.silu((hidden_ND @ gate_FD.T) * (hidden_ND @ up_FD.T)) @ down_DF.T


def gelu(hidden_ND, gate_FD, up_FD, down_DF):
    return (F.gelu(hidden_ND @ gate_FD.T) * (hidden_ND @ up_FD.T)) @ down_DF.T


def nothing_transposed(hidden_ND, gate_FD, up_FD, down_DF):
    return (F.silu(hidden_ND @ gate_FD) * (hidden_ND @ up_FD)) @ down_DF


def added(hidden_ND, gate_FD, up_FD, down_DF):
    return (F.silu(hidden_ND @ gate_FD.T) + hidden_ND @ up_FD.T) @ down_DF.T


# 02.expert_bank


def reshaped_not_transposed(hidden_TD, gate_up, down, input_first):
    if input_first:
        n_experts, d, two_f = gate_up.shape
        gate_up = gate_up.reshape(n_experts, two_f, d)
        down = down.reshape(n_experts, d, two_f // 2)
    gate, up = (hidden_TD @ gate_up.mT).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ down.mT


def up_before_gate(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.mT, down.mT
    up, gate = (hidden_TD @ gate_up.mT).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ down.mT


def interleaved(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.mT, down.mT
    both = hidden_TD @ gate_up.mT
    return (F.silu(both[..., ::2]) * both[..., 1::2]) @ down.mT


def down_left_as_it_was(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up = gate_up.mT
    gate, up = (hidden_TD @ gate_up.mT).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ down.mT


def tokens_first(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.mT, down.mT
    gate, up = torch.einsum("td,efd->tef", hidden_TD, gate_up).chunk(2, dim=-1)
    return torch.einsum("tef,edf->ted", F.silu(gate) * up, down)


def layouts_the_wrong_way_round(hidden_TD, gate_up, down, input_first):
    if not input_first:
        gate_up, down = gate_up.mT, down.mT
    gate, up = (hidden_TD @ gate_up.mT).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ down.mT


# 02.moe_loop


def weights_by_expert(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    rows = torch.zeros_like(hidden_TD)
    for t in range(topk_ids_TK.shape[0]):
        for k in range(topk_ids_TK.shape[1]):
            e = int(topk_ids_TK[t, k])
            rows[t] = rows[t] + topk_weights_TK[t, e] * swiglu(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return rows


def no_weights(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    for t in range(topk_ids_TK.shape[0]):
        for k in range(topk_ids_TK.shape[1]):
            e = int(topk_ids_TK[t, k])
            out[t] = out[t] + swiglu(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


def overwritten(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    for t in range(topk_ids_TK.shape[0]):
        for k in range(topk_ids_TK.shape[1]):
            e = int(topk_ids_TK[t, k])
            out[t] = topk_weights_TK[t, k] * swiglu(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


def weights_as_floats(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    for t in range(topk_ids_TK.shape[0]):
        for k in range(topk_ids_TK.shape[1]):
            e = topk_ids_TK[t, k].item()
            w = topk_weights_TK[t, k].item()
            out[t] = out[t] + w * swiglu(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


def stack_of_nothing(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    rows = []
    for x, ids, weights in zip(hidden_TD, topk_ids_TK, topk_weights_TK, strict=True):
        rows.append(
            sum(w * swiglu(x, gate_up_E2FD[e], down_EDF[e]) for e, w in zip(ids, weights, strict=True))
        )
    return torch.stack(rows)


def silu_on_up(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    for t in range(topk_ids_TK.shape[0]):
        for k in range(topk_ids_TK.shape[1]):
            e = int(topk_ids_TK[t, k])
            up, gate = (gate_up_E2FD[e] @ hidden_TD[t]).chunk(2)
            out[t] = out[t] + topk_weights_TK[t, k] * (down_EDF[e] @ (F.silu(gate) * up))
    return out


# 02.moe_sorted


def run_groups(rows, sizes, gate_up_E2FD, down_EDF):
    groups = rows.split(sizes)
    return torch.cat([swiglu(g, gate_up_E2FD[e], down_EDF[e]) for e, g in enumerate(groups)])


def tokens_by_remainder(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    tokens = order % topk_ids_TK.shape[1]
    counts = torch.bincount(flat, minlength=len(gate_up_E2FD))
    results = run_groups(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    weighted = results * topk_weights_TK.flatten()[order][:, None]
    return torch.zeros_like(hidden_TD).index_add(0, tokens, weighted), tokens, counts


def weights_not_sorted(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    tokens = order // topk_ids_TK.shape[1]
    counts = torch.bincount(flat, minlength=len(gate_up_E2FD))
    results = run_groups(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    weighted = results * topk_weights_TK.flatten()[:, None]
    return torch.zeros_like(hidden_TD).index_add(0, tokens, weighted), tokens, counts


def no_minlength(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    tokens = order // topk_ids_TK.shape[1]
    counts = torch.bincount(flat)
    results = run_groups(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    weighted = results * topk_weights_TK.flatten()[order][:, None]
    return torch.zeros_like(hidden_TD).index_add(0, tokens, weighted), tokens, counts


def plus_equals(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    tokens = order // topk_ids_TK.shape[1]
    counts = torch.bincount(flat, minlength=len(gate_up_E2FD))
    results = run_groups(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    out = torch.zeros_like(hidden_TD)
    out[tokens] += results * topk_weights_TK.flatten()[order][:, None]
    return out, tokens, counts


def slots_for_tokens(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    tokens = order // topk_ids_TK.shape[1]
    counts = torch.bincount(flat, minlength=len(gate_up_E2FD))
    results = run_groups(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    weighted = results * topk_weights_TK.flatten()[order][:, None]
    return torch.zeros_like(hidden_TD).index_add(0, tokens, weighted), order, counts


def viewed_without_unsorting(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    n_tokens, k = topk_ids_TK.shape
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    tokens = order // k
    counts = torch.bincount(flat, minlength=len(gate_up_E2FD))
    results = run_groups(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    weighted = results * topk_weights_TK.flatten()[order][:, None]
    return weighted.view(n_tokens, k, hidden_TD.shape[1]).sum(dim=1), tokens, counts


# 02.router_gradient


def on_experts(values_TK, logits_TE, ids_TK):
    return torch.zeros_like(logits_TE).scatter(1, ids_TK, values_TK)


def nothing_subtracted(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    s = (results_TKD * upstream_TD[:, None]).sum(-1)
    w = (
        logits_TE.gather(1, topk_ids_TK).softmax(-1)
        if renormalize
        else logits_TE.softmax(-1).gather(1, topk_ids_TK)
    )
    return on_experts(w * s, logits_TE, topk_ids_TK).T @ hidden_TD


def always_over_the_chosen(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    s = (results_TKD * upstream_TD[:, None]).sum(-1)
    w = logits_TE.gather(1, topk_ids_TK).softmax(-1)
    grad = w * (s - (w * s).sum(-1, keepdim=True))
    return on_experts(grad, logits_TE, topk_ids_TK).T @ hidden_TD


def always_over_all(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    s = on_experts((results_TKD * upstream_TD[:, None]).sum(-1), logits_TE, topk_ids_TK)
    p = logits_TE.softmax(-1)
    return (p * (s - (p * s).sum(-1, keepdim=True))).T @ hidden_TD


def only_the_chosen_learn(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    s = (results_TKD * upstream_TD[:, None]).sum(-1)
    w = (
        logits_TE.gather(1, topk_ids_TK).softmax(-1)
        if renormalize
        else logits_TE.softmax(-1).gather(1, topk_ids_TK)
    )
    grad = w * (s - (w * s).sum(-1, keepdim=True))
    return on_experts(grad, logits_TE, topk_ids_TK).T @ hidden_TD


def transposed(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    s = on_experts((results_TKD * upstream_TD[:, None]).sum(-1), logits_TE, topk_ids_TK)
    if renormalize:
        chosen = torch.zeros_like(logits_TE).scatter(1, topk_ids_TK, 1.0).bool()
        p = logits_TE.masked_fill(~chosen, -torch.inf).softmax(-1)
    else:
        p = logits_TE.softmax(-1)
    return hidden_TD.T @ (p * (s - (p * s).sum(-1, keepdim=True)))


def mean_over_tokens(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    return transposed(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize).T / len(
        hidden_TD
    )


# 02.shared_expert


def routed(results_TKD, topk_weights_TK):
    return (results_TKD * topk_weights_TK.unsqueeze(-1)).sum(dim=1)


def scale_on_everything(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    return scale * (routed(results_TKD, topk_weights_TK) + swiglu(hidden_TD, gate_up_2GD, down_DG))


def scale_forgotten(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    return routed(results_TKD, topk_weights_TK) + swiglu(hidden_TD, gate_up_2GD, down_DG)


def scale_on_the_shared(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    return routed(results_TKD, topk_weights_TK) + scale * swiglu(hidden_TD, gate_up_2GD, down_DG)


def shared_after_routed(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    out = scale * routed(results_TKD, topk_weights_TK)
    return out + swiglu(out, gate_up_2GD, down_DG)


def up_first(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    up, gate = (hidden_TD @ gate_up_2GD.T).chunk(2, dim=-1)
    return scale * routed(results_TKD, topk_weights_TK) + (F.silu(gate) * up) @ down_DG.T


def mean_of_choices(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    out = (results_TKD * topk_weights_TK.unsqueeze(-1)).mean(dim=1)
    return scale * out + swiglu(hidden_TD, gate_up_2GD, down_DG)


FRESH = {
    "02.swiglu": [
        ("silu on the up side", gate_and_up_swapped, {"swapped"}),
        ("sigmoid instead of silu", sigmoid_gate, {"sigmoid"}),
        ("silu of the product", silu_of_the_product, {"late_silu"}),
        ("GELU", gelu, {"gelu"}),
        ("no transposition", nothing_transposed, {"transpose_missing"}),
        ("the sides added", added, {"sum"}),
    ],
    "02.expert_bank": [
        ("reshape instead of a transposition", reshaped_not_transposed, {"reshaped_input_first"}),
        ("up first", up_before_gate, {"up_first"}),
        ("gate and up interleaved", interleaved, {"interleaved"}),
        ("down not transposed for input_first", down_left_as_it_was, {"layouts_mixed"}),
        ("[T, E, D]", tokens_first, {"token_first"}),
        ("the flag read the wrong way round", layouts_the_wrong_way_round, {"layouts_mixed"}),
    ],
    "02.moe_loop": [
        ("weights indexed by the expert", weights_by_expert, {"weight_by_expert"}),
        ("no weights", no_weights, {"no_weights"}),
        ("each choice overwrites the one before", overwritten, {"overwritten"}),
        ("weights taken out with item()", weights_as_floats, {"detached"}),
        ("a stack of no rows", stack_of_nothing, {"nothing_to_stack"}),
        ("up in the first half", silu_on_up, {"up_first"}),
    ],
    "02.moe_sorted": [
        ("a slot's token by remainder", tokens_by_remainder, {"modulo_k"}),
        ("weights in slot order", weights_not_sorted, {"weights_unsorted"}),
        ("bincount without minlength", no_minlength, {"short_counts"}),
        ("out[tokens] += ...", plus_equals, {"overwritten"}),
        ("slots returned for tokens", slots_for_tokens, {"slots_not_tokens"}),
        ("sorted rows viewed as [T, K, D]", viewed_without_unsorting, {"weighted_not_put_back"}),
    ],
    "02.router_gradient": [
        ("weight times s, nothing subtracted", nothing_subtracted, {"first_term_only"}),
        ("softmax over the chosen in both cases", always_over_the_chosen, {"always_renormalized"}),
        ("softmax over all in both cases", always_over_all, {"never_renormalized"}),
        ("the logits of the others get nothing", only_the_chosen_learn, {"chosen_only"}),
        ("[D, E]", transposed, {"transposed"}),
        ("mean over tokens", mean_over_tokens, {"mean"}),
    ],
    "02.shared_expert": [
        ("the sum scaled", scale_on_everything, {"scaled"}),
        ("no scale", scale_forgotten, {"unscaled"}),
        ("the shared part scaled", scale_on_the_shared, {"scale_on_shared"}),
        ("the shared expert reads the routed part", shared_after_routed, {"in_series"}),
        ("up in the first half", up_first, {"up_first"}),
        ("mean over the choices", mean_of_choices, {"routed_mean"}),
    ],
}
