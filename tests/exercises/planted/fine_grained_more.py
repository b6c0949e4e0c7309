"""Wrong answers to lesson 11, by the later misconceptions: most stand in the fourth set of fresh ones."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from fresh.fifth import cuts as fifth_cuts
from fresh.fifth import levels_laws as fifth_laws
from fresh.fourth import cuts, levels_laws


def share_of_the_old_router(d, f, e, k, g):
    return cuts.costs(d, f, e, k, g, share=d * e / (d * e + 3 * d * f * k))


def one_matrix(d, f, e, k, g):
    active = d * e * g + k * d * f
    return cuts.costs(d, f, e, k, g, total=d * e * g + e * d * f, active=active)


def two_operations(d, f, e, k, g):
    right = cuts.costs(d, f, e, k, g)
    return right[0], 2 * right[1], *right[2:]


def scaled_logits(x, *rest):
    return cuts.latent(x, *rest, weigh=lambda best: (best / math.sqrt(x.shape[1])).softmax(-1))


def two_softmaxes(x, r, v, gu, dn, u, k):
    p, ids = (x @ r.T).softmax(-1).topk(k)
    gate, up = torch.einsum("tl,tkhl->tkh", x @ v.T, gu[ids]).chunk(2, -1)
    answers = torch.einsum("tkf,tklf->tkl", F.silu(gate) * up, dn[ids])
    return torch.einsum("tk,tkl->tl", p.softmax(-1), answers) @ u.T


def tanh_gate(*args):
    return cuts.latent(*args, act=lambda gate, up: torch.tanh(gate) * up)


def every_second_row(*args):
    x, r, v, gu, dn, u, k = args
    pairs = torch.cat([gu[:, ::2], gu[:, 1::2]], dim=1)
    return cuts.latent(x, r, v, pairs, dn, u, k)


def first_tokens_experts(x, r, v, gu, dn, u, k):
    best, ids = (x @ r.T).topk(k)
    total = torch.zeros(len(x), len(v))
    for slot, e in enumerate(ids[0]):
        gate, up = (x @ v.T @ gu[e].T).chunk(2, -1)
        total += best.softmax(-1)[:, slot, None] * ((F.silu(gate) * up) @ dn[e].T)
    return total @ u.T


def ascending(x, r, v, gu, dn, u, k):
    logits = x @ r.T
    ids = logits.argsort(dim=-1)[:, :k]
    weights = logits.gather(1, ids).softmax(-1)
    gate, up = torch.einsum("tl,tkhl->tkh", x @ v.T, gu[ids]).chunk(2, -1)
    answers = torch.einsum("tkf,tklf->tkl", F.silu(gate) * up, dn[ids])
    return torch.einsum("tk,tkl->tl", weights, answers) @ u.T


def groups_sorted(g, e, k1, k2):
    """The chosen groups put in order before their experts are fetched, their weights not."""
    best, chosen = g.topk(k1)
    rows = torch.arange(len(g))[:, None]
    values, places = e[rows, chosen.sort(-1).values].topk(k2)
    ids = (chosen[..., None] * e.shape[2] + places).flatten(1)
    w = (best.softmax(-1)[..., None] * values.softmax(-1)).flatten(1)
    return ids, w, torch.zeros(e[0].numel()).index_add(0, ids.flatten(), w.flatten()).view(e.shape[1:])


def squares_added(*args):
    def importance(ids, w, A, B, p, q):
        return torch.zeros(A * B).index_add(0, ids.flatten(), w.flatten() ** 2).view(A, B)

    return levels_laws.levels(*args, importance=importance)


def steps_of_k2(*args):
    return levels_laws.levels(*args, number=lambda c, places, A, B, k2: c[..., None] * k2 + places)


def worst_groups(*args):
    def chosen(g, e, k1):
        return g.argsort(dim=-1)[:, :k1]

    def first(best, chosen):
        return args[0].gather(1, chosen).softmax(-1)

    return levels_laws.levels(*args, groups=chosen, first=first)


def width_of_64(*args):
    """d = 64, whatever n is."""
    return levels_laws.optimum(
        *args,
        per_token=lambda n, d, E, g: n * (72 * 64**2 + 14 * 64 * E * g),
        total=lambda n, d, E: (8 * E + 4) * 64**2 * n,
        result=lambda g, n, d, E, tokens, loss: (g, 12 * 64**2 * n, tokens, loss),
    )


def whole_n(*args):
    return fifth_laws.optimum(*args, n=np.arange(2.0, 401.0))


WRONG = {
    "11.split_expert": {
        "rows_in_pairs": cuts.split_rows_in_pairs,
        "parts_in_two_orders": cuts.split_down_slice_major,
        "down_divided": cuts.split_down_averaged,
        "router_rows_missing": cuts.split_router_wide,
        "one_slice_chosen": cuts.split_router_first_slice,
        "down_turned": cuts.split_down_turned,
        "runs_of_g": cuts.split_runs_of_g,
        "slices_backwards": fifth_cuts.split_backwards,
        "up_of_another_slice": fifth_cuts.split_up_one_further,
        "first_run_for_all": fifth_cuts.split_first_columns,
        "rows_in_turns": fifth_cuts.split_rows_in_turns,
        "masked_not_cut": fifth_cuts.split_masked,
        "another_factor": fifth_cuts.split_factor_squared,
    },
    "11.cut_costs": {
        "router_not_used": cuts.costs_router_not_active,
        "share_upside_down": cuts.costs_share_upside_down,
        "share_in_percent": cuts.costs_percent,
        "share_of_one_slice": share_of_the_old_router,
        "number_not_grown": cuts.costs_number_not_grown,
        "one_slice_of_each": cuts.costs_one_slice_of_each,
        "biases_counted": cuts.costs_router_bias,
        "one_matrix": one_matrix,
        "operations": two_operations,
        "rounded": fifth_cuts.costs_rounded,
        "any_number_of_slices": fifth_cuts.costs_in_or_out,
        "bits_gained": fifth_cuts.costs_gained_bits,
        "one_expert_a_token": fifth_cuts.costs_one_expert_a_token,
    },
    "11.latent_moe": {
        "not_the_softmax": cuts.latent_divided_logits,
        "softmax_over_tokens": cuts.latent_softmax_over_tokens,
        "rest_is_zero": cuts.latent_zeros_for_the_rest,
        "temperature": scaled_logits,
        "softmax_twice": two_softmaxes,
        "activation_misplaced": cuts.latent_silu_of_product,
        "other_gate": tanh_gate,
        "normed": cuts.latent_normed,
        "overwritten": cuts.latent_overwritten,
        "weights_of_others": cuts.latent_first_weight,
        "halves_interleaved": every_second_row,
        "one_choice_for_all": first_tokens_experts,
        "smallest_chosen": ascending,
        "slot_for_expert": fifth_cuts.latent_slot_for_expert,
        "experts_skipped": fifth_cuts.latent_k_experts_visited,
        "weighted_twice": fifth_cuts.latent_weighted_twice,
        "another_number_chosen": fifth_cuts.latent_one_more,
        "part_of_the_router": fifth_cuts.latent_router_cut,
    },
    "11.hierarchical": {
        "not_softmax": levels_laws.levels_sigmoid,
        "first_groups": levels_laws.levels_first_groups,
        "groups_in_other_order": groups_sorted,
        "one_softmax_for_all": levels_laws.levels_one_softmax_for_all_experts,
        "softmax_along_another_axis": levels_laws.levels_softmax_over_groups,
        "repeated_not_interleaved": levels_laws.levels_repeated_not_interleaved,
        "groups_by_their_experts": levels_laws.levels_group_of_best_expert,
        "importance_overwritten": levels_laws.levels_importance_overwritten,
        "importance_squared": squares_added,
        "times_chosen": steps_of_k2,
        "lowest_chosen": worst_groups,
        "not_the_product": fifth_laws.levels_geometric,
        "levels_exchanged": fifth_laws.levels_counts_exchanged,
        "importance_of_a_part": fifth_laws.levels_importance_of_first_group,
        "best_of_chosen_groups": fifth_laws.levels_best_of_the_product,
    },
    "11.compute_optimal": {
        "six_left_out": levels_laws.optimum_six_forgotten,
        "one_block": levels_laws.optimum_one_block,
        "constants_changed_places": levels_laws.optimum_exponents_swapped,
        "bracket_left_out": levels_laws.optimum_no_parentheses,
        "router_without_granularity": levels_laws.optimum_router_without_g,
        "blocks_returned": levels_laws.optimum_blocks_returned,
        "width_is_not_tied": width_of_64,
        "not_the_best": levels_laws.optimum_hundred_steps,
        "tokens_without_router": fifth_laws.optimum_tokens_without_router,
        "in_other_units": fifth_laws.optimum_in_billions,
        "n_rounded": fifth_laws.optimum_n_rounded,
        "n_rounded: whole numbers tried": whole_n,
    },
    "11.leverage": {
        "sign_lost": levels_laws.leverage_beta_positive,
        "constants_exchanged": levels_laws.leverage_swapped,
        "term_left_out": levels_laws.leverage_no_linear_term,
        "no_power": levels_laws.leverage_product,
        "other_a_hat": levels_laws.leverage_parallel,
        "constant_mistyped": levels_laws.leverage_mistyped,
        "two_bases_for_g": fifth_laws.leverage_two_bases_for_g,
        "power_of_a_part": fifth_laws.leverage_power_of_alpha,
        "alpha_not_a_sum": fifth_laws.leverage_alpha_product,
        "constant_squared_too": fifth_laws.leverage_product_squared,
        "a_max_mistyped": fifth_laws.leverage_a_max_mistyped,
        "rounded": fifth_laws.leverage_rounded,
        "saving": fifth_laws.leverage_saving,
    },
}
