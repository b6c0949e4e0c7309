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
        memory = (
            shared + s.get("table", 1) * embedding + s.get("held", lambda E, K: E)(E, K) * expert
        ) * b + cache
        read = (shared + n_read * expert + s.get("row", 0) * embedding) * b + s.get("reads_cache", 1) * cache
        flops = (
            s.get("ops", 2)
            * (shared + s.get("busy", lambda E, K: K)(E, K) * expert)
            * s.get("n", lambda B: B)(B)
        )
        if s.get("swap"):
            return memory, max(read / peak, flops / bandwidth)
        return memory, s.get("join", max)(read / bandwidth, flops / peak)

    return serve


WRONG = {
    "17.serve": {
        "active_in_memory": slip(held=lambda E, K: K),
        "all_experts_read": slip(touched=lambda E, K, B: E),
        "k_experts_read": slip(touched=lambda E, K, B: K),
        "no_overlap": slip(touched=lambda E, K, B: min(K * B, E)),
        "with_replacement": slip(touched=lambda E, K, B: E - E * ((E - 1) / E) ** (B * K)),
        "whole_experts": slip(touched=lambda E, K, B: round(E - E * (1 - K / E) ** B)),
        "whole_experts:up": slip(touched=lambda E, K, B: -(-(E - E * (1 - K / E) ** B) // 1)),
        "those_not_chosen": slip(touched=lambda E, K, B: E * (1 - K / E) ** B),
        "times_added": slip(join=lambda a, b: a + b),
        "faster_of_two": slip(join=min),
        "reading_alone": slip(join=lambda a, b: a),
        "arithmetic_alone": slip(join=lambda a, b: b),
        "cache_forgotten": slip(cache=lambda c, B, L, bits: 0),
        "cache_of_one": slip(cache=lambda c, B, L, bits: c * L),
        "cache_not_read": slip(reads_cache=0),
        "cache_in_few_bits": slip(cache=lambda c, B, L, bits: c * B * L * bits / 16),
        "parameters_as_bytes": slip(bytes=lambda x: 1),
        "bits_as_bytes": slip(bytes=lambda x: x),
        "one_operation": slip(ops=1),
        "training_operations": slip(ops=6),
        "all_experts_compute": slip(busy=lambda E, K: E),
        "reading_alone:of one token": slip(n=lambda B: 1),
        "table_read": slip(row=1),
        "table_not_held": slip(table=0),
        "speeds_swapped": slip(swap=True),
    }
}
RIGHT = {"17.serve": [serve_by_logs, serve_numpy, serve_user_by_user]}
