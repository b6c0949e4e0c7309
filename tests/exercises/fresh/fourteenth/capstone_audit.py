"""The fourteenth set, 17.audit: what a class would most likely hand in."""

import math

import torch


# Thinks that the embedding table comes on top of `shared` (as in 17.serve), and adds it to all and to the
# active parameters, and so to the gigabytes; the text says that shared has it already.
def table_on_top(
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
    total = shared + embedding + n_experts * expert
    active = shared + embedding + top_k * expert
    flop = 2 * (active - embedding)
    size = total * bits / 8
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    loss = top_k
    capacity = math.ceil(capacity_factor * n_tokens * top_k / n_experts)
    sent = 2 * n_tokens * top_k * d_model * 2 * (ranks - 1) / ranks
    right_Q = torch.tensor(
        [total / 1e9, active / 1e9, flop / 1e9, size / 1e9, touched, loss, capacity, sent / 1e6],
        dtype=torch.float64,
    )
    return right_Q, (quoted_Q / right_Q - 1).abs() > 0.02


# Takes two operations for every active parameter, the embedding table with them, though reading a row of it
# costs none: (3) is too large by twice the table.
def all_active(
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
    total = shared + n_experts * expert
    active = shared + top_k * expert
    flop = 2 * active
    size = total * bits / 8
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    loss = top_k
    capacity = math.ceil(capacity_factor * n_tokens * top_k / n_experts)
    sent = 2 * n_tokens * top_k * d_model * 2 * (ranks - 1) / ranks
    right_Q = torch.tensor(
        [total / 1e9, active / 1e9, flop / 1e9, size / 1e9, touched, loss, capacity, sent / 1e6],
        dtype=torch.float64,
    )
    return right_Q, (quoted_Q / right_Q - 1).abs() > 0.02


# Forgets in the capacity that each token makes K choices: factor times tokens over experts, too small by K.
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
    total = shared + n_experts * expert
    active = shared + top_k * expert
    flop = 2 * (active - embedding)
    size = total * bits / 8
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    loss = top_k
    capacity = math.ceil(capacity_factor * n_tokens / n_experts)
    sent = 2 * n_tokens * top_k * d_model * 2 * (ranks - 1) / ranks
    right_Q = torch.tensor(
        [total / 1e9, active / 1e9, flop / 1e9, size / 1e9, touched, loss, capacity, sent / 1e6],
        dtype=torch.float64,
    )
    return right_Q, (quoted_Q / right_Q - 1).abs() > 0.02


# Says that the balancing loss at an even load is 1, as with one expert a token or with f as a share of the
# choices; here f sums to K.
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
    total = shared + n_experts * expert
    active = shared + top_k * expert
    flop = 2 * (active - embedding)
    size = total * bits / 8
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    loss = 1.0
    capacity = math.ceil(capacity_factor * n_tokens * top_k / n_experts)
    sent = 2 * n_tokens * top_k * d_model * 2 * (ranks - 1) / ranks
    right_Q = torch.tensor(
        [total / 1e9, active / 1e9, flop / 1e9, size / 1e9, touched, loss, capacity, sent / 1e6],
        dtype=torch.float64,
    )
    return right_Q, (quoted_Q / right_Q - 1).abs() > 0.02


# Counts every row in the exchanges as one that leaves its rank: the share 1/R that stays at home is not
# taken off.
def all_leave(
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
    total = shared + n_experts * expert
    active = shared + top_k * expert
    flop = 2 * (active - embedding)
    size = total * bits / 8
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    loss = top_k
    capacity = math.ceil(capacity_factor * n_tokens * top_k / n_experts)
    sent = 2 * n_tokens * top_k * d_model * 2
    right_Q = torch.tensor(
        [total / 1e9, active / 1e9, flop / 1e9, size / 1e9, touched, loss, capacity, sent / 1e6],
        dtype=torch.float64,
    )
    return right_Q, (quoted_Q / right_Q - 1).abs() > 0.02


# Flags a quote where it is off by more than 0.02 in absolute terms, not by more than 2 per cent of the
# right value.
def by_difference(
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
    total = shared + n_experts * expert
    active = shared + top_k * expert
    flop = 2 * (active - embedding)
    size = total * bits / 8
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    loss = top_k
    capacity = math.ceil(capacity_factor * n_tokens * top_k / n_experts)
    sent = 2 * n_tokens * top_k * d_model * 2 * (ranks - 1) / ranks
    right_Q = torch.tensor(
        [total / 1e9, active / 1e9, flop / 1e9, size / 1e9, touched, loss, capacity, sent / 1e6],
        dtype=torch.float64,
    )
    return right_Q, (quoted_Q - right_Q).abs() > 0.02


FRESH = {
    "17.audit": [
        ("the table on top of the shared", table_on_top, {"table_twice"}),
        ("two operations for the table, too", all_active, {"table_multiplied"}),
        ("capacity without K", no_k, {"capacity_without_k"}),
        ("the loss is 1", loss_one, {"loss_is_one"}),
        ("all rows leave", all_leave, {"own_rank_sent"}),
        ("differences above 0.02", by_difference, {"absolute_difference"}),
    ],
}
