"""Answers to lesson 03's exercises on FLOPs, memory and quoted numbers, as learners write them."""

import numpy as np


def flops_in_steps(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    weights = active - embedding
    multiply_adds = weights
    for _ in range(n_layers):
        multiply_adds += n_heads * n_positions * d_head  # scores
        multiply_adds += n_heads * n_positions * d_head  # values
    inference = 2 * multiply_adds
    backward = 2 * inference
    return inference, inference + backward


def flops_short(n, a, v, layers, h, d_h, p):
    return np.int64(2 * (a - v) + 4 * layers * h * d_h * p), np.int64(6 * (a - v) + 12 * layers * h * d_h * p)


def flops(
    per_weight=2, looked_up=0, use="active", products=2, heads=True, layers=True, square=False, train=3
):
    """An answer with some of its lines changed."""

    def answer(total, active, embedding, n_layers, n_heads, d_head, n_positions):
        used = total if use == "total" else active
        forward = per_weight * (used - embedding + looked_up * embedding)
        context = per_weight * products * d_head * n_positions * (n_positions if square else 1)
        context *= (n_heads if heads else 1) * (n_layers if layers else 1)
        return forward + context, train * (forward + context)

    return answer


def flops_six(*args):
    forward, training = flops_in_steps(*args)
    return 6 * (forward // 2), training


def flops_2n_6n(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    return 2 * active, 6 * active


def flops_attention_once(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    n = active - embedding
    attention = n_layers * n_positions * n_heads * d_head * 4
    return 2 * n + attention, 6 * n + attention


# memory


def memory_in_bytes(total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, w_bits, c_bits):
    weights = total * w_bits // 8
    keys = values = n_kv_heads * d_head * n_layers
    return weights / 1e9, (keys + values) * context * batch * c_bits / 8e9


def memory_per_token(total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, w_bits, c_bits):
    per_token = sum(2 * n_kv_heads * d_head for _ in range(n_layers)) * (c_bits / 8)
    return np.float64(total) * w_bits / 8 * 1e-9, per_token * context * batch * 1e-9


def memory(unit=8e9, held="total", kv=2, heads="kv", layers=True, texts=True, own_bits=True, power=1):
    def answer(total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, w_bits, c_bits):
        n = {"kv": n_kv_heads, "query": n_heads, "one": 1}[heads]
        numbers = kv * n * d_head * context**power
        numbers *= n_layers if layers else 1
        numbers *= batch if texts else 1
        weights = (active if held == "active" else total) * w_bits
        return weights / unit, numbers * (c_bits if own_bits else w_bits) / unit

    return answer


def memory_whole_bytes(total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, w_bits, c_bits):
    per_token = 2 * n_layers * n_kv_heads * d_head * (c_bits // 8)
    return total * (w_bits // 8) / 1e9, per_token * context * batch / 1e9


# four_numbers


def quotes_with_if(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    total = shared + n_experts * expert
    if quote == "8x7B":
        return float(total), "parameters"
    if quote == "13B FLOPs":
        return 2.0 * (shared - embedding + top_k * expert), "FLOP"
    if quote == "47B of memory":
        return total * (bits / 8), "bytes"
    missed = ((n_experts - top_k) / n_experts) ** batch
    return n_experts - n_experts * missed, "experts"


def quotes_by_recursion(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    touched = 0.0
    for _ in range(batch):  # each token adds the share of the untouched that it chooses
        touched += (n_experts - touched) * top_k / n_experts
    return {
        "8x7B": (shared + expert * n_experts, "parameters"),
        "13B FLOPs": ((shared + top_k * expert - embedding) * 2, "FLOP"),
        "47B of memory": ((shared + expert * n_experts) * bits // 8, "bytes"),
        "2 of 8 experts": (touched, "experts"),
    }[quote]


def but(quote, rule):
    """Right, except for one quote."""

    def answer(asked, *numbers):
        if asked != quote:
            return quotes_with_if(asked, *numbers)
        value, unit = rule(*numbers)
        return float(value), unit

    return answer


def literal(shared, expert, embedding, n_experts, top_k, batch, bits):
    return n_experts * (shared + expert), "parameters"


def experts_only(shared, expert, embedding, n_experts, top_k, batch, bits):
    return n_experts * expert, "parameters"


def token(factor=2, used=None, unit="FLOP", minus=1):
    def rule(shared, expert, embedding, n_experts, top_k, batch, bits):
        k = n_experts if used == "all" else top_k
        return factor * (shared + k * expert - minus * embedding), unit

    return rule


def held(used="all", size=8):
    def rule(shared, expert, embedding, n_experts, top_k, batch, bits):
        k = n_experts if used == "all" else top_k
        return (shared + k * expert) * (bits if size else 1) / (size or 1), "bytes"

    return rule


def in_bits(shared, expert, embedding, n_experts, top_k, batch, bits):
    return (shared + n_experts * expert) * bits, "bytes"


def touched(how):
    def rule(shared, expert, embedding, n_experts, top_k, batch, bits):
        return how(n_experts, top_k, batch), "experts"

    return rule


RIGHT = {
    "03.flops_per_token": [flops_in_steps, flops_short],
    "03.memory": [memory_in_bytes, memory_per_token],
    "03.four_numbers": [quotes_with_if, quotes_by_recursion],
}

WRONG = {
    "03.flops_per_token": {
        "multiply_adds": flops(per_weight=1),
        "embedding_multiplied": flops(looked_up=1),
        "all_experts": flops(use="total"),
        "no_context": flops(products=0),
        "rule_of_thumb": flops_2n_6n,
        "keys_only": flops(products=1),
        "one_head": flops(heads=False),
        "one_layer": flops(layers=False),
        "whole_sequence": flops(square=True),
        "six_everywhere": flops_six,
        "attention_only_forward": flops_attention_once,
        "backward_like_forward": flops(train=2),
    },
    "03.memory": {
        "bits": memory(unit=1e9),
        "whole_bytes": memory_whole_bytes,
        "gibibytes": memory(unit=8 * 1024**3),
        "active_only": memory(held="active"),
        "keys_only": memory(kv=1),
        "query_heads": memory(heads="query"),
        "one_head": memory(heads="one"),
        "one_layer": memory(layers=False),
        "one_text": memory(texts=False),
        "cache_in_weight_bits": memory(own_bits=False),
        "squared": memory(power=2),
    },
    "03.four_numbers": {
        "name_taken_literally": but("8x7B", literal),
        "experts_only": but("8x7B", experts_only),
        "parameters_for_flops": but("13B FLOPs", token(factor=1)),
        "embedding_multiplied": but("13B FLOPs", token(minus=0)),
        "all_experts_compute": but("13B FLOPs", token(used="all")),
        "training_flops": but("13B FLOPs", token(factor=6)),
        "per_second": but("13B FLOPs", token(unit="FLOP/s")),
        "one_byte_each": but("47B of memory", held(size=0)),
        "active_in_memory": but("47B of memory", held(used="K")),
        "bits_for_bytes": but("47B of memory", in_bits),
        "k_for_any_batch": but("2 of 8 experts", touched(lambda e, k, b: k)),
        "no_overlap": but("2 of 8 experts", touched(lambda e, k, b: min(e, k * b))),
        "with_replacement": but(
            "2 of 8 experts", touched(lambda e, k, b: e * (1 - ((e - 1) / e) ** (k * b)))
        ),
        "untouched": but("2 of 8 experts", touched(lambda e, k, b: e * ((e - k) / e) ** b)),
        "share": but("2 of 8 experts", touched(lambda e, k, b: 1 - (1 - k / e) ** b)),
    },
}
