"""Answers to lesson 07 as learners write them: wrong ones by misconception, and right ones."""

import math
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from planted import more_capacity, more_late, more_tenth
from planted.capacity_layer import RIGHT as LAYER_RIGHT
from planted.capacity_layer import WRONG as LAYER_WRONG
from planted.capacity_rates import ASSIGNMENT_RIGHT, ASSIGNMENT_WRONG, RATE_RIGHT, RATE_WRONG

# 07.capacity


def places_counted(n_tokens, n_experts, top_k, capacity_factor):
    places = 0
    while places * n_experts < n_tokens * top_k * capacity_factor:
        places += 1
    return places


def places_fraction(T, E, K, cf):
    share = Fraction(cf) * T * K / E
    return -(-share.numerator // share.denominator)


def places_numpy(n_tokens, n_experts, top_k, capacity_factor):
    return int(np.ceil(n_tokens * top_k / n_experts * capacity_factor))


def places_switch(T, E, K, cf):
    return math.ceil(T / E * cf)


def places_int(T, E, K, cf):
    return int(K * T / E * cf)


def places_rounded(T, E, K, cf):
    return round(cf * K * T / E)


def places_floor_division(T, E, K, cf):
    return math.ceil((T * K) // E * cf)


def places_two_ceilings(T, E, K, cf):
    per_expert = -(-T * K // E)
    return math.ceil(per_expert * cf)


def places_tutel_like(T, E, K, cf):
    one_choice = math.ceil(cf * T / E)
    return one_choice * K


def places_fair(T, E, K, cf):
    return -(-T * K // E)


def places_divided(T, E, K, cf):
    return math.ceil(T * K / (E * cf))


# 07.positions


def positions_counting(topk_ids_TK, n_experts):
    seen = [0] * n_experts
    out = torch.zeros_like(topk_ids_TK)
    for t in range(topk_ids_TK.shape[0]):
        for k in range(topk_ids_TK.shape[1]):
            e = topk_ids_TK[t, k]
            out[t, k] = seen[e]
            seen[e] += 1
    return out


def positions_pairs(topk_ids_TK, n_experts):
    flat = topk_ids_TK.reshape(-1)
    same = flat[:, None] == flat[None, :]
    return torch.tril(same, diagonal=-1).sum(dim=1).view(topk_ids_TK.shape)


def positions_by_sorting(topk_ids_TK, n_experts):
    flat = topk_ids_TK.reshape(-1)
    order = torch.argsort(flat, stable=True)
    starts = torch.searchsorted(flat[order], torch.arange(n_experts))
    out = torch.empty_like(flat)
    out[order] = torch.arange(len(flat)) - starts[flat[order]]
    return out.view_as(topk_ids_TK)


def running(flat, n_experts):
    hot = F.one_hot(flat, n_experts)
    return ((hot.cumsum(0) - 1) * hot).sum(1)


def positions_inclusive(topk_ids_TK, n_experts):
    hot = F.one_hot(topk_ids_TK.flatten(), n_experts)
    return (hot.cumsum(0) * hot).sum(-1).reshape(topk_ids_TK.shape)


def positions_gshard(topk_ids_TK, n_experts):
    T, K = topk_ids_TK.shape
    return running(topk_ids_TK.t().reshape(-1), n_experts).view(K, T).t()


def positions_no_offset(topk_ids_TK, n_experts):
    hot = F.one_hot(topk_ids_TK, n_experts)  # [T, K, E]
    return ((hot.cumsum(dim=0) - 1) * hot).sum(dim=-1)


def positions_numbered(topk_ids_TK, n_experts):
    return torch.arange(topk_ids_TK.numel()).reshape(topk_ids_TK.shape)


def positions_token_number(topk_ids_TK, n_experts):
    T, K = topk_ids_TK.shape
    return torch.arange(T).repeat_interleave(K).view(T, K)


def positions_wrong_axis(topk_ids_TK, n_experts):
    hot = F.one_hot(topk_ids_TK.flatten(), n_experts)
    return ((hot.cumsum(1) - 1) * hot).sum(1).view_as(topk_ids_TK)


def positions_last_first(topk_ids_TK, n_experts):
    flat = topk_ids_TK.flatten()
    hot = F.one_hot(flat, n_experts)
    after = hot.sum(0) - hot.cumsum(0)
    return after.gather(1, flat[:, None]).view_as(topk_ids_TK)


def positions_in_buffer(topk_ids_TK, n_experts):
    flat = topk_ids_TK.flatten()
    order = flat.argsort(stable=True)
    row = torch.empty_like(order)
    row[order] = torch.arange(len(order))
    return row.view_as(topk_ids_TK)


def positions_not_inverted(topk_ids_TK, n_experts):
    flat = topk_ids_TK.flatten()
    order = torch.sort(flat, stable=True).indices
    sizes = F.one_hot(flat, n_experts).sum(0)
    begin = torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)[:-1]])
    return (order - begin[flat]).view_as(topk_ids_TK)


RIGHT = {
    "07.capacity": [places_counted, places_fraction, places_numpy],
    "07.positions": [positions_counting, positions_pairs, positions_by_sorting],
    "07.dispatch_combine": LAYER_RIGHT,
    "07.expected_drop_rate": RATE_RIGHT,
    "07.assignment": ASSIGNMENT_RIGHT,
}
WRONG = {
    "07.capacity": {
        "no_k": places_switch,
        "floor": places_int,
        "plus_one": lambda T, E, K, cf: int(cf * K * T / E) + 1,
        "nearest": places_rounded,
        "share_rounded_down": places_floor_division,
        "rounded_twice": places_two_ceilings,
        "k_after_rounding": places_tutel_like,
        "factor_ignored": places_fair,
        "factor_divides": places_divided,
    },
    "07.positions": {
        "from_one": positions_inclusive,
        "choice_major": positions_gshard,
        "each_choice_alone": positions_no_offset,
        "one_line": positions_numbered,
        "one_per_token": positions_token_number,
        "count_over_experts": positions_wrong_axis,
        "from_the_end": positions_last_first,
        "row_of_the_buffer": positions_in_buffer,
        "order_as_rank": positions_not_inverted,
    },
    "07.dispatch_combine": LAYER_WRONG,
    "07.expected_drop_rate": RATE_WRONG,
    "07.assignment": ASSIGNMENT_WRONG,
}


for exercise, answers in more_capacity.WRONG.items():
    WRONG[exercise] = {**WRONG[exercise], **answers}
more_late.add_to(WRONG)
more_tenth.add_to(WRONG)
