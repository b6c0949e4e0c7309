"""The second set, written from the learner's notebooks alone: lesson 03's second half."""


# 03.memory


def mem_bits(total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits):
    weights = total * weight_bits / 1e9
    cache = 2 * n_layers * n_kv_heads * d_head * context * batch * cache_bits / 1e9
    return weights, cache


def mem_gib(total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits):
    gb = 1024**3
    weights = total * weight_bits / 8 / gb
    cache = 2 * n_layers * n_kv_heads * d_head * context * batch * cache_bits / 8 / gb
    return weights, cache


def mem_query_heads(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cached = (n_heads + n_kv_heads) * d_head * n_layers * context * batch
    return total * weight_bits / 8e9, cached * cache_bits / 8e9


def mem_active(total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits):
    return (
        active * weight_bits / 8 / 10**9,
        2 * batch * context * n_layers * n_kv_heads * d_head * cache_bits / 8 / 10**9,
    )


def mem_keys_alone(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    numbers = batch * context * n_layers * n_kv_heads * d_head
    return total * weight_bits / 8 * 1e-9, numbers * cache_bits / 8 * 1e-9


def mem_always_bf16(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    weights = total * weight_bits / 8
    cache = 2 * 2 * n_layers * n_kv_heads * d_head * context * batch
    return weights / 1e9, cache / 1e9


# 03.four_numbers


def four_active(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "8x7B":
        return shared + top_k * expert, "parameters"
    if quote == "13B FLOPs":
        return 2 * (shared - embedding + top_k * expert), "FLOP"
    if quote == "47B of memory":
        return (shared + n_experts * expert) * bits / 8, "bytes"
    return n_experts * (1 - (1 - top_k / n_experts) ** batch), "experts"


def four_lookup(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    total = shared + n_experts * expert
    answers = {
        "8x7B": (total, "parameters"),
        "13B FLOPs": (2 * (shared + top_k * expert), "FLOP"),
        "47B of memory": (total * bits // 8, "bytes"),
        "2 of 8 experts": (n_experts * (1 - (1 - top_k / n_experts) ** batch), "experts"),
    }
    return answers[quote]


def four_bits(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    total = shared + n_experts * expert
    active = shared + top_k * expert
    if quote == "8x7B":
        return total, "parameters"
    elif quote == "13B FLOPs":
        return 2 * (active - embedding), "FLOP"
    elif quote == "47B of memory":
        return total * bits, "bytes"
    elif quote == "2 of 8 experts":
        return n_experts - n_experts * (1 - top_k / n_experts) ** batch, "experts"


def four_with_replacement(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    total = shared + n_experts * expert
    if quote == "2 of 8 experts":
        return n_experts * (1 - (1 - 1 / n_experts) ** (top_k * batch)), "experts"
    if quote == "47B of memory":
        return total * bits / 8, "bytes"
    if quote == "13B FLOPs":
        return 2 * (shared + top_k * expert - embedding), "FLOP"
    return total, "parameters"


def four_capped(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    total = shared + n_experts * expert
    match quote:
        case "8x7B":
            return total, "parameters"
        case "13B FLOPs":
            return 2 * (shared + top_k * expert - embedding), "FLOP"
        case "47B of memory":
            return total * bits / 8, "bytes"
        case _:
            return min(n_experts, top_k * batch), "experts"


def four_eight_times(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    total = n_experts * (shared + expert)
    if quote == "8x7B":
        return total, "parameters"
    if quote == "13B FLOPs":
        return 2 * (shared + top_k * expert - embedding), "FLOP"
    if quote == "47B of memory":
        return total * bits / 8, "bytes"
    return n_experts * (1 - (1 - top_k / n_experts) ** batch), "experts"


FRESH = {
    "03.memory": [
        ("bits", mem_bits, {"bits"}),
        ("GiB", mem_gib, {"gibibytes"}),
        ("queries for values", mem_query_heads, {"queries_for_values"}),
        ("active", mem_active, {"active_only"}),
        ("keys alone", mem_keys_alone, {"keys_only"}),
        ("two bytes for the cache", mem_always_bf16, {"sixteen_bit_cache"}),
    ],
    "03.four_numbers": [
        ("active for total", four_active, {"active_for_total"}),
        ("look-up counted", four_lookup, {"embedding_multiplied"}),
        ("bits", four_bits, {"bits_for_bytes"}),
        ("with replacement", four_with_replacement, {"with_replacement"}),
        ("capped", four_capped, {"no_overlap"}),
        ("eight whole models", four_eight_times, {"name_taken_literally_twice"}),
    ],
}
