"""The fourth set, lesson 11: a layer that is cut, what it costs, and experts in a latent."""

import math

import torch
import torch.nn.functional as F


def split(
    gate_up,
    down,
    router,
    g,
    *,
    cut=lambda rows, g: rows.chunk(g, 1),
    join=lambda gate, up: torch.cat([gate, up], 1),
    columns=lambda down, g: torch.stack(down.chunk(g, 2), 1).flatten(0, 1),
    rows=lambda router, g: router.repeat_interleave(g, 0),
):
    gate, up = gate_up.chunk(2, dim=1)
    slices = [join(*pair) for pair in zip(cut(gate, g), cut(up, g), strict=True)]
    return torch.stack(slices, 1).flatten(0, 1), columns(down, g), rows(router, g), float(g)


def split_every_gth(gate_up, down, router, g):
    """The units dealt out like cards; the layer computes the same, the slices are others."""
    return split(
        gate_up,
        down,
        router,
        g,
        cut=lambda rows, g: [rows[:, s::g] for s in range(g)],
        columns=lambda down, g: torch.stack([down[:, :, s::g] for s in range(g)], 1).flatten(0, 1),
    )


def split_up_first(*args):
    return split(*args, join=lambda gate, up: torch.cat([up, gate], 1))


def split_rows_in_pairs(*args):
    """Gate and up rows of a unit beside each other."""
    return split(*args, join=lambda gate, up: torch.stack([gate, up], 2).flatten(1, 2))


def split_down_slice_major(*args):
    return split(*args, columns=lambda down, g: torch.cat(down.chunk(g, dim=2)))


def split_down_averaged(*args):
    return split(*args, columns=lambda down, g: torch.stack((down / g).chunk(g, 2), 1).flatten(0, 1))


def split_router_wide(*args):
    return split(*args, rows=lambda router, g: router.repeat_interleave(g, dim=1))


def split_router_first_slice(*args):
    """Only the first slice of each expert gets the row."""

    def rows(router, g):
        new = torch.zeros(len(router) * g, router.shape[1])
        new[::g] = router
        return new

    return split(*args, rows=rows)


