"""The fifteenth set, 17.audit: what a class would most likely hand in."""

import math

import torch


def _flags(quoted_Q, right_Q):
    return (quoted_Q / right_Q - 1).abs() > 0.02


# The learner overlooks that the table is among the shared parameters, and adds it once more: to all
# parameters, to the active ones and to the GB; number (3) then is 2 * (shared + K experts), with the table
# in it.
def table_again(
    shared,
    expert,
    embedding,
    n_experts,
    top_k,
    bits,
    batch,
    n_tokens,
    capacity_factor,
    d_model,
    ranks,
    quoted_Q,
):
    E, K, R = n_experts, top_k, ranks
    total = shared + embedding + E * expert
    active = shared + embedding + K * expert
    right_Q = torch.tensor(
        [
            total / 1e9,
            active / 1e9,
            2 * (active - embedding) / 1e9,
            total * bits / 8 / 1e9,
            E * (1 - (1 - K / E) ** batch),
            K,
            math.ceil(capacity_factor * n_tokens * K / E),
            2 * n_tokens * K * d_model * 2 * (R - 1) / R / 1e6,
        ],
        dtype=torch.float64,
    )
    return right_Q, _flags(quoted_Q, right_Q)


# The learner forgets in (3) that each parameter costs two operations, a product and a sum: FLOP equal to
# parameters. (The table is left out, rightly.)
def one_flop(
    shared,
    expert,
    embedding,
    n_experts,
    top_k,
    bits,
    batch,
    n_tokens,
    capacity_factor,
    d_model,
    ranks,
    quoted_Q,
):
    E, K, R = n_experts, top_k, ranks
    total, active = shared + E * expert, shared + K * expert
    right_Q = torch.tensor(
        [
            total / 1e9,
            active / 1e9,
            (active - embedding) / 1e9,
            total * bits / 8 / 1e9,
            E * (1 - (1 - K / E) ** batch),
            K,
            math.ceil(capacity_factor * n_tokens * K / E),
            2 * n_tokens * K * d_model * 2 * (R - 1) / R / 1e6,
        ],
        dtype=torch.float64,
    )
    return right_Q, _flags(quoted_Q, right_Q)


# The learner believes that the balancing loss is 1 at an even load whatever f counts, and overlooks that f
# sums to K.
def loss_one(
    shared,
    expert,
    embedding,
    n_experts,
    top_k,
    bits,
    batch,
    n_tokens,
    capacity_factor,
    d_model,
    ranks,
    quoted_Q,
):
    E, K, R = n_experts, top_k, ranks
    total, active = shared + E * expert, shared + K * expert
    right_Q = torch.tensor(
        [
            total / 1e9,
            active / 1e9,
            2 * (active - embedding) / 1e9,
            total * bits / 8 / 1e9,
            E * (1 - (1 - K / E) ** batch),
            1,
            math.ceil(capacity_factor * n_tokens * K / E),
            2 * n_tokens * K * d_model * 2 * (R - 1) / R / 1e6,
        ],
        dtype=torch.float64,
    )
    return right_Q, _flags(quoted_Q, right_Q)


# The learner forgets in (7) that each token takes K places: the capacity is factor * tokens / E.
def no_k(
    shared,
    expert,
    embedding,
    n_experts,
    top_k,
    bits,
    batch,
    n_tokens,
    capacity_factor,
    d_model,
    ranks,
    quoted_Q,
):
    E, K, R = n_experts, top_k, ranks
    total, active = shared + E * expert, shared + K * expert
    right_Q = torch.tensor(
        [
            total / 1e9,
            active / 1e9,
            2 * (active - embedding) / 1e9,
            total * bits / 8 / 1e9,
            E * (1 - (1 - K / E) ** batch),
            K,
            math.ceil(capacity_factor * n_tokens / E),
            2 * n_tokens * K * d_model * 2 * (R - 1) / R / 1e6,
        ],
        dtype=torch.float64,
    )
    return right_Q, _flags(quoted_Q, right_Q)


# The learner lets all rows in (8) leave their rank, and overlooks that 1/R of them stay where they are.
def all_travel(
    shared,
    expert,
    embedding,
    n_experts,
    top_k,
    bits,
    batch,
    n_tokens,
    capacity_factor,
    d_model,
    ranks,
    quoted_Q,
):
    E, K = n_experts, top_k
    total, active = shared + E * expert, shared + K * expert
    right_Q = torch.tensor(
        [
            total / 1e9,
            active / 1e9,
            2 * (active - embedding) / 1e9,
            total * bits / 8 / 1e9,
            E * (1 - (1 - K / E) ** batch),
            K,
            math.ceil(capacity_factor * n_tokens * K / E),
            2 * n_tokens * K * d_model * 2 / 1e6,
        ],
        dtype=torch.float64,
    )
    return right_Q, _flags(quoted_Q, right_Q)


# The learner works out all eight numbers rightly and compares them by their difference, not by their ratio:
# "off by more than 0.02" in place of 2 %.
def absolute(
    shared,
    expert,
    embedding,
    n_experts,
    top_k,
    bits,
    batch,
    n_tokens,
    capacity_factor,
    d_model,
    ranks,
    quoted_Q,
):
    E, K, R = n_experts, top_k, ranks
    total, active = shared + E * expert, shared + K * expert
    right_Q = torch.tensor(
        [
            total / 1e9,
            active / 1e9,
            2 * (active - embedding) / 1e9,
            total * bits / 8 / 1e9,
            E * (1 - (1 - K / E) ** batch),
            K,
            math.ceil(capacity_factor * n_tokens * K / E),
            2 * n_tokens * K * d_model * 2 * (R - 1) / R / 1e6,
        ],
        dtype=torch.float64,
    )
    return right_Q, (quoted_Q - right_Q).abs() > 0.02


FRESH = {
    "17.audit": [
        ("the table once more", table_again, {"table_twice"}),
        ("one operation a weight", one_flop, {"one_operation"}),
        ("the loss is 1", loss_one, {"loss_is_one"}),
        ("capacity without K", no_k, {"capacity_without_k"}),
        ("all rows travel", all_travel, {"own_rank_sent"}),
        ("absolute difference", absolute, {"absolute_difference"}),
    ],
}
