"""Lesson 11, the first four: slices, costs, a latent, two levels."""

import math

import torch
import torch.nn.functional as F


def fused_matrix_cut_as_it_is(gate_up_proj, down_proj, router_ED, granularity):
    E, twoF, D = gate_up_proj.shape
    G = granularity
    gate_up = gate_up_proj.reshape(E * G, twoF // G, D)
    down = torch.cat([torch.stack(e.chunk(G, dim=1)) for e in down_proj])
    return gate_up, down, router_ED.repeat_interleave(G, dim=0), G


def down_reshaped_like_the_rest(gate_up_proj, down_proj, router_ED, granularity):
    E, D, _ = down_proj.shape
    G = granularity
    gate, up = gate_up_proj.chunk(2, dim=1)
    gate, up = gate.reshape(E * G, -1, D), up.reshape(E * G, -1, D)
    down = down_proj.reshape(E * G, D, -1)
    return torch.cat([gate, up], dim=1), down, router_ED.repeat_interleave(G, dim=0), G


def router_tiled(gate_up_proj, down_proj, router_ED, granularity):
    G = granularity
    gate, up = gate_up_proj.chunk(2, dim=1)
    gate, up = gate.unflatten(1, (G, -1)).flatten(0, 1), up.unflatten(1, (G, -1)).flatten(0, 1)
    down = down_proj.unflatten(2, (G, -1)).transpose(1, 2).flatten(0, 1)
    return torch.cat([gate, up], dim=1), down, router_ED.repeat(G, 1), G


def factor_divides(gate_up_proj, down_proj, router_ED, granularity):
    G = granularity
    gate, up = gate_up_proj.chunk(2, dim=1)
    gate, up = gate.unflatten(1, (G, -1)).flatten(0, 1), up.unflatten(1, (G, -1)).flatten(0, 1)
    down = down_proj.unflatten(2, (G, -1)).transpose(1, 2).flatten(0, 1)
    return torch.cat([gate, up], dim=1), down, router_ED.repeat_interleave(G, dim=0), 1 / G


def slice_by_slice(gate_up_proj, down_proj, router_ED, granularity):
    n = down_proj.shape[2] // granularity
    gate, up = gate_up_proj.chunk(2, dim=1)
    gate_ups, downs = [], []
    for s in range(granularity):
        run = slice(s * n, (s + 1) * n)
        gate_ups.append(torch.cat([gate[:, run], up[:, run]], dim=1))
        downs.append(down_proj[:, :, run])
    router = torch.cat([router_ED] * granularity)
    return torch.cat(gate_ups), torch.cat(downs), router, granularity


def every_gth_unit(gate_up_proj, down_proj, router_ED, granularity):
    gate, up = gate_up_proj.chunk(2, dim=1)
    gate_ups, downs = [], []
    for e in range(len(router_ED)):
        for s in range(granularity):
            gate_ups.append(torch.cat([gate[e, s::granularity], up[e, s::granularity]]))
            downs.append(down_proj[e, :, s::granularity])
    router = router_ED.repeat_interleave(granularity, dim=0)
    return torch.stack(gate_ups), torch.stack(downs), router, granularity


def router_stays_small(d_model, d_expert, n_experts, top_k, granularity):
    expert = 3 * d_model * d_expert
    router = n_experts * d_model
    total = n_experts * expert + router
    active = top_k * expert + router
    choices = math.comb(n_experts * granularity, top_k * granularity)
    return total, active, router / active, math.log2(choices)


def share_of_everything(d_model, d_expert, n_experts, top_k, granularity):
    expert = 3 * d_model * d_expert
    router = n_experts * granularity * d_model
    total = n_experts * expert + router
    active = top_k * expert + router
    choices = math.comb(n_experts * granularity, top_k * granularity)
    return total, active, router / total, math.log2(choices)


def as_many_slices_as_experts(d_model, d_expert, n_experts, top_k, granularity):
    slices = n_experts * granularity
    per_slice = 3 * d_model * (d_expert // granularity)
    router = slices * d_model
    active = top_k * granularity * per_slice + router
    return slices * per_slice + router, active, router / active, math.log2(math.comb(slices, top_k))


def only_chosen_router_rows(d_model, d_expert, n_experts, top_k, granularity):
    slices, k = n_experts * granularity, top_k * granularity
    per_slice = 3 * d_model * d_expert // granularity
    total = slices * (per_slice + d_model)
    active = k * (per_slice + d_model)
    return total, active, k * d_model / active, math.log2(math.comb(slices, k))


def choices_in_order(d_model, d_expert, n_experts, top_k, granularity):
    slices, k = n_experts * granularity, top_k * granularity
    expert = 3 * d_model * d_expert
    router = slices * d_model
    active = top_k * expert + router
    return n_experts * expert + router, active, router / active, math.log2(math.perm(slices, k))


def two_matrices(d_model, d_expert, n_experts, top_k, granularity):
    slices, k = n_experts * granularity, top_k * granularity
    expert = 2 * d_model * (d_expert // granularity)
    router = slices * d_model
    active = k * expert + router
    return slices * expert + router, active, router / active, math.log2(math.comb(slices, k))


def weights_over_all(hidden_TD, router_ED, down_LD, gate_up_EHL, down_ELF, up_DL, top_k):
    probs = (hidden_TD @ router_ED.T).softmax(-1)
    weights, ids = probs.topk(top_k)
    latent = hidden_TD @ down_LD.T
    out = torch.zeros_like(latent)
    for e in range(len(router_ED)):
        rows, slot = (ids == e).nonzero(as_tuple=True)
        gate, up = (latent[rows] @ gate_up_EHL[e].T).chunk(2, dim=-1)
        y = (F.silu(gate) * up) @ down_ELF[e].T
        out = out.index_add(0, rows, y * weights[rows, slot, None])
    return out @ up_DL.T


def up_before_gate(hidden_TD, router_ED, down_LD, gate_up_EHL, down_ELF, up_DL, top_k):
    values, ids = (hidden_TD @ router_ED.T).topk(top_k)
    weights = values.softmax(-1)
    latent = hidden_TD @ down_LD.T
    out = torch.zeros_like(latent)
    for e in range(len(router_ED)):
        rows, slot = (ids == e).nonzero(as_tuple=True)
        up, gate = (latent[rows] @ gate_up_EHL[e].T).chunk(2, dim=-1)
        y = (F.silu(gate) * up) @ down_ELF[e].T
        out = out.index_add(0, rows, y * weights[rows, slot, None])
    return out @ up_DL.T


def residual_added(hidden_TD, router_ED, down_LD, gate_up_EHL, down_ELF, up_DL, top_k):
    values, ids = (hidden_TD @ router_ED.T).topk(top_k)
    weights = values.softmax(-1)
    latent = hidden_TD @ down_LD.T
    hs = torch.einsum("tl,ehl->teh", latent, gate_up_EHL)
    gate, up = hs.chunk(2, dim=-1)
    ys = torch.einsum("tef,elf->tel", F.silu(gate) * up, down_ELF)
    chosen = ys.gather(1, ids[..., None].expand(-1, -1, ys.shape[-1]))
    return hidden_TD + (chosen * weights[..., None]).sum(1) @ up_DL.T


def activation_gelu(hidden_TD, router_ED, down_LD, gate_up_EHL, down_ELF, up_DL, top_k):
    values, ids = (hidden_TD @ router_ED.T).topk(top_k)
    weights = values.softmax(-1)
    latent = hidden_TD @ down_LD.T
    hs = torch.einsum("tl,ehl->teh", latent, gate_up_EHL)
    gate, up = hs.chunk(2, dim=-1)
    ys = torch.einsum("tef,elf->tel", F.gelu(gate) * up, down_ELF)
    chosen = ys.gather(1, ids[..., None].expand(-1, -1, ys.shape[-1]))
    return (chosen * weights[..., None]).sum(1) @ up_DL.T


def weight_goes_in(hidden_TD, router_ED, down_LD, gate_up_EHL, down_ELF, up_DL, top_k):
    values, ids = (hidden_TD @ router_ED.T).topk(top_k)
    weights = values.softmax(-1)
    latent = hidden_TD @ down_LD.T
    out = torch.zeros_like(latent)
    for k in range(top_k):
        x = latent * weights[:, k : k + 1]
        gate, up = torch.einsum("tl,thl->th", x, gate_up_EHL[ids[:, k]]).chunk(2, dim=-1)
        out = out + torch.einsum("tf,tlf->tl", F.silu(gate) * up, down_ELF[ids[:, k]])
    return out @ up_DL.T


def last_expert_stays(hidden_TD, router_ED, down_LD, gate_up_EHL, down_ELF, up_DL, top_k):
    values, ids = (hidden_TD @ router_ED.T).topk(top_k)
    weights = values.softmax(-1)
    latent = hidden_TD @ down_LD.T
    out = torch.zeros_like(latent)
    for e in range(len(router_ED)):
        rows, slot = torch.where(ids == e)
        gate, up = (latent[rows] @ gate_up_EHL[e].T).chunk(2, dim=-1)
        y = (F.silu(gate) * up) @ down_ELF[e].T
        out[rows] = y * weights[rows, slot].unsqueeze(1)
    return out @ up_DL.T


def softmax_over_all_groups(group_logits_TA, expert_logits_TAB, top_groups, top_experts):
    A, B = expert_logits_TAB.shape[1:]
    group_w, groups = group_logits_TA.softmax(-1).topk(top_groups)
    inner = expert_logits_TAB.softmax(-1).gather(1, groups[..., None].expand(-1, -1, B))
    expert_w, places = inner.topk(top_experts)
    ids = (groups[..., None] * B + places).flatten(1)
    weights = (group_w[..., None] * expert_w).flatten(1)
    importance = torch.zeros(A * B).index_add(0, ids.flatten(), weights.flatten())
    return ids, weights, importance.view(A, B)


def numbered_by_groups(group_logits_TA, expert_logits_TAB, top_groups, top_experts):
    A, B = expert_logits_TAB.shape[1:]
    values, groups = group_logits_TA.topk(top_groups)
    inner = expert_logits_TAB.gather(1, groups[..., None].expand(-1, -1, B))
    inner_values, places = inner.topk(top_experts)
    weights = (values.softmax(-1)[..., None] * inner_values.softmax(-1)).flatten(1)
    ids = (groups[..., None] + places * A).flatten(1)
    importance = torch.zeros(A * B).index_add(0, ids.flatten(), weights.flatten())
    return ids, weights, importance.view(A, B)


def dense_importance(group_logits_TA, expert_logits_TAB, top_groups, top_experts):
    B = expert_logits_TAB.shape[2]
    values, groups = group_logits_TA.topk(top_groups)
    inner = expert_logits_TAB.gather(1, groups[..., None].expand(-1, -1, B))
    inner_values, places = inner.topk(top_experts)
    weights = (values.softmax(-1)[..., None] * inner_values.softmax(-1)).flatten(1)
    ids = (groups[..., None] * B + places).flatten(1)
    importance = (group_logits_TA.softmax(-1)[..., None] * expert_logits_TAB.softmax(-1)).sum(0)
    return ids, weights, importance


def rank_of_the_group(group_logits_TA, expert_logits_TAB, top_groups, top_experts):
    A, B = expert_logits_TAB.shape[1:]
    values, groups = group_logits_TA.topk(top_groups)
    inner = expert_logits_TAB.gather(1, groups[..., None].expand(-1, -1, B))
    inner_values, places = inner.topk(top_experts)
    weights = values.softmax(-1)[..., None] * inner_values.softmax(-1)
    ids = torch.arange(top_groups)[None, :, None] * B + places
    importance = torch.zeros(A * B).index_add(0, ids.flatten(), weights.flatten())
    return ids.flatten(1), weights.flatten(1), importance.view(A, B)


def one_softmax_for_both(group_logits_TA, expert_logits_TAB, top_groups, top_experts):
    A, B = expert_logits_TAB.shape[1:]
    values, groups = group_logits_TA.topk(top_groups)
    inner = expert_logits_TAB.gather(1, groups[..., None].expand(-1, -1, B))
    inner_values, places = inner.topk(top_experts)
    weights = (values[..., None] + inner_values).flatten(1).softmax(-1)
    ids = (groups[..., None] * B + places).flatten(1)
    importance = torch.zeros(A * B).index_add(0, ids.flatten(), weights.flatten())
    return ids, weights, importance.view(A, B)


def importance_overwritten(group_logits_TA, expert_logits_TAB, top_groups, top_experts):
    A, B = expert_logits_TAB.shape[1:]
    values, groups = group_logits_TA.topk(top_groups)
    inner = expert_logits_TAB.gather(1, groups[..., None].expand(-1, -1, B))
    inner_values, places = inner.topk(top_experts)
    weights = (values.softmax(-1)[..., None] * inner_values.softmax(-1)).flatten(1)
    ids = (groups[..., None] * B + places).flatten(1)
    importance = torch.zeros(A * B)
    importance[ids.flatten()] += weights.flatten()
    return ids, weights, importance.view(A, B)


FRESH = {
    "11.split_expert": [
        (
            "gate_up_proj cut into G runs of its 2F rows, as it lies",
            fused_matrix_cut_as_it_is,
            {"stacked_rows"},
        ),
        ("down_proj cut by a reshape to [E*G, D, F/G]", down_reshaped_like_the_rest, {"down_reshaped"}),
        ("the router's rows repeated as a whole: repeat(G, 1)", router_tiled, {"router_tiled"}),
        ("G times as many experts, so each weight is divided by G", factor_divides, {"factor_inverse"}),
        ("slice 0 of all experts first, then slice 1 of all", slice_by_slice, {"slice_major"}),
        ("slices of every G-th unit: s::G", every_gth_unit, {"every_gth_unit"}),
    ],
    "11.cut_costs": [
        ("the router still has E rows", router_stays_small, {"router_not_grown"}),
        ("the router's share of all parameters", share_of_everything, {"share_of_total"}),
        ("comb(E G, K): a token takes K of the slices", as_many_slices_as_experts, {"k_not_grown"}),
        ("a token uses only the router rows of its slices", only_chosen_router_rows, {"only_chosen_rows"}),
        ("math.perm: choices counted in order", choices_in_order, {"ordered"}),
        ("an expert has two matrices, up and down", two_matrices, {"two_matrices"}),
    ],
    "11.latent_moe": [
        ("a softmax over all experts, then the top K of it", weights_over_all, {"softmax_over_all"}),
        ("up rows first: up, gate = chunk(2)", up_before_gate, {"up_and_gate_swapped"}),
        ("the input added at the end, as in a block", residual_added, {"residual_added"}),
        ("gelu in place of silu", activation_gelu, {"relu", "other_gate"}),
        ("the weight multiplies what goes into the expert", weight_goes_in, {"weight_on_input"}),
        (
            "out[rows] = ... in a loop over experts, so that the last one stays",
            last_expert_stays,
            {"overwritten"},
        ),
    ],
    "11.hierarchical": [
        ("softmax over all groups and all experts, then topk", softmax_over_all_groups, {"both_over_all"}),
        ("expert's number group + place * A", numbered_by_groups, {"ids_transposed"}),
        ("importance from both full softmaxes, chosen or not", dense_importance, {"importance_soft"}),
        ("the group's place among the chosen in place of its number", rank_of_the_group, {"rank_for_group"}),
        ("logits added up, one softmax over all chosen", one_softmax_for_both, {"logits_added"}),
        (
            "importance[ids] += weights, which keeps one of equal ids",
            importance_overwritten,
            {"importance_overwritten"},
        ),
    ],
}
