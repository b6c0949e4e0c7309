"""The thirteenth set, lesson 17: serving and the audit, what a class would most likely hand in."""

import math

import torch


def touched(n_experts, top_k, batch):
    return n_experts * (1 - (1 - top_k / n_experts) ** batch)


def serve_cache_held_only(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    size = bits / 8
    held = (shared + embedding + n_experts * expert) * size + cache_per_token * batch * context
    read = (shared + touched(n_experts, top_k, batch) * expert) * size
    flops = 2 * (shared + top_k * expert) * batch
    return held, max(read / bandwidth, flops / peak)


def serve_held_is_read(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    weights = (shared + embedding + n_experts * expert) * bits / 8
    held = weights + cache_per_token * context * batch
    return held, max(held / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


def serve_active_is_read(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * context * batch
    active = shared + top_k * expert
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    return held, max((active * bits / 8 + cache) / bandwidth, 2 * active * batch / peak)


def serve_one_token_computed(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * context * batch
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    read = (shared + touched(n_experts, top_k, batch) * expert) * bits / 8 + cache
    reading = read / bandwidth
    arithmetic = 2 * (shared + top_k * expert) / peak
    return held, max(reading, arithmetic)


def serve_table_among_shared(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    dense = shared + embedding
    cache = cache_per_token * context * batch
    held = (dense + n_experts * expert) * bits / 8 + cache
    read = (dense + touched(n_experts, top_k, batch) * expert) * bits / 8 + cache
    return held, max(read / bandwidth, 2 * (dense + top_k * expert) * batch / peak)


def serve_sum(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * context * batch
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    read = (shared + touched(n_experts, top_k, batch) * expert) * bits / 8 + cache
    flops = 2 * (shared + top_k * expert) * batch
    return held, read / bandwidth + flops / peak


def serve_touched_compute(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * context * batch
    passed = shared + touched(n_experts, top_k, batch) * expert
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    return held, max((passed * bits / 8 + cache) / bandwidth, 2 * passed * batch / peak)


def serve_all_in_bits(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * context * batch
    held = (shared + embedding + n_experts * expert + cache) * bits / 8
    read = (shared + touched(n_experts, top_k, batch) * expert + cache) * bits / 8
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


def numbers(shared, expert, embedding, E, K, bits, batch, T, factor, D, R):
    """The eight, each by itself, so that an answer below changes one line of them."""
    total, active = shared + E * expert, shared + K * expert
    return [
        total / 1e9,
        active / 1e9,
        2 * (active - embedding) / 1e9,
        total * bits / 8 / 1e9,
        touched(E, K, batch),
        K,
        math.ceil(factor * T * K / E),
        2 * T * K * D * 2 * (R - 1) / R / 1e6,
    ]


def compare(numbers, quoted_Q):
    right_Q = torch.tensor(numbers, dtype=torch.float64)
    return right_Q, (quoted_Q - right_Q).abs() / right_Q > 0.02


def audit_table_added(shared, expert, embedding, n_experts, top_k, bits, *rest):
    *others, quoted_Q = rest
    n = numbers(shared, expert, embedding, n_experts, top_k, bits, *others)
    total = shared + embedding + n_experts * expert
    n[0], n[3] = total / 1e9, total * bits / 8 / 1e9
    n[1] = (shared + embedding + top_k * expert) / 1e9
    n[2] = 2 * (shared + top_k * expert) / 1e9
    return compare(n, quoted_Q)


def audit_twice_active(*given):
    *model, quoted_Q = given
    n = numbers(*model)
    n[2] = 2 * n[1]
    return compare(n, quoted_Q)


def audit_loss_one(*given):
    *model, quoted_Q = given
    n = numbers(*model)
    n[5] = 1.0
    return compare(n, quoted_Q)


def audit_loss_without_sum(*given):
    *model, quoted_Q = given
    n = numbers(*model)
    n_experts, top_k = model[3], model[4]
    f, P = top_k / n_experts, 1 / n_experts
    n[5] = n_experts * f * P
    return compare(n, quoted_Q)


def audit_all_rows_leave(*given):
    *model, quoted_Q = given
    n = numbers(*model)
    top_k, n_tokens, d_model = model[4], model[7], model[9]
    n[7] = 2 * n_tokens * top_k * d_model * 2 / 1e6
    return compare(n, quoted_Q)


def audit_rows_in_bits_of_weights(*given):
    *model, quoted_Q = given
    n = numbers(*model)
    top_k, bits, n_tokens, d_model, ranks = model[4], model[5], model[7], model[9], model[10]
    n[7] = 2 * n_tokens * top_k * d_model * bits / 8 * (ranks - 1) / ranks / 1e6
    return compare(n, quoted_Q)


def audit_capacity_of_tokens(*given):
    *model, quoted_Q = given
    n = numbers(*model)
    n_experts, n_tokens, capacity_factor = model[3], model[7], model[8]
    n[6] = math.ceil(n_tokens / n_experts * capacity_factor)
    return compare(n, quoted_Q)


def audit_too_large_only(*given):
    *model, quoted_Q = given
    right_Q = torch.tensor(numbers(*model), dtype=torch.float64)
    return right_Q, quoted_Q / right_Q - 1 > 0.02


FRESH = {
    "17.serve": [
        ("the cache is held, not read", serve_cache_held_only, {"cache_not_read"}),
        ("all that is held is read", serve_held_is_read, {"all_experts_read", "table_read"}),
        ("the active parameters are read", serve_active_is_read, {"k_experts_read"}),
        ("arithmetic of one token", serve_one_token_computed, {"reading_alone"}),
        ("the table goes with the shared", serve_table_among_shared, {"table_read", "table_multiplied"}),
        ("reading plus arithmetic", serve_sum, {"times_added"}),
        ("each token passes all touched", serve_touched_compute, {"all_experts_compute"}),
        ("the cache in bits of weights", serve_all_in_bits, {"cache_in_few_bits"}),
    ],
    "17.audit": [
        ("the table added to the shared", audit_table_added, {"table_twice"}),
        ("twice the active", audit_twice_active, {"table_multiplied"}),
        ("the loss is 1", audit_loss_one, {"loss_is_one"}),
        ("the loss without the sum", audit_loss_without_sum, {"sum_forgotten"}),
        ("all rows leave", audit_all_rows_leave, {"own_rank_sent"}),
        ("rows in the bits of weights", audit_rows_in_bits_of_weights, {"numbers_for_bytes"}),
        ("capacity without K", audit_capacity_of_tokens, {"capacity_without_k"}),
        ("no absolute value", audit_too_large_only, {"one_side"}),
    ],
}
