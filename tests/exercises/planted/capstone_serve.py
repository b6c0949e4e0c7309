"""Answers to 17.serve as learners write them."""

import math

import numpy as np


def serve_by_logs(shared, expert, embedding, E, K, per_token, B, context, bits, bandwidth, peak):
    left = math.exp(B * math.log1p(-K / E)) if K < E else 0.0
    cache, w = per_token * context * B, bits / 8
    held = w * shared + w * embedding + w * E * expert + cache
    return held, max(
        (w * (shared + E * (1 - left) * expert) + cache) / bandwidth, B * (2 * shared + 2 * K * expert) / peak
    )


def serve_numpy(shared, expert, embedding, E, K, per_token, B, context, bits, bandwidth, peak):
    missed = np.prod(np.full(B, 1 - K / E))
    parts = np.array([shared, expert * E, embedding]) * bits / 8
    users = np.full(B, per_token * context)
    times = np.array(
        [
            (parts[0] + parts[1] * (1 - missed) + users.sum()) / bandwidth,
            2.0 * B * (shared + K * expert) / peak,
        ]
    )
    return float(parts.sum() + users.sum()), float(times.max())


def serve_user_by_user(shared, expert, embedding, E, K, per_token, B, context, bits, bandwidth, peak):
    untouched = float(E)
    for _ in range(B):
        untouched *= (E - K) / E
    cache = B * context * per_token
    memory = (shared + embedding + E * expert) * bits / 8 + cache
    read = (shared + (E - untouched) * expert) * bits / 8 + cache
    compute = sum(2 * (shared + K * expert) for _ in range(B))
    return memory, read / bandwidth if read / bandwidth > compute / peak else compute / peak


def slip(**s):
    """A learner's function with one thing different."""

    def serve(
        shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
    ):
        E, K, B = n_experts, top_k, batch
        b = s.get("bytes", lambda x: x / 8)(bits)
        cache = s.get("cache", lambda c, B, L, bits: c * B * L)(cache_per_token, B, context, bits)
        n_read = s.get("touched", lambda E, K, B: E - E * ((E - K) / E) ** B)(E, K, B)
        always = s.get("always", 1) * shared
        memory = (
            always + s.get("table", 1) * embedding + s.get("held", lambda E, K, B: E)(E, K, B) * expert
        ) * b + s.get("keeps_cache", 1) * cache
        read = always + n_read * expert + s.get("row", 0) * embedding
        read = read * s.get("each", lambda B: 1)(B) * b + s.get("reads_cache", 1) * cache
        passed = always + s.get("busy", lambda E, K, B: K)(E, K, B) * expert + s.get("product", 0) * embedding
        flops = s.get("ops", lambda b: 2)(b) * passed * s.get("n", lambda B, L: B)(B, context)
        if s.get("swap"):
            return memory, max(read / peak, flops / bandwidth)
        seconds = s.get("join", max)(read / bandwidth, flops / peak)
        return memory / s.get("giga", 1), seconds * s.get("wait", lambda B: 1)(B)

    return serve


def bits_for_the_experts(shared, expert, embedding, E, K, per_token, B, context, bits, bandwidth, peak):
    cache = per_token * B * context
    held = shared + embedding + E * expert * bits / 8 + cache
    read = shared + E * (1 - (1 - K / E) ** B) * expert * bits / 8 + cache
    return held, max(read / bandwidth, 2 * B * (shared + K * expert) / peak)


def two_slips(*given):
    """One in what is held, and another in the step."""
    return slip(table=0)(*given)[0], slip(touched=lambda E, K, B: E)(*given)[1]


def two_for_the_shared(*given):
    shared, expert, _, _, K, _, B, *_, peak = given
    held, _ = slip()(*given)
    reading = slip(join=lambda read, work: read)(*given)[1]
    return held, max(reading, (2 * shared + K * expert) * B / peak)


