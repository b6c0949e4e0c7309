"""The fourth set, lesson 11: a gate of two levels, and two scaling laws."""

import math

import numpy as np
import torch


def levels(g, e, k1, k2, *, first=None, second=None, number=None, weigh=None, importance=None, groups=None):
    A, B = e.shape[1:]
    best, chosen = g.topk(k1)
    chosen = chosen if groups is None else groups(g, e, k1)
    of_groups = e.gather(1, chosen[..., None].expand(-1, -1, B))
    values, places = of_groups.topk(k2)
    p = best.softmax(-1) if first is None else first(best, chosen)
    q = values.softmax(-1) if second is None else second(values, of_groups)
    w = p[..., None] * q if weigh is None else weigh(p, q)
    ids = chosen[..., None] * B + places if number is None else number(chosen, places, A, B, k2)
    ids, w = ids.flatten(1), w.flatten(1)
    counted = torch.zeros(A * B).index_add(0, ids.flatten(), w.flatten())
    return ids, w, counted.view(A, B) if importance is None else importance(ids, w, A, B, p, q)


def levels_sigmoid(*args):
    return levels(*args, first=lambda v, _: v.sigmoid(), second=lambda v, _: v.sigmoid())


def levels_first_groups(*args):
    """The experts of groups 0 to k1 - 1, whichever were chosen."""
    g, e, k1, k2 = args
    values, places = e[:, :k1].topk(k2)
    best, chosen = g.topk(k1)
    ids = (chosen[..., None] * e.shape[2] + places).flatten(1)
    w = (best.softmax(-1)[..., None] * values.softmax(-1)).flatten(1)
    return ids, w, torch.zeros(e[0].numel()).index_add(0, ids.flatten(), w.flatten()).view(e.shape[1:])


def levels_one_softmax_for_all_experts(*args):
    return levels(*args, second=lambda v, _: v.flatten(1).softmax(-1).view_as(v))


def levels_position_for_group(*args):
    return levels(
        *args, number=lambda c, places, A, B, k2: torch.arange(c.shape[1])[None, :, None] * B + places
    )


def levels_times_groups(*args):
    """a·A + b."""
    return levels(*args, number=lambda c, places, A, B, k2: c[..., None] * A + places)


def levels_repeated_not_interleaved(*args):
    return levels(*args, weigh=lambda p, q: p.repeat(1, q.shape[-1]).view(len(p), -1) * q.flatten(1))


def levels_importance_overwritten(*args):
    def importance(ids, w, A, B, p, q):
        total = torch.zeros(A * B)
        total[ids.flatten()] += w.flatten()
        return total.view(A, B)

    return levels(*args, importance=importance)


def levels_importance_of_all(*args):
    g, e = args[:2]
    return levels(*args, importance=lambda *_: (g.softmax(-1)[..., None] * e.softmax(-1)).sum(0))


def levels_importance_flat(*args):
    ids, w, importance = levels(*args)
    return ids, w, importance.flatten()


def levels_softmax_over_groups(*args):
    return levels(*args, second=lambda v, _: v.softmax(1))


def levels_group_of_best_expert(*args):
    """Groups chosen by their best expert, as in lesson 06."""

    def chosen(g, e, k1):
        return e.amax(-1).topk(k1).indices

    g = args[0]
    return levels(*args, groups=chosen, first=lambda _, c: g.gather(1, c).softmax(-1))


def levels_expert_weight_only(*args):
    return levels(*args, weigh=lambda p, q: q)


def levels_first_weight_only(*args):
    return levels(*args, weigh=lambda p, q: p[..., None].expand_as(q))


