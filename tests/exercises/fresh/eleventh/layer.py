"""Lesson 02: the next most plausible ones, two to five an exercise."""

import torch
import torch.nn.functional as F
from fresh.tenth.layer import on_experts, routed, run_groups, swiglu


def silu_on_both(hidden_ND, gate_FD, up_FD, down_DF):
    return (F.silu(hidden_ND @ gate_FD.T) * F.silu(hidden_ND @ up_FD.T)) @ down_DF.T


def relu(hidden_ND, gate_FD, up_FD, down_DF):
    return (F.relu(hidden_ND @ gate_FD.T) * (hidden_ND @ up_FD.T)) @ down_DF.T


def down_forgotten(hidden_ND, gate_FD, up_FD, down_DF):
    return F.silu(hidden_ND @ gate_FD.T) * (hidden_ND @ up_FD.T)


def experts_added(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.mT, down.mT
    gate, up = (hidden_TD @ gate_up.mT).chunk(2, dim=-1)
    return ((F.silu(gate) * up) @ down.mT).sum(dim=0)


def t_for_mt(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.T, down.T
    gate, up = (hidden_TD @ gate_up.mT).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ down.mT


def cut_along_the_tokens(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up, down = gate_up.mT, down.mT
    gate, up = (hidden_TD @ gate_up.mT).chunk(2, dim=1)
    return (F.silu(gate) * up) @ down.mT


def rescaled(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    weights = topk_weights_TK / topk_weights_TK.sum(dim=-1, keepdim=True)
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.shape[1]):
            e = int(topk_ids_TK[t, k])
            out[t] = out[t] + weights[t, k] * swiglu(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


def expert_by_choice(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.shape[1]):
            out[t] = out[t] + topk_weights_TK[t, k] * swiglu(hidden_TD[t], gate_up_E2FD[k], down_EDF[k])
    return out


def one_token_after_another(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = hidden_TD.clone()
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.shape[1]):
            e = int(topk_ids_TK[t, k])
            out[t] = out[t] + topk_weights_TK[t, k] * swiglu(hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


def weight_on_the_input(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.shape[1]):
            e = int(topk_ids_TK[t, k])
            out[t] = out[t] + swiglu(topk_weights_TK[t, k] * hidden_TD[t], gate_up_E2FD[e], down_EDF[e])
    return out


def results_put_back_twice(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    tokens = order // topk_ids_TK.shape[1]
    counts = torch.bincount(flat, minlength=len(gate_up_E2FD))
    results = run_groups(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)[order]
    weighted = results * topk_weights_TK.flatten()[:, None]
    n_tokens, k = topk_ids_TK.shape
    return weighted.view(n_tokens, k, hidden_TD.shape[1]).sum(dim=1), tokens, counts


def sorted_ids_returned(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    experts, order = topk_ids_TK.flatten().sort(stable=True)
    tokens = order // topk_ids_TK.shape[1]
    counts = torch.bincount(experts, minlength=len(gate_up_E2FD))
    results = run_groups(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    weighted = results * topk_weights_TK.flatten()[order][:, None]
    return torch.zeros_like(hidden_TD).index_add(0, tokens, weighted), experts, counts


def weights_left_out(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    tokens = order // topk_ids_TK.shape[1]
    counts = torch.bincount(flat, minlength=len(gate_up_E2FD))
    results = run_groups(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    return torch.zeros_like(hidden_TD).index_add(0, tokens, results), tokens, counts


def detour_of_signs(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    s = on_experts((results_TKD * upstream_TD[:, None]).sum(-1), logits_TE, topk_ids_TK)
    if renormalize:
        chosen = torch.zeros_like(logits_TE).scatter(1, topk_ids_TK, 1.0).bool()
        p = logits_TE.masked_fill(~chosen, -torch.inf).softmax(-1)
    else:
        p = logits_TE.softmax(-1)
    return (p * (s - s.mean(dim=-1, keepdim=True))).T @ hidden_TD


def diagonal_of_the_softmax(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    s = on_experts((results_TKD * upstream_TD[:, None]).sum(-1), logits_TE, topk_ids_TK)
    if renormalize:
        chosen = torch.zeros_like(logits_TE).scatter(1, topk_ids_TK, 1.0).bool()
        p = logits_TE.masked_fill(~chosen, -torch.inf).softmax(-1)
    else:
        p = logits_TE.softmax(-1)
    return (p * (1 - p) * s).T @ hidden_TD


def stops_at_the_logits(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    s = (results_TKD * upstream_TD[:, None]).sum(-1)
    return on_experts(s, logits_TE, topk_ids_TK).T @ hidden_TD


def shared_averaged_in(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    out = scale * routed(results_TKD, topk_weights_TK) + swiglu(hidden_TD, gate_up_2GD, down_DG)
    return out / 2


def routed_unweighted(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    return scale * results_TKD.sum(dim=1) + swiglu(hidden_TD, gate_up_2GD, down_DG)


def shared_weighted(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    share = topk_weights_TK.mean(dim=-1, keepdim=True)
    return scale * routed(results_TKD, topk_weights_TK) + share * swiglu(hidden_TD, gate_up_2GD, down_DG)


FRESH = {
    "02.swiglu": [
        ("silu on both sides", silu_on_both, {"both_sides"}),
        ("ReLU", relu, {"relu"}),
        ("no down projection", down_forgotten, {"no_down"}),
    ],
    "02.expert_bank": [
        ("experts added up", experts_added, {"summed"}),
        (".T for .mT", t_for_mt, {"layouts_mixed"}),
        ("cut along the tokens", cut_along_the_tokens, {"cut_along_another_axis"}),
    ],
    "02.moe_loop": [
        ("weights rescaled", rescaled, {"renormalized"}),
        ("expert k for choice k", expert_by_choice, {"choice_as_expert"}),
        ("begins with the hidden states", one_token_after_another, {"residual"}),
        ("the weight multiplies the input", weight_on_the_input, {"weighted_input"}),
    ],
    "02.moe_sorted": [
        ("unsorted with the order, not its inverse", results_put_back_twice, {"order_as_inverse"}),
        ("experts returned for tokens", sorted_ids_returned, {"experts_not_tokens"}),
        ("no weights", weights_left_out, {"no_weights"}),
    ],
    "02.router_gradient": [
        ("the plain mean of s subtracted", detour_of_signs, {"plain_mean"}),
        ("the diagonal only", diagonal_of_the_softmax, {"diagonal"}),
        ("s for the gradient of the logits", stops_at_the_logits, {"no_softmax"}),
    ],
    "02.shared_expert": [
        ("the average of the two parts", shared_averaged_in, {"averaged"}),
        ("routed answers without weights", routed_unweighted, {"no_weights"}),
        ("shared part times the mean weight", shared_weighted, set()),
    ],
}