WRONG = {
    "17.serve": {
        "active_in_memory": slip(held=lambda E, K, B: K),
        "active_in_memory:of a step": slip(held=lambda E, K, B: E - E * (1 - K / E) ** B),
        "active_in_memory:and read": slip(held=lambda E, K, B: K, touched=lambda E, K, B: K),
        "all_experts_read": slip(touched=lambda E, K, B: E),
        "all_experts_read:with all that is held": slip(touched=lambda E, K, B: E, row=1),
        "all_experts_read:and computing": slip(touched=lambda E, K, B: E, busy=lambda E, K, B: E),
        "k_experts_read": slip(touched=lambda E, K, B: K),
        "k_experts_read:and the table": slip(touched=lambda E, K, B: K, row=1, product=1),
        "one_expert_for_all": slip(busy=lambda E, K, B: 1),
        "one_expert_for_all:held": slip(held=lambda E, K, B: 1),
        "no_overlap": slip(touched=lambda E, K, B: min(K * B, E)),
        "with_replacement": slip(touched=lambda E, K, B: E - E * ((E - 1) / E) ** (B * K)),
        "with_replacement:in the limit": slip(touched=lambda E, K, B: -E * math.expm1(-K * B / E)),
        "one_choice_a_token": slip(touched=lambda E, K, B: E - E * (1 - 1 / E) ** B),
        "k_counted_twice": slip(touched=lambda E, K, B: E - E * (1 - K / E) ** (K * B)),
        "exponent_not_the_batch": slip(touched=lambda E, K, B: E - E * (1 - K / E) ** K),
        "share_of_experts": slip(touched=lambda E, K, B: 1 - (1 - K / E) ** B),
        "share_of_experts:times K": slip(touched=lambda E, K, B: K - K * (1 - K / E) ** B),
        "chosen_by_all": slip(touched=lambda E, K, B: E * (1 - (K / E) ** B)),
        "whole_experts": slip(touched=lambda E, K, B: round(E - E * (1 - K / E) ** B)),
        "whole_experts:up": slip(touched=lambda E, K, B: -(-(E - E * (1 - K / E) ** B) // 1)),
        "those_not_chosen": slip(touched=lambda E, K, B: E * (1 - K / E) ** B),
        "times_added": slip(join=lambda a, b: a + b),
        "faster_of_two": slip(join=min),
        "reading_alone": slip(join=lambda a, b: a),
        "arithmetic_alone": slip(join=lambda a, b: b),
        "cache_forgotten": slip(cache=lambda c, B, L, bits: 0),
        "cache_of_one": slip(cache=lambda c, B, L, bits: c * L),
        "cache_of_one_token": slip(cache=lambda c, B, L, bits: c * B),
        "cache_not_read": slip(reads_cache=0),
        "cache_not_held": slip(keeps_cache=0),
        "cache_twice": slip(cache=lambda c, B, L, bits: 2 * c * B * L),
        "cache_in_few_bits": slip(cache=lambda c, B, L, bits: c * B * L * bits / 16),
        "parameters_as_bytes": slip(bytes=lambda x: 1),
        "parameters_as_bytes:but the experts": bits_for_the_experts,
        "bits_as_bytes": slip(bytes=lambda x: x),
        "two_bytes_each": slip(bytes=lambda x: 2),
        "no_half_bytes": slip(bytes=lambda x: x // 8),
        "one_operation": slip(ops=lambda b: 1),
        "training_operations": slip(ops=lambda b: 6),
        "bytes_multiplied": slip(ops=lambda b: 2 * b),
        "all_experts_compute": slip(busy=lambda E, K, B: E),
        "all_experts_compute:of a step": slip(busy=lambda E, K, B: E - E * (1 - K / E) ** B),
        "reading_alone:of one token": slip(n=lambda B, L: 1),
        "batch_in_part": slip(n=lambda B, L: 1, busy=lambda E, K, B: K * B),
        "one_operation:of an expert's weight": two_for_the_shared,
        "whole_context": slip(n=lambda B, L: B * L),
        "one_after_another": slip(touched=lambda E, K, B: K, each=lambda B: B),
        "time_of_a_user": slip(wait=lambda B: 1 / B),
        "other_unit": slip(giga=1e9),
        "other_unit:ms": slip(wait=lambda B: 1000),
        "table_read": slip(row=1),
        "table_multiplied": slip(product=1),
        "table_not_held": slip(table=0),
        "table_twice": slip(table=2),
        "table_not_held:and all experts read": two_slips,
        "table_among_the_shared": slip(table=0, row=-1, product=-1),
        "shared_forgotten": slip(always=0),
        "speeds_swapped": slip(swap=True),
    }
}
RIGHT = {"17.serve": [serve_by_logs, serve_numpy, serve_user_by_user]}