def optimum(
    flops,
    expansion,
    grains,
    *,
    per_token=lambda n, d, E, g: n * (72 * d**2 + 14 * d * E * g),
    total=lambda n, d, E: (8 * E + 4) * d**2 * n,
    loss=lambda g, N, D: 0.47 + (2.1 / g**0.58 + 18.1) / N**0.115 + 30.8 / D**0.147,
    result=lambda g, n, d, E, tokens, loss: (g, 12 * d**2 * n, tokens, loss),
    n=None,
    pick=min,
):
    n = np.geomspace(2, 400, 4000) if n is None else n
    d = 64 * n
    rows = []
    for g in grains.tolist():
        tokens = flops / per_token(n, d, expansion, g)
        losses = loss(g, total(n, d, expansion), tokens)
        i = losses.argmin() if pick is min else losses.argmax()
        rows.append((float(losses[i]), g, float(n[i]), float(d[i]), float(tokens[i])))
    lowest, g, size, width, tokens = pick(rows)
    return result(g, size, width, expansion, tokens, lowest)


def optimum_total_returned(*args):
    return optimum(*args, result=lambda g, n, d, E, tokens, loss: (g, (8 * E + 4) * d**2 * n, tokens, loss))


def optimum_blocks_returned(*args):
    return optimum(*args, result=lambda g, n, d, E, tokens, loss: (g, n, tokens, loss))


def optimum_six_forgotten(*args):
    return optimum(*args, per_token=lambda n, d, E, g: n * (12 * d**2 + 14 * d * E * g))


def optimum_one_block(*args):
    """n left out of the FLOPs."""
    return optimum(*args, per_token=lambda n, d, E, g: 72 * d**2 + 14 * d * E * g)


def optimum_one_block_total(*args):
    return optimum(*args, total=lambda n, d, E: (8 * E + 4) * d**2)


def optimum_exponents_swapped(*args):
    return optimum(*args, loss=lambda g, N, D: 0.47 + (2.1 / g**0.58 + 18.1) / N**0.147 + 30.8 / D**0.115)


def optimum_granularity_times(*args):
    return optimum(*args, loss=lambda g, N, D: 0.47 + (2.1 * g**0.58 + 18.1) / N**0.115 + 30.8 / D**0.147)


def optimum_no_parentheses(*args):
    return optimum(*args, loss=lambda g, N, D: 0.47 + 2.1 / g**0.58 + 18.1 / N**0.115 + 30.8 / D**0.147)


def optimum_one_after_the_other(flops, expansion, grains):
    """The best n for the first granularity, then the best granularity at that n."""
    active = optimum(flops, expansion, grains[:1])[1]
    return optimum(flops, expansion, grains, n=np.array([(active / 12 / 64**2) ** (1 / 3)]))


def optimum_all_times_expansion(*args):
    return optimum(*args, total=lambda n, d, E: 12 * E * d**2 * n)


def optimum_router_without_g(*args):
    return optimum(*args, per_token=lambda n, d, E, g: n * (72 * d**2 + 14 * d * E))


def optimum_highest(*args):
    return optimum(*args, pick=max)


def optimum_tokens_first(*args):
    return optimum(*args, result=lambda g, n, d, E, tokens, loss: (g, tokens, 12 * d**2 * n, loss))


def optimum_hundred_steps(*args):
    """A hundred sizes, evenly spaced in n."""
    return optimum(*args, n=np.linspace(2, 400, 100))


def leverage(
    A,
    G,
    C,
    *,
    hat=lambda A: A + 1.63e-2,
    log_g=math.log2,
    log_c=math.log10,
    a=1.23,
    gamma=1.67e-2,
    beta=-1.17e-1,
    square=None,
    power=pow,
):
    x = log_g(G)
    return power(hat(A), a - 7.61e-2 * log_c(C) + gamma * (x**2 if square is None else square(G)) + beta * x)


def leverage_start_not_inverted(*args):
    return leverage(*args, hat=lambda A: 1 / (1 / (A + (1 / 1.63e-2 - 1 / 5.28e16)) + 1 / 5.28e16))


def leverage_beta_positive(*args):
    return leverage(*args, beta=1.17e-1)


def leverage_log_of_square(*args):
    return leverage(*args, square=lambda G: math.log2(G**2))


def leverage_swapped(*args):
    return leverage(*args, gamma=-1.17e-1, beta=1.67e-2)


def leverage_no_granularity(*args):
    return leverage(*args, gamma=0, beta=0)


