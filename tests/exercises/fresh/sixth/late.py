"""The sixth set, lessons 11 and 12: what a class would most likely hand in, known names or not."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from fresh.fourth.cuts import costs, latent, split
from fresh.fourth.information import H, I, beyond, verdict
from fresh.fourth.levels_laws import levels, leverage, optimum
from fresh.fourth.traces import local, saturate, together


def split_reshape_everything(gate_up, down, router, g):
    E, rows, D = gate_up.shape
    return (
        gate_up.reshape(E * g, rows // g, D),
        down.reshape(E * g, D, -1),
        router.repeat_interleave(g, 0),
        float(g),
    )


def split_no_factor_tiled(*args):
    return *split(*args)[:2], args[2].repeat(args[3], 1), float(args[3])


def split_one(*args):
    return *split(*args)[:3], 1.0


def split_half_swapped(*args):
    gate_up, down, router, g = args
    up, gate = gate_up.chunk(2, 1)
    return split(torch.cat([gate, up], 1), down, router, g)


def costs_router_at_first_size(d, f, e, k, g):
    return costs(d, f, e, k, g, router=d * e)


def costs_two_matrices(d, f, e, k, g):
    active = d * e * g + 2 * d * f * k
    return costs(d, f, e, k, g, total=d * e * g + 2 * d * f * e, active=active)


def costs_share_of_all(d, f, e, k, g):
    return costs(d, f, e, k, g, share=d * e * g / (d * e * g + 3 * d * f * e))


def costs_ln(d, f, e, k, g):
    return costs(d, f, e, k, g, choices=math.log(math.comb(e * g, k * g)))


def latent_all_softmax(x, r, v, gu, dn, u, k):
    p = (x @ r.T).softmax(-1)
    w = p.topk(k).values
    return latent(x, r, v, gu, dn, u, k, weigh=lambda best: w)


def latent_no_gate(*args):
    return latent(*args, act=lambda gate, up: F.silu(gate))


def latent_relu(*args):
    return latent(*args, act=lambda gate, up: F.relu(gate) * up)


def latent_with_token(x, *rest):
    return x + latent(x, *rest)


def levels_softmax_of_all(g, e, k1, k2):
    p = (g.softmax(-1)[..., None] * e.softmax(-1)).flatten(1)
    w, ids = p.topk(k1 * k2)
    return ids, w, torch.zeros(e[0].numel()).index_add(0, ids.flatten(), w.flatten()).view(e.shape[1:])


def levels_counts(*args):
    return levels(
        *args,
        importance=lambda ids, w, A, B, p, q: (
            torch.bincount(ids.flatten(), minlength=A * B).double().view(A, B)
        ),
    )


def levels_within(*args):
    return levels(*args, number=lambda c, places, A, B, k2: places)


def levels_sum(*args):
    return levels(*args, weigh=lambda p, q: p[..., None] + q)


def optimum_first_grain(flops, expansion, grains):
    return optimum(flops, expansion, grains[:1])


def optimum_router_six(*args):
    return optimum(*args, per_token=lambda n, d, E, g: n * 6 * (12 * d**2 + d * E * g))


def optimum_active_in_loss(*args):
    return optimum(*args, total=lambda n, d, E: 12 * d**2 * n)


def optimum_few_sizes(*args):
    return optimum(*args, n=np.arange(2, 400, 10.0))


def leverage_natural(*args):
    return leverage(*args, log_g=math.log, log_c=math.log)


def leverage_ten(*args):
    return leverage(*args, log_g=math.log10)


def leverage_bare(*args):
    return leverage(*args, hat=lambda A: A)


def leverage_plus_d(A, G, C):
    g = math.log2(G)
    return (A + 1.63e-2) ** (1.23 + 7.61e-2 * math.log10(C) + 1.67e-2 * g**2 - 1.17e-1 * g)


def locality_flat(x, n, E):
    row = x.flatten()
    p = torch.bincount(row, minlength=E) / len(row)
    return (row[1:] == row[:-1]).double().mean().item(), p.square().sum().item()


def locality_means(x, n, E):
    shares = [(w[1:k] == w[: k - 1]).double().mean() for w, k in zip(x, n.tolist(), strict=True)]
    return torch.stack(shares).mean().item(), local(x, n, E)[1]


def locality_over_tokens(*args):
    return local(*args, divide=lambda n: n.sum())


def saturation_slots(a, b, E):
    return (a == b).double().mean().item(), saturate(a, b, E)[1]


def saturation_even(a, b, E):
    return saturate(a, b, E)[0], a.shape[1] / E


def saturation_union(a, b, E):
    found = [len(set(x) & set(y)) / len(set(x) | set(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    return sum(found) / len(found), saturate(a, b, E)[1]


def saturation_choices(a, b, E):
    p, q = (torch.bincount(v.flatten(), minlength=E) / v.numel() for v in (a, b))
    return saturate(a, b, E)[0], (p * q).sum().item()


def coactivation_all(*args):
    return together(*args, share=lambda both, n: both / both.trace() * args[0].shape[1])


def coactivation_diagonal(ids, E):
    Z = F.one_hot(ids, E).sum(1).double()
    n = Z.sum(0)
    given = Z.T @ Z / n[:, None]
    return given, given / ((ids.shape[1] - 1) * n[None, :] / (n.sum() - n)[:, None])


def coactivation_columns(*args):
    return together(*args, share=lambda both, n: both / n[None, :])


def coactivation_even_chance(*args):
    return together(
        *args, expected=lambda K, n, T: torch.full((len(n), len(n)), (K - 1) / (len(n) - 1)).double()
    )


def beyond_plain(e, t, d):
    return I(e, d)


def beyond_mean(e, t, d):
    return sum(I(e[t == k], d[t == k]) for k in t.unique()) / len(t.unique())


def beyond_ln(e, t, d):
    return beyond(e, t, d) * math.log(2)


def beyond_minus(e, t, d):
    return I(e, d) - I(t, d)


def beyond_conditional_entropy(e, t, d):
    return H(e, t, d) - H(e, t)


def what_without_baseline(*args):
    found = verdict(*args)
    return "token" if found == "untrained" else found


def what_uncorrected(tr, un, t, d, pos):
    if beyond(tr, t, d) > 0.1:
        return "domain"
    if I(tr, pos) > 0.1:
        return "position"
    if I(tr, t) > 0.1:
        return "token" if I(tr, t) > I(un, t) + 0.2 else "untrained"
    return "nothing"


def what_plain_domain(*args):
    return verdict(*args, domain=lambda inside, plain: plain(args[0], args[3]))


def what_token_first(*args):
    found = verdict(*args, order=())
    return found if found != "nothing" else verdict(*args)


FRESH = {
    "11.split_expert": [
        ("reshape for everything", split_reshape_everything, {"stacked_rows", "down_reshaped"}),
        ("router tiled", split_no_factor_tiled, {"router_tiled"}),
        ("factor 1", split_one, {"factor_one"}),
        ("halves exchanged", split_half_swapped, {"up_first"}),
    ],
    "11.cut_costs": [
        ("router as before", costs_router_at_first_size, {"router_not_grown"}),
        ("two matrices", costs_two_matrices, {"two_matrices"}),
        ("share of all", costs_share_of_all, {"share_of_total"}),
        ("natural logarithm", costs_ln, {"natural_log"}),
    ],
    "11.latent_moe": [
        ("softmax over all", latent_all_softmax, {"softmax_over_all"}),
        ("up left out", latent_no_gate, {"activation_misplaced"}),
        ("relu", latent_relu, {"relu"}),
        ("residual", latent_with_token, {"residual_added"}),
    ],
    "11.hierarchical": [
        ("best of all products", levels_softmax_of_all, {"joint_topk"}),
        ("counts", levels_counts, {"importance_counts"}),
        ("number within the group", levels_within, {"id_within_group"}),
        ("sum", levels_sum, {"mean_of_weights"}),
    ],
    "11.compute_optimal": [
        ("first G", optimum_first_grain, {"granularity_without_gain"}),
        ("router 6", optimum_router_six, {"router_as_cheap"}),
        ("active in the loss", optimum_active_in_loss, {"active_in_the_loss"}),
        ("forty sizes", optimum_few_sizes, {"not_the_best"}),
    ],
    "11.leverage": [
        ("natural", leverage_natural, {"natural_both"}),
        ("ten", leverage_ten, {"ten_both"}),
        ("A", leverage_bare, {"not_saturated"}),
        ("sign of d", leverage_plus_d, {"d_positive"}),
    ],
    "12.locality": [
        ("flat", locality_flat, {"across_windows"}),
        ("mean of windows", locality_means, {"mean_of_windows"}),
        ("over tokens", locality_over_tokens, {"divided_by_tokens"}),
    ],
    "12.saturation": [
        ("slots", saturation_slots, {"slot_by_slot"}),
        ("even", saturation_even, {"k_over_e"}),
        ("union", saturation_union, {"jaccard"}),
        ("choices", saturation_choices, {"load_shares"}),
    ],
    "12.coactivation": [
        ("over all tokens", coactivation_all, {"share_of_tokens"}),
        ("diagonal", coactivation_diagonal, {"diagonal_kept"}),
        ("columns", coactivation_columns, {"transposed"}),
        ("even", coactivation_even_chance, {"even_chance"}),
    ],
    "12.beyond_the_token": [
        ("plain", beyond_plain, {"not_conditional"}),
        ("plain mean", beyond_mean, {"unweighted"}),
        ("natural", beyond_ln, {"nats"}),
        ("subtracted", beyond_minus, {"token_subtracted"}),
        ("conditional entropy", beyond_conditional_entropy, {"missing_bits"}),
    ],
    "12.what_is_it": [
        ("no baseline", what_without_baseline, {"no_baseline"}),
        ("no correction", what_uncorrected, {"chance_taken_for_news"}),
        ("plain domain", what_plain_domain, {"domain_through_token"}),
        ("token first", what_token_first, {"token_first"}),
    ],
}
