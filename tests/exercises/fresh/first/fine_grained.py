"""Further wrong answers to lesson 11, as they come to mind."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def _halves(gu):
    return gu.chunk(2, dim=1)


def split_gate_only(gu, dn, r, g):
    """Gate cut, up left as it lies beside every slice: up rows of slice 0 for all."""
    gate, up = _halves(gu)
    f = dn.shape[2] // g
    rows = torch.stack([torch.cat([c, up[:, :f]], 1) for c in gate.chunk(g, 1)], 1).flatten(0, 1)
    return rows, torch.stack(dn.chunk(g, 2), 1).flatten(0, 1), r.repeat_interleave(g, 0), float(g)


def split_down_stacked(gu, dn, r, g):
    """down_proj reshaped instead of cut along its last axis."""
    gate, up = _halves(gu)
    slices = [torch.cat(p, 1) for p in zip(gate.chunk(g, 1), up.chunk(g, 1), strict=True)]
    E, D, Fw = dn.shape
    return (
        torch.stack(slices, 1).flatten(0, 1),
        dn.reshape(E * g, D, Fw // g),
        r.repeat_interleave(g, 0),
        float(g),
    )


def split_factor_k(gu, dn, r, g):
    """The factor of a softmax over all slices."""
    gate, up = _halves(gu)
    slices = [torch.cat(p, 1) for p in zip(gate.chunk(g, 1), up.chunk(g, 1), strict=True)]
    down = torch.stack(dn.chunk(g, 2), 1).flatten(0, 1)
    return torch.stack(slices, 1).flatten(0, 1), down, r.repeat_interleave(g, 0), 1 / math.sqrt(g)


def costs_router_twice(d, f, e, k, g):
    active = 2 * d * e * g + 3 * k * d * f
    return 2 * d * e * g + 3 * e * d * f, active, 2 * d * e * g / active, math.log2(math.comb(e * g, k * g))


def costs_one_slice(d, f, e, k, g):
    """Choices of one slice at a time."""
    a = d * e * g + 3 * k * d * f
    return d * e * g + 3 * e * d * f, a, d * e * g / a, math.log2(e * g)


def costs_all_active(d, f, e, k, g):
    t = d * e * g + 3 * e * d * f
    return t, t, d * e * g / t, math.log2(math.comb(e * g, k * g))


def latent_softmax_first(x, r, v, gu, dn, u, k):
    p = (x @ r.T).softmax(-1)
    w, i = p.topk(k)
    return _latent(x, v, gu, dn, u, w, i)


def latent_no_up(x, r, v, gu, dn, u, k):
    w, i = (x @ r.T).topk(k)
    return _sum(x @ v.T, gu, dn, w.softmax(-1), i)


def latent_argmax(x, r, v, gu, dn, u, k):
    w, i = (x @ r.T).topk(1)
    return _latent(x, v, gu, dn, u, w.softmax(-1), i)


def latent_plain_logits(x, r, v, gu, dn, u, k):
    w, i = (x @ r.T).topk(k)
    return _latent(x, v, gu, dn, u, w, i)


def _sum(z, gu, dn, w, i):
    gate, up = torch.einsum("tl,tkhl->tkh", z, gu[i]).chunk(2, -1)
    return (w[..., None] * torch.einsum("tkf,tklf->tkl", F.silu(gate) * up, dn[i])).sum(1)


def _latent(x, v, gu, dn, u, w, i):
    return _sum(x @ v.T, gu, dn, w, i) @ u.T


def levels_full_then_pick(g, e, k1, k2):
    """Both softmaxes first, then the chosen ones, as they are."""
    p, q = g.softmax(-1), e.softmax(-1)
    gv, gi = p.topk(k1)
    ev, ei = q[torch.arange(len(g))[:, None], gi].topk(k2)
    ids, w = (gi[..., None] * e.shape[2] + ei).flatten(1), (gv[..., None] * ev).flatten(1)
    return ids, w, torch.zeros(e[0].numel()).index_add(0, ids.flatten(), w.flatten()).view(e.shape[1:])


def levels_global_experts(g, e, k1, k2):
    """Experts chosen among those of all chosen groups together."""
    gv, gi = g.topk(k1)
    rows = e[torch.arange(len(g))[:, None], gi] + gv[..., None]
    w, places = rows.flatten(1).topk(k1 * k2)
    ids = gi.gather(1, places // e.shape[2]) * e.shape[2] + places % e.shape[2]
    w = w.softmax(-1)
    return ids, w, torch.zeros(e[0].numel()).index_add(0, ids.flatten(), w.flatten()).view(e.shape[1:])


def levels_importance_transposed(g, e, k1, k2):
    ids, w, importance = levels_right(g, e, k1, k2)
    return ids, w, importance.T.reshape(importance.shape)


def levels_right(g, e, k1, k2):
    gv, gi = g.topk(k1)
    ev, ei = e[torch.arange(len(g))[:, None], gi].topk(k2)
    ids = (gi[..., None] * e.shape[2] + ei).flatten(1)
    w = (gv.softmax(-1)[..., None] * ev.softmax(-1)).flatten(1)
    return ids, w, torch.zeros(e[0].numel()).index_add(0, ids.flatten(), w.flatten()).view(e.shape[1:])


def _scan(flops, expansion, grains, per_token, total):
    n = np.geomspace(2, 400, 6000)
    d = 64 * n
    rows = []
    for g in grains.tolist():
        tokens = flops / per_token(n, d, g)
        loss = 0.47 + (2.1 / g**0.58 + 18.1) / total(n, d) ** 0.115 + 30.8 / tokens**0.147
        i = loss.argmin()
        rows.append((loss[i], g, 12 * d[i] ** 2 * n[i], tokens[i]))
    loss, g, active, tokens = min(rows)
    return g, float(active), float(tokens), float(loss)


def optimum_router_once(flops, expansion, grains):
    """The router's FLOPs once for the model, not for each block."""
    return _scan(
        flops,
        expansion,
        grains,
        lambda n, d, g: 72 * d**2 * n + 14 * d * expansion * g,
        lambda n, d: (8 * expansion + 4) * d**2 * n,
    )


