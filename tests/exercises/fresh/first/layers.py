"""Fresh wrong answers: experts, layers and blocks (lessons 02 and 10)."""

import torch
import torch.nn.functional as F

# 02.swiglu


def swiglu_silu_on_up(hidden_ND, gate_FD, up_FD, down_DF):
    return (F.silu(hidden_ND @ up_FD.T) * (hidden_ND @ gate_FD.T)) @ down_DF.T


def swiglu_no_transpose(hidden_ND, gate_FD, up_FD, down_DF):
    return (F.silu(hidden_ND @ gate_FD) * (hidden_ND @ up_FD)) @ down_DF


def swiglu_down_not_turned(hidden_ND, gate_FD, up_FD, down_DF):
    return (F.silu(hidden_ND @ gate_FD.T) * (hidden_ND @ up_FD.T)) @ down_DF


def swiglu_sigmoid(hidden_ND, gate_FD, up_FD, down_DF):
    return (torch.sigmoid(hidden_ND @ gate_FD.T) * (hidden_ND @ up_FD.T)) @ down_DF.T


def swiglu_silu_after(hidden_ND, gate_FD, up_FD, down_DF):
    return F.silu((hidden_ND @ gate_FD.T) * (hidden_ND @ up_FD.T)) @ down_DF.T


def swiglu_in_numpy(hidden_ND, gate_FD, up_FD, down_DF):
    x, g, u, d = (t.detach().numpy() for t in (hidden_ND, gate_FD, up_FD, down_DF))
    a = x @ g.T
    import numpy as np

    return torch.tensor((a / (1 + np.exp(-a)) * (x @ u.T)) @ d.T)


# 02.moe_sorted


def _expert(x, gu, dn):
    g, u = (x @ gu.T).chunk(2, dim=-1)
    return (F.silu(g) * u) @ dn.T


def _run(rows, counts, gate_up, down):
    return torch.cat([_expert(r, g, d) for r, g, d in zip(rows.split(counts), gate_up, down, strict=True)])


