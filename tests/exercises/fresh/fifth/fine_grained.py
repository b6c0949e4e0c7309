"""The fifth set, lesson 11: the solutions' lines gone through one by one, and what can go wrong in each."""

import math

import numpy as np
import torch
from fresh.fourth.cuts import costs, latent, split
from fresh.fourth.levels_laws import levels, leverage, optimum


def split_backwards(*args):
    return split(
        *args,
        cut=lambda rows, g: rows.chunk(g, 1)[::-1],
        columns=lambda down, g: torch.stack(down.chunk(g, 2)[::-1], 1).flatten(0, 1),
    )


def split_up_one_further(gate_up, down, router, g):
    gate, up = gate_up.chunk(2, 1)
    rolled = torch.cat([gate, up.roll(up.shape[1] // g, 1)], 1)
    return split(rolled, down, router, g)


def split_first_columns(*args):
    return split(*args, columns=lambda down, g: down[:, :, : down.shape[2] // g].repeat_interleave(g, 0))


def split_cat_everywhere(gate_up, down, router, g):
    gate, up = gate_up.chunk(2, 1)
    parts = [torch.cat(p, 1) for p in zip(gate.chunk(g, 1), up.chunk(g, 1), strict=True)]
    return torch.cat(parts), torch.cat(down.chunk(g, 2)), router.repeat(g, 1), g


def split_factor_squared(*args):
    return *split(*args)[:3], float(args[3] ** 2)


def split_masked(gate_up, down, router, g):
    """Zeros where other slices are, at the old width."""
    E, _, width = down.shape
    slices, downs = [], []
    for e in range(E):
        for s in range(g):
            keep = torch.zeros(width)
            keep[s * width // g : (s + 1) * width // g] = 1
            slices.append(gate_up[e] * torch.cat([keep, keep])[:, None])
            downs.append(down[e] * keep)
    return torch.stack(slices), torch.stack(downs), router.repeat_interleave(g, 0), float(g)


def split_rows_in_turns(gate_up, down, router, g):
    """As if gate and up rows came in turns."""
    return split(torch.cat([gate_up[:, 0::2], gate_up[:, 1::2]], 1), down, router, g)


def split_runs_of_stacked_length(gate_up, down, router, g):
    f = gate_up.shape[1] // g
    gate, up = gate_up.chunk(2, 1)
    parts = [torch.cat([gate[:, s * f : (s + 1) * f], up[:, s * f : (s + 1) * f]], 1) for s in range(g)]
    rows = [part for e in range(len(down)) for part in (p[e] for p in parts)]
    return torch.stack(rows), split(gate_up, down, router, g)[1], router.repeat_interleave(g, 0), g


def costs_total_without_router(d, f, e, k, g):
    return costs(d, f, e, k, g, total=3 * d * f * e)


def costs_share_beside_one_slice(d, f, e, k, g):
    return costs(d, f, e, k, g, share=d * e * g / (d * e * g + 3 * d * f // g))


def costs_wider_slices(d, f, e, k, g):
    router, one = d * e * g, 3 * d * f * g
    active = router + k * g * one
    return costs(d, f, e, k, g, total=router + e * g * one, active=active)


def costs_active_not_cut(d, f, e, k, g):
    return costs(d, f, e, k, g, active=d * e * g + k * g * 3 * d * f)


def costs_old_experts_for_choices(d, f, e, k, g):
    return costs(d, f, e, k, g, choices=math.log2(math.comb(e, k * g)))


def costs_in_or_out(d, f, e, k, g):
    return costs(d, f, e, k, g, choices=e * g)


def costs_rounded(d, f, e, k, g):
    total, active, share, choices = costs(d, f, e, k, g)
    return total, active, round(share, 2), round(choices, 1)


def costs_gained_bits(d, f, e, k, g):
    right = costs(d, f, e, k, g)
    return *right[:3], right[3] - math.log2(math.comb(e, k))


def costs_one_expert_a_token(d, f, e, k, g):
    return costs(d, f, e, k, g, active=d * e * g + 3 * d * f)


def latent_not_turned(x, r, v, gu, dn, u, k):
    return latent(x, r, v, gu, dn, u.T, k)


def latent_router_cut(x, r, v, gu, dn, u, k):
    best, ids = (x @ v.T @ r[:, : len(v)].T).topk(k)
    gate, up = torch.einsum("tl,tkhl->tkh", x @ v.T, gu[ids]).chunk(2, -1)
    answers = torch.einsum("tkf,tklf->tkl", torch.nn.functional.silu(gate) * up, dn[ids])
    return torch.einsum("tk,tkl->tl", best.softmax(-1), answers) @ u.T


def latent_detached(*args):
    return latent(*args, weigh=lambda best: best.detach().softmax(-1))


def _by_experts(x, r, v, gu, dn, u, k, experts, meet=lambda slot, e: e, twice=False):
    best, ids = (x @ r.T).topk(k)
    w, z, total = best.softmax(-1), x @ v.T, torch.zeros(len(x), len(v))
    for e in experts:
        token, slot = torch.where(ids == e)
        for t, s in zip(token.tolist(), slot.tolist(), strict=True):
            own = meet(s, e)
            gate, up = (gu[own] @ (z[t] * (w[t, s] if twice else 1))).chunk(2)
            total[t] = total[t] + w[t, s] * (dn[own] @ (torch.nn.functional.silu(gate) * up))
    return total @ u.T


def latent_slot_for_expert(*args):
    return _by_experts(*args, range(len(args[1])), meet=lambda slot, e: slot)


def latent_token_and_place_swapped(x, r, v, gu, dn, u, k):
    best, ids = (x @ r.T).topk(k)
    w, z, total = best.softmax(-1), x @ v.T, torch.zeros(len(x), len(v))
    for e in range(len(r)):
        place, token = torch.where(ids == e)
        gate, up = (z[token] @ gu[e].T).chunk(2, -1)
        total = total.index_add(
            0, token, w[token, place, None] * ((torch.nn.functional.silu(gate) * up) @ dn[e].T)
        )
    return total @ u.T


def latent_over_e(x, r, *rest):
    return latent(x, r, *rest) / len(r)


def latent_last_expert_forgotten(*args):
    return _by_experts(*args, range(len(args[1]) - 1))


def latent_k_experts_visited(*args):
    return _by_experts(*args, range(args[-1]))


def latent_weighted_twice(*args):
    return _by_experts(*args, range(len(args[1])), twice=True)


def latent_one_more(x, r, v, gu, dn, u, k):
    return latent(x, r, v, gu, dn, u, min(k + 1, len(r)))


def levels_importance_of_first_group(g, e, k1, k2):
    ids, w, _ = levels(g, e, k1, k2)
    first = torch.zeros(e[0].numel()).index_add(0, ids[:, :k2].flatten(), w[:, :k2].flatten())
    return ids, w, first.view(e.shape[1:])


def levels_counts_exchanged(g, e, k1, k2):
    return levels(g, e, k2, k1)


def levels_importance_of_groups(*args):
    ids, w, importance = levels(*args)
    return ids, w, importance.sum(1)


def levels_importance_b_by_a(*args):
    ids, w, importance = levels(*args)
    return ids, w, importance.flatten().view(importance.shape[::-1])


def _masked(g, e, k1, k2, scores):
    weights, ids = scores.flatten(1).topk(k1 * k2)
    weights = weights / weights.sum(-1, keepdim=True)
    total = torch.zeros(e[0].numel()).index_add(0, ids.flatten(), weights.flatten())
    return ids, weights, total.view(e.shape[1:])


def levels_zeros_for_other_groups(g, e, k1, k2):
    chosen = torch.zeros_like(g).scatter(1, g.topk(k1).indices, 1.0)
    return _masked(g, e, k1, k2, (e * chosen[..., None]).softmax(-1) * g.softmax(-1)[..., None])


def levels_best_of_the_product(g, e, k1, k2):
    """The best k1 k2 of the product in the chosen groups, however many of each."""
    best, chosen = g.topk(k1)
    p = torch.zeros_like(g).scatter(1, chosen, best.softmax(-1))
    return _masked(g, e, k1, k2, p[..., None] * e.softmax(-1))


def levels_geometric(*args):
    return levels(*args, weigh=lambda p, q: (p[..., None] * q).sqrt())


def levels_logarithms(*args):
    return levels(*args, weigh=lambda p, q: p.log()[..., None] + q.log())


def levels_weights_by_max(*args):
    return levels(*args, weigh=lambda p, q: torch.minimum(p[..., None].expand_as(q), q))


def optimum_tokens_without_router(*args):
    return optimum(
        *args, result=lambda g, n, d, E, tokens, loss: (g, 12 * d**2 * n, args[0] / (72 * d**2 * n), loss)
    )


def optimum_up_to_forty(*args):
    return optimum(*args, n=np.geomspace(2, 12, 4000))


def optimum_width_64_in_router(*args):
    return optimum(*args, per_token=lambda n, d, E, g: n * (72 * d**2 + 14 * 64 * E * g))


def optimum_more_experts(flops, expansion, grains):
    """E·G experts of the old size in N."""
    found = [
        optimum(flops, expansion, torch.tensor([g]), total=lambda n, d, E, g=g: (8 * E * g + 4) * d**2 * n)
        for g in grains.tolist()
    ]
    return min(found, key=lambda point: point[3])


def optimum_in_billions(*args):
    return optimum(
        *args, result=lambda g, n, d, E, tokens, loss: (g, 12 * d**2 * n / 1e9, tokens / 1e9, loss)
    )


def optimum_typing_error(*args):
    return optimum(*args, loss=lambda g, N, D: 0.47 + (2.1 / g**0.58 + 18.1) / N**0.155 + 30.8 / D**0.147)


def optimum_n_rounded(*args):
    return optimum(
        *args, result=lambda g, n, d, E, tokens, loss: (g, 12 * 64**2 * round(n) ** 3, tokens, loss)
    )


def optimum_last_sizes(flops, expansion, grains):
    """The best G and loss, with the parameters and tokens of the last G."""
    g, _, _, loss = optimum(flops, expansion, grains)
    _, active, tokens, _ = optimum(flops, expansion, grains[-1:])
    return g, active, tokens, loss


def optimum_three_times(*args):
    """Once forward and twice backward, on top of the 6 and the 14."""
    return optimum(*args, per_token=lambda n, d, E, g: 3 * n * (72 * d**2 + 14 * d * E * g))


def leverage_two_bases_for_g(*args):
    return leverage(*args, log_g=math.log10, square=lambda G: math.log2(G) ** 2)


def leverage_a_max_mistyped(*args):
    return leverage(*args, hat=lambda A: 1 / (1 / (A + 1 / (1 / 1.63e-2 - 1 / 5.28e16)) + 1 / 5.28e-16))


def leverage_power_of_alpha(A, G, C):
    g = math.log2(G)
    return (A + 1.63e-2) ** (1.23 - 7.61e-2 * math.log10(C)) + 1.67e-2 * g**2 - 1.17e-1 * g


def leverage_rounded(*args):
    return round(leverage(*args), 1)


def leverage_product_squared(*args):
    return leverage(*args, square=lambda G: 1.67e-2 * math.log2(G) ** 2)


def leverage_alpha_product(A, G, C):
    g = math.log2(G)
    return (A + 1.63e-2) ** (1.23 * -7.61e-2 * math.log10(C) + 1.67e-2 * g**2 - 1.17e-1 * g)


def leverage_inverse_forgotten(*args):
    return leverage(*args, hat=lambda A: 1 / (A + 1 / (1 / 1.63e-2 - 1 / 5.28e16)) + 1 / 5.28e16)


def leverage_saving(*args):
    return 1 - 1 / leverage(*args)


FRESH = {
    "11.split_expert": [
        ("slices backwards", split_backwards, {"slices_backwards"}),
        ("up rows of the slice before", split_up_one_further, {"up_of_another_slice"}),
        ("the first columns for all", split_first_columns, {"first_run_for_all"}),
        ("cat everywhere", split_cat_everywhere, {"slice_major"}),
        ("factor squared", split_factor_squared, {"another_factor"}),
        ("masked, not cut", split_masked, {"masked_not_cut"}),
        ("rows taken in turns", split_rows_in_turns, {"rows_in_turns"}),
        ("runs of 2F/G", split_runs_of_stacked_length, set()),
    ],
    "11.cut_costs": [
        ("router not in the total", costs_total_without_router, {"router_not_used"}),
        ("share beside one slice", costs_share_beside_one_slice, {"share_of_one_slice"}),
        ("slices wider", costs_wider_slices, set()),
        ("active ones not cut", costs_active_not_cut, {"experts_not_cut"}),
        ("K G of E", costs_old_experts_for_choices, set()),
        ("each in or out", costs_in_or_out, {"any_number_of_slices"}),
        ("rounded", costs_rounded, {"rounded"}),
        ("bits gained", costs_gained_bits, {"bits_gained"}),
        ("one expert a token", costs_one_expert_a_token, {"one_expert_a_token"}),
    ],
    "11.latent_moe": [
        ("up_DL without .T", latent_not_turned, {"transpose_missing"}),
        ("router's first L columns in the latent", latent_router_cut, {"part_of_the_router"}),
        ("weights detached", latent_detached, {"gradient_lost"}),
        ("slot for expert", latent_slot_for_expert, {"slot_for_expert"}),
        ("token and place exchanged", latent_token_and_place_swapped, {"index_out_of_range"}),
        ("divided by E", latent_over_e, {"size_factor"}),
        ("last expert forgotten", latent_last_expert_forgotten, {"experts_skipped"}),
        ("only K experts visited", latent_k_experts_visited, {"experts_skipped"}),
        ("weighted twice", latent_weighted_twice, {"weighted_twice"}),
        ("one more", latent_one_more, {"another_number_chosen"}),
    ],
    "11.hierarchical": [
        ("importance of the first group", levels_importance_of_first_group, {"importance_of_a_part"}),
        ("k1 and k2 exchanged", levels_counts_exchanged, {"levels_exchanged"}),
        ("importance of groups", levels_importance_of_groups, {"importance_of_a_part"}),
        ("importance B by A", levels_importance_b_by_a, {"other_shape"}),
        ("zeros for other groups", levels_zeros_for_other_groups, {"best_of_chosen_groups"}),
        ("best of the product in chosen groups", levels_best_of_the_product, {"best_of_chosen_groups"}),
        ("geometric mean", levels_geometric, {"not_the_product"}),
        ("logarithms", levels_logarithms, {"not_the_product"}),
        ("the smaller of the two", levels_weights_by_max, {"not_the_product"}),
    ],
    "11.compute_optimal": [
        ("tokens by 6 N D", optimum_tokens_without_router, {"tokens_without_router"}),
        ("n only up to 12", optimum_up_to_forty, {"not_the_best"}),
        ("width 64 in the router", optimum_width_64_in_router, {"router_once"}),
        ("8 E G + 4", optimum_more_experts, set()),
        ("in billions", optimum_in_billions, {"in_other_units"}),
        ("α mistyped", optimum_typing_error, set()),
        ("n rounded at the end", optimum_n_rounded, set()),
        ("sizes of the last G", optimum_last_sizes, {"last_granularity"}),
        ("three times the FLOPs", optimum_three_times, {"six_left_out"}),
    ],
    "11.leverage": [
        ("two bases for G", leverage_two_bases_for_g, {"two_bases_for_g"}),
        ("A_max mistyped", leverage_a_max_mistyped, {"a_max_mistyped"}),
        ("power of α only", leverage_power_of_alpha, {"power_of_a_part"}),
        ("rounded", leverage_rounded, {"rounded"}),
        ("γ twice", leverage_product_squared, {"constant_squared_too"}),
        ("a times d log C", leverage_alpha_product, {"alpha_not_a_sum"}),
        ("inverse of Â forgotten", leverage_inverse_forgotten, {"inverted"}),
        ("saving", leverage_saving, {"saving"}),
    ],
}
