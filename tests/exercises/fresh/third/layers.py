"""The third set: two answers an exercise, written after mending, before they were tried; lessons 00 to 02."""

import torch
import torch.nn.functional as F


def mix_normalised_outputs(logits_E, outputs_ED):
    v, i = logits_E.topk(2)
    return F.normalize(v, p=1, dim=0) @ outputs_ED[i]


def mix_three(logits_E, outputs_ED):
    k = min(3, len(logits_E))
    v, i = logits_E.topk(k)
    return v.softmax(0) @ outputs_ED[i]


def logits_half(hidden_TD, router_ED):
    return (hidden_TD.half() @ router_ED.half().T).float()


def logits_squared_distance(hidden_TD, router_ED):
    return -torch.cdist(hidden_TD.float(), router_ED.float())


def gates_k_plus_one(logits_TE, top_k, renormalize):
    w, i = logits_TE.softmax(-1).sort(descending=True)
    w, i = w[:, : top_k + 1], i[:, : top_k + 1]
    return i, w / w.sum(-1, keepdim=True) if renormalize else w


def gates_sigmoid(logits_TE, top_k, renormalize):
    w, i = torch.sigmoid(logits_TE).topk(top_k)
    return i, w / w.sum(-1, keepdim=True) if renormalize else w


def sig_scaled_sum(logits_TE, expert_bias_E, top_k, scale):
    s = logits_TE.sigmoid()
    i = (s + expert_bias_E).topk(top_k).indices
    w = s.gather(1, i)
    return i, w / (w.sum(-1, keepdim=True) * scale)


def sig_mask_bias(logits_TE, expert_bias_E, top_k, scale):
    s = logits_TE.sigmoid()
    i = (s * (1 + expert_bias_E)).topk(top_k).indices
    w = s.gather(1, i)
    return i, scale * w / w.sum(-1, keepdim=True)


def swiglu_softmax(hidden_ND, gate_FD, up_FD, down_DF):
    return (F.softmax(hidden_ND @ gate_FD.T, -1) * (hidden_ND @ up_FD.T)) @ down_DF.T


def swiglu_same_matrix(hidden_ND, gate_FD, up_FD, down_DF):
    h = hidden_ND @ gate_FD.T
    return (F.silu(h) * h) @ down_DF.T


def bank_flag_backwards(hidden_TD, gate_up, down, input_first):
    if not input_first:
        gate_up, down = gate_up.mT, down.mT
    g, u = (hidden_TD @ gate_up.mT).chunk(2, -1)
    return (F.silu(g) * u) @ down.mT


def bank_down_forgotten(hidden_TD, gate_up, down, input_first):
    if input_first:
        gate_up = gate_up.mT
    g, u = (hidden_TD @ gate_up.mT).chunk(2, -1)
    return (F.silu(g) * u) @ down.mT


def _expert(x, gate_up, down):
    g, u = (x @ gate_up.T).chunk(2, -1)
    return (F.silu(g) * u) @ down.T


def loop_swapped_halves(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.shape[1]):
            e = topk_ids_TK[t, k]
            u, g = (gate_up_E2FD[e] @ hidden_TD[t]).chunk(2)
            out[t] = out[t] + topk_weights_TK[t, k] * (down_EDF[e] @ (F.silu(g) * u))
    return out


def loop_weight_inside(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out = torch.zeros_like(hidden_TD)
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.shape[1]):
            e = topk_ids_TK[t, k]
            x = topk_weights_TK[t, k] * hidden_TD[t]
            out[t] = out[t] + _expert(x, gate_up_E2FD[e], down_EDF[e])
    return out


def _sorted(hidden_TD, ids, weights, gate_up, down, token_of, put):
    flat = ids.flatten()
    order = flat.argsort(stable=True)
    token = token_of(order, ids)
    counts = torch.bincount(flat, minlength=len(down))
    pieces = hidden_TD[token].split(counts.tolist())
    y = torch.cat([_expert(p, g, d) for p, g, d in zip(pieces, gate_up, down, strict=True)])
    return put(hidden_TD, token, y * weights.flatten()[order, None]), token, counts


def sorted_mean(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    out, token, counts = _sorted(
        hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF,
        lambda o, ids: o // ids.shape[1], lambda x, t, y: torch.zeros_like(x).index_add(0, t, y),
    )  # fmt: skip
    return out / topk_ids_TK.shape[1], token, counts


def sorted_onto_input(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    return _sorted(
        hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF,
        lambda o, ids: o // ids.shape[1], lambda x, t, y: x.index_add(0, t, y),
    )  # fmt: skip


def _router(hidden_TD, logits_TE, topk_ids_TK, g, p):
    dw = torch.zeros_like(logits_TE).scatter(1, topk_ids_TK, g)
    return (p * (dw - (p * dw).sum(1, keepdim=True))).T @ hidden_TD


def grad_sigmoid(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    g = (results_TKD * upstream_TD[:, None]).sum(-1)
    p = logits_TE.sigmoid()
    dz = torch.zeros_like(p).scatter(1, topk_ids_TK, g) * p * (1 - p)
    return dz.T @ hidden_TD


def grad_upstream_forgotten(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    g = results_TKD.sum(-1)
    if renormalize:
        p = torch.zeros_like(logits_TE).scatter(1, topk_ids_TK, logits_TE.gather(1, topk_ids_TK).softmax(1))
    else:
        p = logits_TE.softmax(1)
    return _router(hidden_TD, logits_TE, topk_ids_TK, g, p)


def shared_weight_first(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    routed = (results_TKD * topk_weights_TK[..., None]).sum(1)
    return routed + _expert(hidden_TD, gate_up_2GD, down_DG)


def shared_residual(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    routed = (results_TKD * topk_weights_TK[..., None]).sum(1) * scale
    return hidden_TD + routed + _expert(hidden_TD, gate_up_2GD, down_DG)


FRESH = {
    "00.top2_mix": [
        ("divided by the absolute sum", mix_normalised_outputs, set()),
        ("three experts", mix_three, set()),
    ],
    "01.router_logits": [("fp16", logits_half, set()), ("distance", logits_squared_distance, set())],
    "01.topk_gates": [("K + 1", gates_k_plus_one, set()), ("sigmoid", gates_sigmoid, set())],
    "01.sigmoid_gates": [
        ("divided by the scale", sig_scaled_sum, {"other_normaliser", "size_factor"}),
        ("bias as a factor", sig_mask_bias, set()),
    ],
    "02.swiglu": [
        ("softmax for silu", swiglu_softmax, set()),
        ("gate twice", swiglu_same_matrix, {"0", "1", "2"}),
    ],
    "02.expert_bank": [
        ("flag the wrong way round", bank_flag_backwards, {"0", "1", "2"}),
        ("down left as it is", bank_down_forgotten, {"0", "1", "2"}),
    ],
    "02.moe_loop": [
        ("up before gate", loop_swapped_halves, {"0", "1", "2"}),
        ("weight on the input", loop_weight_inside, {"0", "1", "2"}),
    ],
    "02.moe_sorted": [
        ("mean of K", sorted_mean, {"0", "1", "2"}),
        ("added to the input", sorted_onto_input, set()),
    ],
    "02.router_gradient": [
        ("sigmoid's derivative", grad_sigmoid, set()),
        ("upstream forgotten", grad_upstream_forgotten, {"0", "1", "2"}),
    ],
    "02.shared_expert": [
        ("no scale", shared_weight_first, {"0", "1", "2"}),
        ("residual", shared_residual, {"0", "1", "2"}),
    ],
}