def sorted_weights_then_fold(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    T, K = topk_ids_TK.shape
    order = topk_ids_TK.flatten().argsort(stable=True)
    tokens = order // K
    counts = torch.bincount(topk_ids_TK.flatten(), minlength=len(down_EDF))
    y = _run(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    y = y * topk_weights_TK.flatten()[order][:, None]
    return y.view(T, K, hidden_TD.shape[1]).sum(1), tokens, counts


def sorted_fold_with_minus_one(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    T, K = topk_ids_TK.shape
    order = topk_ids_TK.flatten().argsort(stable=True)
    tokens = order // K
    counts = torch.bincount(topk_ids_TK.flatten(), minlength=len(down_EDF))
    y = _run(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    return (y.view(T, K, -1) * topk_weights_TK[..., None]).sum(1), tokens, counts


def sorted_no_minlength(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    K = topk_ids_TK.shape[1]
    order = topk_ids_TK.flatten().argsort(stable=True)
    tokens = order // K
    counts = torch.bincount(topk_ids_TK.flatten())
    y, start = [], 0
    for e, n in enumerate(counts.tolist()):
        y.append(_expert(hidden_TD[tokens[start : start + n]], gate_up_E2FD[e], down_EDF[e]))
        start += n
    y = torch.cat(y) * topk_weights_TK.flatten()[order][:, None]
    return torch.zeros_like(hidden_TD).index_add(0, tokens, y), tokens, counts


def sorted_plus_equals(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    K = topk_ids_TK.shape[1]
    order = topk_ids_TK.flatten().argsort(stable=True)
    tokens = order // K
    counts = torch.bincount(topk_ids_TK.flatten(), minlength=len(down_EDF))
    y = _run(hidden_TD[tokens], counts.tolist(), gate_up_E2FD, down_EDF)
    out = torch.zeros_like(hidden_TD)
    out[tokens] += y * topk_weights_TK.flatten()[order][:, None]
    return out, tokens, counts


def sorted_order_returned(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    K = topk_ids_TK.shape[1]
    order = topk_ids_TK.flatten().argsort(stable=True)
    counts = torch.bincount(topk_ids_TK.flatten(), minlength=len(down_EDF))
    y = _run(hidden_TD[order // K], counts.tolist(), gate_up_E2FD, down_EDF)
    y = y * topk_weights_TK.flatten()[order][:, None]
    return torch.zeros_like(hidden_TD).index_add(0, order // K, y), order, counts


def sorted_slots_as_rows(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    order = topk_ids_TK.flatten().argsort(stable=True)
    counts = torch.bincount(topk_ids_TK.flatten(), minlength=len(down_EDF))
    y = _run(hidden_TD[order], counts.tolist(), gate_up_E2FD, down_EDF)
    y = y * topk_weights_TK.flatten()[order][:, None]
    return torch.zeros_like(hidden_TD).index_add(0, order, y), order, counts


# 10.moe_block


def _block(
    x,
    norm,
    router,
    gu,
    dn,
    k,
    eps,
    *,
    read=None,
    route=None,
    mean=True,
    inside=True,
    add=None,
    all_softmax=False,
):
    ms = x.square().mean(-1, keepdim=True) if mean else x.square().sum(-1, keepdim=True)
    n = x / (ms + eps).sqrt() * norm if inside else x / (ms.sqrt() + eps) * norm
    read, route, add = (
        (n if read is None else read),
        (n if route is None else route),
        (x if add is None else add),
    )
    z = route @ router.T
    if all_softmax:
        w, ids = z.softmax(-1).topk(k, dim=-1)
    else:
        v, ids = z.topk(k, dim=-1)
        w = v.softmax(-1)
    out = torch.zeros_like(x)
    for e in range(len(router)):
        t, s = torch.where(ids == e)
        g, u = (read[t] @ gu[e].T).chunk(2, -1)
        out = out.index_add(0, t, w[t, s][:, None] * ((F.silu(g) * u) @ dn[e].T))
    return add + out


def block_softmax_all(*args):
    return _block(*args, all_softmax=True)


def block_route_raw(*args):
    return _block(*args, route=args[0])


def block_eps_outside(*args):
    return _block(*args, inside=False)


def block_no_residual(*args):
    return _block(*args, add=torch.zeros_like(args[0]))


def block_no_keepdim(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    n = stream_TD / (stream_TD.square().mean(-1) + eps).sqrt() * norm_D
    return _block(n, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps)


def block_in_place(stream_TD, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps):
    old = stream_TD.clone()
    stream_TD += _block(old, norm_D, router_ED, gate_up_proj, down_proj, top_k, eps) - old
    return stream_TD


# 02.shared_expert


def _shared(x, gu, dn):
    g, u = (x @ gu.T).chunk(2, -1)
    return (F.silu(g) * u) @ dn.T


def shared_scaled_too(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    routed = (results_TKD * topk_weights_TK[..., None]).sum(1)
    return scale * (routed + _shared(hidden_TD, gate_up_2GD, down_DG))


def shared_no_scale(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    return (results_TKD * topk_weights_TK[..., None]).sum(1) + _shared(hidden_TD, gate_up_2GD, down_DG)


def shared_weights_not_lifted(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    return scale * (results_TKD * topk_weights_TK).sum(1) + _shared(hidden_TD, gate_up_2GD, down_DG)


def shared_halves(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    u, g = (hidden_TD @ gate_up_2GD.T).chunk(2, -1)
    return scale * (results_TKD * topk_weights_TK[..., None]).sum(1) + (F.silu(g) * u) @ down_DG.T


def shared_rescaled(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    w = topk_weights_TK / topk_weights_TK.sum(-1, keepdim=True)
    return scale * (results_TKD * w[..., None]).sum(1) + _shared(hidden_TD, gate_up_2GD, down_DG)


def shared_residual(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    routed = scale * (results_TKD * topk_weights_TK[..., None]).sum(1)
    return hidden_TD + routed + _shared(hidden_TD, gate_up_2GD, down_DG)


FRESH = {
    "02.swiglu": [
        ("silu on the other side", swiglu_silu_on_up, {"swapped"}),
        ("no .T", swiglu_no_transpose, {"transpose_missing"}),
        ("down without .T", swiglu_down_not_turned, {"transpose_missing"}),
        ("sigmoid for silu", swiglu_sigmoid, {"sigmoid"}),
        ("silu after the product", swiglu_silu_after, {"late_silu"}),
        ("in numpy", swiglu_in_numpy, {"gradient_lost"}),
    ],
    "02.moe_sorted": [
        (
            "weights sorted, rows folded unsorted",
            sorted_weights_then_fold,
            {"not_put_back", "weighted_not_put_back"},
        ),
        ("folded unsorted, with -1", sorted_fold_with_minus_one, {"not_put_back"}),
        ("bincount without minlength", sorted_no_minlength, {"no_minlength", "short_counts"}),
        ("out[tokens] += rows", sorted_plus_equals, {"overwritten"}),
        ("slots returned", sorted_order_returned, {"slots_not_tokens"}),
        (
            "slots as rows",
            sorted_slots_as_rows,
            {"index_beyond_rows", "rows_indexed_for_gather", "slots_read_tokens"},
        ),
    ],
    "02.shared_expert": [
        ("scale over both", shared_scaled_too, {"scaled"}),
        ("no scale", shared_no_scale, {"unscaled"}),
        ("weights without an axis", shared_weights_not_lifted, {"shapes_do_not_line_up", "keepdim_missing"}),
        ("gate and up swapped", shared_halves, {"up_first"}),
        ("weights rescaled", shared_rescaled, {"renormalized", "renormalised"}),
        ("residual added", shared_residual, {"residual"}),
    ],
    "10.moe_block": [
        ("softmax over all experts", block_softmax_all, {"not_renormalised"}),
        ("router reads the stream", block_route_raw, {"routes_on_stream"}),
        ("eps outside", block_eps_outside, {"eps_outside"}),
        ("no residual", block_no_residual, {"no_residual"}),
        ("mean without keepdim", block_no_keepdim, {"keepdim_missing"}),
        ("stream changed in place", block_in_place, {"arguments_changed"}),
    ],
}
