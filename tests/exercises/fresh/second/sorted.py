"""The second set, written from the learner's notebooks alone: lesson 02, from the sort on."""

import torch
import torch.nn.functional as F

# 02.moe_sorted


def _ffn(x, gate_up, down):
    g, u = (x @ gate_up.T).chunk(2, dim=-1)
    return (F.silu(g) * u) @ down.T


def sorted_modulo(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    T, _K = topk_ids_TK.shape
    E = len(down_EDF)
    flat = topk_ids_TK.flatten()
    order = flat.argsort()
    token = order % T
    counts = torch.bincount(flat, minlength=E)
    w = topk_weights_TK.flatten()[order]
    out = torch.zeros_like(hidden_TD)
    start = 0
    for e in range(E):
        n = int(counts[e])
        rows = token[start : start + n]
        y = _ffn(hidden_TD[rows], gate_up_E2FD[e], down_EDF[e]) * w[start : start + n, None]
        out = out.index_add(0, rows, y)
        start += n
    return out, token, counts


def sorted_plain_index(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    K = topk_ids_TK.shape[1]
    flat = topk_ids_TK.reshape(-1)
    order = torch.argsort(flat, stable=True)
    token = order // K
    counts = torch.bincount(flat, minlength=gate_up_E2FD.shape[0])
    pieces = hidden_TD[token].split(counts.tolist())
    ys = torch.cat([_ffn(p, g, d) for p, g, d in zip(pieces, gate_up_E2FD, down_EDF, strict=True)])
    ys = ys * topk_weights_TK.reshape(-1)[order].unsqueeze(1)
    out = torch.zeros_like(hidden_TD)
    out[token] += ys
    return out, token, counts


def sorted_bincount(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    flat = topk_ids_TK.flatten()
    order = flat.argsort()
    token = torch.div(order, topk_ids_TK.shape[1], rounding_mode="floor")
    counts = flat.bincount()
    out = torch.zeros_like(hidden_TD)
    weights = topk_weights_TK.flatten()[order]
    begin = 0
    for e, n in enumerate(counts.tolist()):
        ids = token[begin : begin + n]
        out = out.index_add(
            0, ids, weights[begin : begin + n, None] * _ffn(hidden_TD[ids], gate_up_E2FD[e], down_EDF[e])
        )
        begin += n
    return out, token, counts


def sorted_weights_stay(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    T, K = topk_ids_TK.shape
    E, D, _ = down_EDF.shape
    flat = topk_ids_TK.view(-1)
    order = flat.argsort()
    token = order // K
    counts = torch.bincount(flat, minlength=E)
    ends = counts.cumsum(0)
    y = torch.cat(
        [
            _ffn(hidden_TD[token[int(end - n) : int(end)]], gate_up_E2FD[e], down_EDF[e])
            for e, (n, end) in enumerate(zip(counts, ends, strict=True))
        ]
    )
    out = torch.zeros(T, D).index_add(0, token, y * topk_weights_TK.view(-1, 1))
    return out, token, counts


def sorted_returns_slots(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    _T, K = topk_ids_TK.shape
    flat = topk_ids_TK.flatten()
    slots = torch.sort(flat).indices
    counts = torch.bincount(flat, minlength=len(gate_up_E2FD))
    out = torch.zeros_like(hidden_TD)
    i = 0
    for e, n in enumerate(counts.tolist()):
        s = slots[i : i + n]
        y = _ffn(hidden_TD[s // K], gate_up_E2FD[e], down_EDF[e])
        out = out.index_add(0, s // K, y * topk_weights_TK.flatten()[s][:, None])
        i += n
    return out, slots, counts


def sorted_rows_of_order(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    K = topk_ids_TK.shape[1]
    sorted_ids, order = topk_ids_TK.flatten().sort()
    counts = torch.bincount(sorted_ids, minlength=len(down_EDF))
    token = order // K
    out = torch.zeros_like(hidden_TD)
    for e in range(len(down_EDF)):
        rows = torch.where(topk_ids_TK == e)[0]
        y = _ffn(hidden_TD[rows], gate_up_E2FD[e], down_EDF[e])
        out.index_add_(0, rows, y * topk_weights_TK[rows, e % K, None])
    return out, token, counts


# 02.router_gradient


def grad_no_jacobian(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    g = (results_TKD * upstream_TD[:, None]).sum(-1)
    dlogits = torch.zeros_like(logits_TE).scatter(1, topk_ids_TK, g)
    return dlogits.T @ hidden_TD


def grad_always_chosen(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    z = logits_TE.gather(1, topk_ids_TK)
    p = z.softmax(-1) if renormalize else logits_TE.softmax(-1).gather(1, topk_ids_TK)
    g = torch.einsum("tkd,td->tk", results_TKD, upstream_TD)
    dz = p * (g - (p * g).sum(-1, keepdim=True))
    full = torch.zeros_like(logits_TE)
    full.scatter_(1, topk_ids_TK, dz)
    return full.T @ hidden_TD


def grad_transposed(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    g = torch.einsum("tkd,td->tk", results_TKD, upstream_TD)
    dw = torch.zeros_like(logits_TE).scatter(1, topk_ids_TK, g)
    if renormalize:
        p = torch.zeros_like(logits_TE).scatter(1, topk_ids_TK, logits_TE.gather(1, topk_ids_TK).softmax(1))
    else:
        p = logits_TE.softmax(1)
    dz = p * (dw - (p * dw).sum(1, keepdim=True))
    return hidden_TD.T @ dz


def grad_averaged(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    return grad_transposed(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize).T / len(
        hidden_TD
    )


def grad_diagonal(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    z = logits_TE.gather(1, topk_ids_TK)
    p = F.softmax(z, dim=-1) if renormalize else F.softmax(logits_TE, dim=-1).gather(1, topk_ids_TK)
    g = (results_TKD * upstream_TD.unsqueeze(1)).sum(dim=2)
    dz = p * (1 - p) * g
    out = torch.zeros(logits_TE.shape[1], hidden_TD.shape[1])
    for t in range(len(hidden_TD)):
        for k in range(topk_ids_TK.shape[1]):
            out[topk_ids_TK[t, k]] += dz[t, k] * hidden_TD[t]
    return out


def grad_flag_backwards(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    return grad_transposed(
        hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, not renormalize
    ).T.contiguous()


# 02.shared_expert


def _shared(hidden_TD, gate_up_2GD, down_DG):
    g, u = (hidden_TD @ gate_up_2GD.T).chunk(2, dim=1)
    return (F.silu(g) * u) @ down_DG.T


def shared_scaled_too(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    routed = (results_TKD * topk_weights_TK[:, :, None]).sum(1)
    return scale * (routed + _shared(hidden_TD, gate_up_2GD, down_DG))


def shared_scale_elsewhere(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    routed = torch.einsum("tkd,tk->td", results_TKD, topk_weights_TK)
    return routed + scale * _shared(hidden_TD, gate_up_2GD, down_DG)


def shared_no_silu(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    g = gate_up_2GD.shape[0] // 2
    gate, up = gate_up_2GD[:g], gate_up_2GD[g:]
    shared = F.linear(F.linear(hidden_TD, gate) * F.linear(hidden_TD, up), down_DG)
    return scale * (results_TKD * topk_weights_TK.unsqueeze(-1)).sum(dim=1) + shared


def shared_unweighted(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    return results_TKD.sum(1) * scale + _shared(hidden_TD, gate_up_2GD, down_DG)


def shared_weights_squeezed(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    routed = (topk_weights_TK * results_TKD).sum(dim=1) * scale
    return routed + _shared(hidden_TD, gate_up_2GD, down_DG)


def shared_as_one_more(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    routed = (results_TKD * topk_weights_TK[..., None]).sum(1)
    return (scale * routed + _shared(hidden_TD, gate_up_2GD, down_DG)) / 2


FRESH = {
    "02.moe_sorted": [
        ("token by modulo", sorted_modulo, {"modulo"}),
        ("out[token] +=", sorted_plain_index, {"overwritten"}),
        ("bincount without minlength", sorted_bincount, {"short_counts"}),
        ("weights in the old order", sorted_weights_stay, {"weights_unsorted"}),
        ("slots, not tokens", sorted_returns_slots, {"slots_not_tokens"}),
        ("weight of a wrong column", sorted_rows_of_order, set()),
    ],
    "02.router_gradient": [
        ("no Jacobian", grad_no_jacobian, {"no_softmax"}),
        ("chosen experts alone", grad_always_chosen, {"chosen_only"}),
        ("[D, E]", grad_transposed, {"transposed"}),
        ("mean over tokens", grad_averaged, {"mean"}),
        ("p (1 - p)", grad_diagonal, {"diagonal"}),
        ("the flag the wrong way round", grad_flag_backwards, {"flag_swapped"}),
    ],
    "02.shared_expert": [
        ("all of it scaled", shared_scaled_too, {"scaled"}),
        ("the shared expert scaled", shared_scale_elsewhere, {"scale_on_shared"}),
        ("no silu", shared_no_silu, {"no_silu"}),
        ("no weights", shared_unweighted, {"no_weights"}),
        ("weights without an axis", shared_weights_squeezed, {"keepdim_missing"}),
        ("halved", shared_as_one_more, {"averaged"}),
    ],
}