def optimum_free_router(flops, expansion, grains):
    return _scan(
        flops,
        expansion,
        grains,
        lambda n, d, g: 6 * 12 * d**2 * n,
        lambda n, d: (8 * expansion + 4) * d**2 * n,
    )


def optimum_active_loss(flops, expansion, grains):
    return _scan(
        flops,
        expansion,
        grains,
        lambda n, d, g: n * (72 * d**2 + 14 * d * expansion * g),
        lambda n, d: 12 * d**2 * n,
    )


def _leverage(a_hat, log_g, log_c):
    return a_hat ** (1.23 - 7.61e-2 * log_c + 1.67e-2 * log_g**2 - 1.17e-1 * log_g)


def leverage_numpy_logs(activation, granularity, flops):
    return float(_leverage(activation + 1.63e-2, np.log(granularity), np.log(flops)))


def leverage_plus(activation, granularity, flops):
    """The sign of d lost."""
    x = math.log2(granularity)
    return (activation + 1.63e-2) ** (1.23 + 7.61e-2 * math.log10(flops) + 1.67e-2 * x**2 - 1.17e-1 * x)


def leverage_raw(activation, granularity, flops):
    return _leverage(activation, math.log2(granularity), math.log10(flops))


FRESH = {
    "11.split_expert": [
        ("up not cut", split_gate_only, {"up_not_cut"}),
        ("down reshaped", split_down_stacked, {"down_reshaped"}),
        ("one over the root", split_factor_k, {"factor_root"}),
    ],
    "11.cut_costs": [
        ("router counted twice", costs_router_twice, set()),
        ("one slice's choices", costs_one_slice, {"one_slice"}),
        ("all of it active", costs_all_active, {"all_active"}),
    ],
    "11.latent_moe": [
        ("softmax, then top-k", latent_softmax_first, {"softmax_over_all"}),
        ("no way back", latent_no_up, {"stays_in_latent"}),
        ("the best expert only", latent_argmax, {"first_expert_only"}),
        ("logits as weights", latent_plain_logits, {"logits_as_weights"}),
    ],
    "11.hierarchical": [
        ("softmaxes first", levels_full_then_pick, {"both_over_all"}),
        ("experts of all chosen groups together", levels_global_experts, {"pooled"}),
        ("importance turned over", levels_importance_transposed, {"importance_turned_over"}),
    ],
    "11.compute_optimal": [
        ("router once a model", optimum_router_once, {"router_once"}),
        ("router free", optimum_free_router, {"routing_is_free"}),
        ("active in the loss", optimum_active_loss, {"active_in_the_loss"}),
    ],
    "11.leverage": [
        ("numpy's log", leverage_numpy_logs, {"natural_both"}),
        ("sign of d", leverage_plus, {"d_positive"}),
        ("A for A hat", leverage_raw, {"not_saturated"}),
    ],
}
