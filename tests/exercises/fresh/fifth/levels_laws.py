"""The fifth set, lesson 11: the solutions' lines gone through one by one, and what can go wrong in each."""

import math

import numpy as np
import torch
from fresh.fourth.levels_laws import levels, leverage, optimum


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
        ("n rounded at the end", optimum_n_rounded, {"n_rounded"}),
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