def split_down_turned(gate_up, down, router, g):
    E, D, width = down.shape
    turned = down.transpose(1, 2).reshape(E * g, width // g, D)
    return split(gate_up, down, router, g, columns=lambda *_: turned)


def split_runs_of_g(gate_up, down, router, g):
    """Runs of G units where G runs are asked for."""
    gate, up = gate_up.chunk(2, dim=1)
    gate_ups, downs = [], []
    for e in range(len(down)):
        for s in range(g):
            run = slice(s * g, (s + 1) * g)
            gate_ups.append(torch.cat([gate[e, run], up[e, run]]))
            downs.append(down[e][:, run])
    return torch.stack(gate_ups), torch.stack(downs), router.repeat_interleave(g, 0), g


def costs(d, f, e, k, g, *, router=None, total=None, active=None, share=None, choices=None):
    router = d * e * g if router is None else router
    total = router + 3 * d * f * e if total is None else total
    active = router + 3 * d * f * k if active is None else active
    share = router / active if share is None else share
    return total, active, share, math.log2(math.comb(e * g, k * g)) if choices is None else choices


def costs_share_upside_down(d, f, e, k, g):
    return costs(d, f, e, k, g, share=(d * e * g + 3 * d * f * k) / (d * e * g))


def costs_percent(d, f, e, k, g):
    return costs(d, f, e, k, g, share=100 * d * e * g / (d * e * g + 3 * d * f * k))


def costs_router_not_active(d, f, e, k, g):
    return costs(d, f, e, k, g, active=3 * d * f * k, share=d * e * g / (d * e * g + 3 * d * f * k))


def costs_with_repetition(d, f, e, k, g):
    return costs(d, f, e, k, g, choices=k * g * math.log2(e * g))


def costs_log10(d, f, e, k, g):
    return costs(d, f, e, k, g, choices=math.log10(math.comb(e * g, k * g)))


def costs_no_log(d, f, e, k, g):
    return costs(d, f, e, k, g, choices=math.comb(e * g, k * g))


def costs_number_not_grown(d, f, e, k, g):
    """E slices of F/G, where E·G are there."""
    router = d * e * g
    active = router + k * 3 * d * (f // g)
    return costs(d, f, e, k, g, total=router + e * 3 * d * (f // g), active=active)


def costs_k_of_many(d, f, e, k, g):
    return costs(d, f, e, k, g, choices=math.log2(math.comb(e * g, k)))


def costs_one_slice_of_each(d, f, e, k, g):
    return costs(d, f, e, k, g, choices=math.log2(math.comb(e, k) * g**k))


def costs_router_bias(d, f, e, k, g):
    return costs(d, f, e, k, g, router=(d + 1) * e * g)


def costs_other_order(d, f, e, k, g):
    total, active, share, choices = costs(d, f, e, k, g)
    return active, total, share, choices


def latent(x, r, v, gu, dn, u, k, *, weigh=lambda best: best.softmax(-1), act=None, into=None, out=None):
    best, ids = (x @ r.T).topk(k)
    z = x @ v.T if into is None else into(x @ v.T)
    gate, up = torch.einsum("tl,tkhl->tkh", z, gu[ids]).chunk(2, -1)
    hidden = F.silu(gate) * up if act is None else act(gate, up)
    answers = torch.einsum("tkf,tklf->tkl", hidden, dn[ids])
    weighted = weigh(best)[..., None] * answers
    return (weighted.sum(1) if out is None else out(weighted)) @ u.T


def latent_sigmoid(*args):
    return latent(*args, weigh=torch.sigmoid)


def latent_divided_logits(*args):
    return latent(*args, weigh=lambda best: best / best.sum(-1, keepdim=True))


def latent_softmax_over_tokens(*args):
    return latent(*args, weigh=lambda best: best.softmax(0))


def latent_zeros_for_the_rest(x, r, v, gu, dn, u, k):
    """The logits that were not chosen set to 0, not to -inf, before the softmax over all E."""
    rest = len(r) - k
    return latent(
        x, r, v, gu, dn, u, k, weigh=lambda best: best.exp() / (best.exp().sum(-1, keepdim=True) + rest)
    )


def latent_gelu(*args):
    return latent(*args, act=lambda gate, up: F.gelu(gate) * up)


def latent_silu_of_product(*args):
    return latent(*args, act=lambda gate, up: F.silu(gate * up))


def latent_active(*args):
    return latent(*args, into=F.silu)


def latent_normed(*args):
    return latent(*args, into=lambda z: F.layer_norm(z, z.shape[-1:]))


def latent_mean(*args):
    return latent(*args, out=lambda weighted: weighted.mean(1))


def latent_overwritten(x, r, v, gu, dn, u, k):
    """`out[token] = ...` in the loop over experts, where += is needed."""
    best, ids = (x @ r.T).topk(k)
    weights, z = best.softmax(-1), x @ v.T
    out = torch.zeros_like(x)
    for e in range(len(r)):
        token, place = torch.where(ids == e)
        gate, up = (z[token] @ gu[e].T).chunk(2, -1)
        out[token] = weights[token, place, None] * ((F.silu(gate) * up) @ dn[e].T) @ u.T
    return out


def latent_first_weight(*args):
    return latent(*args, weigh=lambda best: best.softmax(-1)[:, :1].expand_as(best))


def latent_ids_sorted(x, r, v, gu, dn, u, k):
    """The ids put in order, the weights left as they were."""
    ids = (x @ r.T).topk(k).indices
    rank = ids.argsort(-1).argsort(-1)
    return latent(x, r, v, gu, dn, u, k, weigh=lambda best: best.softmax(-1).gather(1, rank))


FRESH = {
    "11.split_expert": [
        ("every G-th unit, everywhere", split_every_gth, {"every_gth_unit"}),
        ("up rows first", split_up_first, {"up_first"}),
        ("gate and up rows in pairs", split_rows_in_pairs, {"rows_in_pairs"}),
        ("down slice by slice", split_down_slice_major, {"parts_in_two_orders"}),
        ("down divided by G", split_down_averaged, {"down_divided"}),
        ("router rows made longer", split_router_wide, {"router_rows_missing"}),
        ("router row for the first slice only", split_router_first_slice, {"one_slice_chosen"}),
        ("down turned and left so", split_down_turned, {"down_turned"}),
        ("runs of G units", split_runs_of_g, {"runs_of_g"}),
    ],
    "11.cut_costs": [
        ("share upside down", costs_share_upside_down, {"share_upside_down"}),
        ("share in percent", costs_percent, {"share_in_percent"}),
        ("a token does not use the router", costs_router_not_active, {"router_not_used"}),
        ("sets with repetition", costs_with_repetition, {"with_repetition"}),
        ("log10", costs_log10, {"natural_log"}),
        ("no logarithm", costs_no_log, {"no_log"}),
        ("as many slices as there were experts", costs_number_not_grown, {"number_not_grown"}),
        ("K of E·G", costs_k_of_many, {"k_not_grown"}),
        ("one slice of each of K experts", costs_one_slice_of_each, {"one_slice_of_each"}),
        ("a bias in the router", costs_router_bias, {"biases_counted"}),
        ("active before total", costs_other_order, {"outputs_swapped"}),
    ],
    "11.latent_moe": [
        ("sigmoid of the logits", latent_sigmoid, {"sigmoid_weights"}),
        ("logits over their sum", latent_divided_logits, {"not_the_softmax"}),
        ("softmax over the tokens", latent_softmax_over_tokens, {"softmax_over_tokens"}),
        ("zeros in place of -inf", latent_zeros_for_the_rest, {"rest_is_zero"}),
        ("gelu", latent_gelu, {"relu"}),
        ("silu of the product", latent_silu_of_product, {"activation_misplaced"}),
        ("silu in the latent", latent_active, {"activation_misplaced"}),
        ("norm in the latent", latent_normed, {"normed"}),
        ("mean of the weighted answers", latent_mean, {"size_factor"}),
        ("overwritten by the last expert", latent_overwritten, {"overwritten"}),
        ("the first weight for all", latent_first_weight, {"weights_of_others"}),
        ("ids sorted, weights not", latent_ids_sorted, {"weights_of_others"}),
    ],
}
