"""Fresh wrong answers to 17.audit, and which names would be right."""

import math

import torch

# 17.audit


def _page(
    shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks
):
    """The eight numbers; each answer below gets one of them wrong, or the flags."""
    total = shared + n_experts * expert
    active = shared + top_k * expert
    return [
        total / 1e9,
        active / 1e9,
        2 * (active - embedding) / 1e9,
        total * bits / 8 / 1e9,
        n_experts * (1 - (1 - top_k / n_experts) ** batch),
        top_k,
        math.ceil(capacity_factor * n_tokens * top_k / n_experts),
        2 * n_tokens * top_k * d_model * 2 * (ranks - 1) / ranks / 1e6,
    ]


def _flagged(page, quoted_Q):
    right_Q = torch.tensor(page, dtype=torch.float64)
    return right_Q, (quoted_Q / right_Q - 1).abs() > 0.02


def gigabits(
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
    page = _page(
        shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks
    )
    page[3] = (shared + n_experts * expert) * bits / 1e9
    return _flagged(page, quoted_Q)


def active_without_table(
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
    page = _page(
        shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks
    )
    page[1] = (shared - embedding + top_k * expert) / 1e9
    return _flagged(page, quoted_Q)


def table_taken_off_once(
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
    page = _page(
        shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks
    )
    page[2] = (2 * (shared + top_k * expert) - embedding) / 1e9
    return _flagged(page, quoted_Q)


def one_place_more(
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
    page = _page(
        shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks
    )
    page[6] = int(capacity_factor * n_tokens * top_k / n_experts) + 1
    return _flagged(page, quoted_Q)


def capacity_not_whole(
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
    page = _page(
        shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks
    )
    page[6] = capacity_factor * n_tokens * top_k / n_experts
    return _flagged(page, quoted_Q)


def batch_for_the_tokens(
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
    page = _page(
        shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks
    )
    page[7] = 2 * batch * top_k * d_model * 2 * (ranks - 1) / ranks / 1e6
    return _flagged(page, quoted_Q)


def loss_of_one_expert(
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
    page = _page(
        shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks
    )
    f, p = top_k / n_experts, 1 / n_experts
    page[5] = n_experts * f * p
    return _flagged(page, quoted_Q)


def one_choice_a_token(
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
    page = _page(
        shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks
    )
    page[4] = n_experts * (1 - (1 - 1 / n_experts) ** batch)
    return _flagged(page, quoted_Q)


def factor_after_rounding(
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
    page = _page(
        shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks
    )
    page[6] = capacity_factor * math.ceil(n_tokens * top_k / n_experts)
    return _flagged(page, quoted_Q)


def two_for_per_cent(
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
    page = _page(
        shared, expert, embedding, n_experts, top_k, bits, batch, n_tokens, capacity_factor, d_model, ranks
    )
    right_Q = torch.tensor(page, dtype=torch.float64)
    return right_Q, abs(quoted_Q - right_Q) / right_Q > 2


FRESH = {
    "17.audit": [
        ("(4) in gigabits", gigabits, {"bits_as_bytes"}),
        ("(2) without the table", active_without_table, {"table_not_active"}),
        ("(3) takes the table off after doubling", table_taken_off_once, {"table_half_off"}),
        ("(7) int(...) + 1", one_place_more, {"one_place_more"}),
        ("(7) not rounded", capacity_not_whole, {"not_rounded"}),
        ("(8) with batch for n_tokens", batch_for_the_tokens, {"rows_of_the_batch"}),
        ("(6) for one expert, without the sum", loss_of_one_expert, {"sum_forgotten"}),
        ("(5) with 1/E for K/E", one_choice_a_token, {"one_choice_a_token"}),
        ("(7) rounded before the factor", factor_after_rounding, {"rounded_too_early"}),
        ("2 for 2 %", two_for_per_cent, {"too_lenient"}),
    ],
}