def leverage_no_linear_term(*args):
    return leverage(*args, beta=0)


def leverage_no_a(*args):
    return leverage(*args, a=0)


def leverage_product(*args):
    return leverage(*args, power=lambda base, exponent: base * exponent)


def leverage_percent(A, G, C):
    return leverage(100 * A, G, C)


def leverage_mistyped(*args):
    return leverage(*args, gamma=1.67e-1)


def leverage_parallel(*args):
    """A-hat as A and A_start in parallel."""
    return leverage(*args, hat=lambda A: 1 / (1 / A + (1 / 1.63e-2 - 1 / 5.28e16)))


def leverage_natural_and_two(*args):
    return leverage(*args, log_g=math.log, log_c=math.log2)


FRESH = {
    "11.hierarchical": [
        ("sigmoids", levels_sigmoid, {"not_softmax"}),
        ("experts of the first groups", levels_first_groups, {"first_groups"}),
        ("one softmax over all chosen experts", levels_one_softmax_for_all_experts, {"one_softmax_for_all"}),
        ("position in the list for the group", levels_position_for_group, {"rank_for_group"}),
        ("a·A + b", levels_times_groups, {"times_groups", "times_chosen"}),
        (
            "group weights repeated, not interleaved",
            levels_repeated_not_interleaved,
            {"repeated_not_interleaved"},
        ),
        ("importance overwritten", levels_importance_overwritten, {"importance_overwritten"}),
        ("importance of all experts", levels_importance_of_all, {"importance_soft"}),
        ("importance flat", levels_importance_flat, {"other_shape"}),
        ("second softmax over the groups", levels_softmax_over_groups, {"softmax_along_another_axis"}),
        ("groups by their best expert", levels_group_of_best_expert, {"groups_by_their_experts"}),
        ("without the group's weight", levels_expert_weight_only, {"groups_unweighted"}),
        ("without the expert's weight", levels_first_weight_only, {"experts_unweighted"}),
    ],
    "11.compute_optimal": [
        ("all parameters returned", optimum_total_returned, {"total_returned"}),
        ("n returned", optimum_blocks_returned, {"blocks_returned"}),
        ("6 forgotten", optimum_six_forgotten, {"six_left_out"}),
        ("FLOPs of one block", optimum_one_block, {"one_block"}),
        ("parameters of one block", optimum_one_block_total, {"one_block"}),
        ("exponents exchanged", optimum_exponents_swapped, {"constants_changed_places"}),
        ("times G to the γ", optimum_granularity_times, {"granularity_without_gain"}),
        ("g / G^γ outside", optimum_no_parentheses, {"bracket_left_out"}),
        ("n for the first G only", optimum_one_after_the_other, {"not_the_best"}),
        ("12 E d² n", optimum_all_times_expansion, {"active_times_expansion"}),
        ("router without G", optimum_router_without_g, {"router_without_granularity"}),
        ("the highest loss", optimum_highest, {"not_the_best"}),
        ("tokens before parameters", optimum_tokens_first, {"outputs_swapped"}),
        ("a hundred sizes", optimum_hundred_steps, {"not_the_best"}),
    ],
    "11.leverage": [
        ("inverse of A_start's term forgotten", leverage_start_not_inverted, {"other_a_hat"}),
        ("β positive", leverage_beta_positive, {"sign_lost"}),
        ("log of the square", leverage_log_of_square, {"log_of_square"}),
        ("γ and β exchanged", leverage_swapped, {"constants_exchanged"}),
        ("without G", leverage_no_granularity, {"term_left_out"}),
        ("without β", leverage_no_linear_term, {"term_left_out"}),
        ("without a", leverage_no_a, {"term_left_out"}),
        ("product for power", leverage_product, {"no_power"}),
        ("percent", leverage_percent, {"per_cent"}),
        ("γ ten times too large", leverage_mistyped, {"constant_mistyped"}),
        ("A and A_start in parallel", leverage_parallel, {"other_a_hat"}),
        ("ln and log2", leverage_natural_and_two, {"natural_g_two_c"}),
    ],
}
