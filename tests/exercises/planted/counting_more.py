"""More wrong answers to lesson 03; `counting` and `counting_costs` list which is which."""

from planted.counting_costs import quotes_with_if

# 03.swiglu_moe_params


def block(matrices=3, shared=None, router_bias=False):
    def answer(d_model, d_expert, n_experts, d_shared):
        count = n_experts * matrices * d_model * d_expert + n_experts * (d_model + router_bias)
        return count + (shared(d_model, d_expert, d_shared) if shared else matrices * d_model * d_shared)

    return answer


BLOCK = {
    "one_matrix": block(matrices=1),
    "routed_two_matrices": block(matrices=2, shared=lambda d, f, s: 3 * d * s),
    "shared_two_matrices": block(shared=lambda d, f, s: 2 * d * s),
    "shared_like_routed": block(shared=lambda d, f, s: 3 * d * f if s else 0),
    "shared_as_count": block(shared=lambda d, f, s: s * 3 * d * f),
    "router_bias": block(router_bias=True),
    "shared_per_expert:added to the width": lambda d, f, e, s: e * 3 * d * (f + s) + e * d,
}

# 03.mixtral


def model(v, d, n_layers, h, h_kv, d_h, f, e, used, routers=None):
    attention = 2 * d * h * d_h + 2 * d * h_kv * d_h
    routers = n_layers * e * d if routers is None else routers
    return 2 * v * d + d + routers + n_layers * (attention + 2 * d + used * 3 * d * f)


def model_swapped(*sizes):
    return model(*sizes), model(*sizes[:8], sizes[7])


def model_in_proportion(*sizes):
    total = model(*sizes[:8], sizes[7])
    return total, round(total * sizes[8] / sizes[7])


def model_experts(v, d, n_layers, h, h_kv, d_h, f, e, k):
    expert = n_layers * 3 * d * f
    return e * expert, k * expert


def model_one_router(*sizes):
    return tuple(model(*sizes[:8], used, routers=sizes[7] * sizes[1]) for used in sizes[7:])


def model_times_e(*sizes):
    one = model(*sizes[:8], 1)
    return sizes[7] * one, sizes[8] * one


def model_top_1(*sizes):
    return model(*sizes[:8], sizes[7]), model(*sizes[:8], 1)


def model_in_floats(*sizes):
    """Whole numbers all the same."""
    return float(model(*sizes[:8], sizes[7])), float(model(*sizes))


def model_only_total(*sizes):
    total = model(*sizes[:8], sizes[7])
    return total, total


def model_square(v, d, n_layers, h, h_kv, d_h, f, e, k):
    layer = 2 * d * d + 2 * d * h_kv * d_h + e * d + 2 * d
    return tuple(2 * v * d + d + n_layers * (layer + n * 3 * d * f) for n in (e, k))


def model_three_norms(v, d, n_layers, h, h_kv, d_h, f, e, k):
    layer = 2 * d * d_h * (h + h_kv) + e * d
    return tuple(2 * v * d + n_layers * (layer + n * 3 * d * f) + 3 * d for n in (e, k))


MIXTRAL = {
    "whole_models_with_routers": model_times_e,
    "swapped": model_swapped,
    "proportional": model_in_proportion,
    "experts_only": model_experts,
    "router_once": model_one_router,
    "one_expert_active": model_top_1,
    "all_active:returned twice": model_only_total,
    "square_projections": model_square,
    "norms_once": model_three_norms,
}

# 03.flops_per_token


def token(weights=2, attention=4, embeddings=1):
    def forward(total, active, embedding, n_layers, n_heads, d_head, n_positions):
        numbers = n_layers * n_heads * n_positions * d_head
        return weights * (active - embeddings * embedding) + attention * numbers

    return forward


def costs(forward, training=lambda f, sizes: 3 * f):
    return lambda *sizes: (forward(*sizes), training(forward(*sizes), sizes))


FLOPS = {
    "weights_once": costs(token(weights=1)),
    "attention_once": costs(token(attention=1)),
    "head_left_out": costs(token(embeddings=2)),
    "six_times": costs(token(), lambda f, sizes: 6 * f),
    "attention_not_trained": costs(token(), lambda f, sizes: 6 * (sizes[1] - sizes[2])),
    "swapped": lambda *sizes: costs(token())(*sizes)[::-1],
}


def flops_in_floats(*sizes):
    return tuple(float(cost) for cost in costs(token())(*sizes))


# 03.memory


def room(unit=1e9, texts=None, cache_bits=None, heads=None, put=lambda w, c: (w, c)):
    def answer(total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, w_bits, c_bits):
        n = heads(n_heads, n_kv_heads) if heads else n_kv_heads
        per_token = 2 * n_layers * n * d_head * (cache_bits or c_bits) / 8
        weights = total * w_bits / 8 * (batch if texts else 1)
        return put(weights / unit, per_token * context * batch / unit)

    return answer


MEMORY = {
    "in_bytes": room(unit=1),
    "megabytes": room(unit=1e6),
    "swapped": room(put=lambda w, c: (c, w)),
    "together": room(put=lambda w, c: (w, w + c)),
    "weights_per_text": room(texts=True),
    "sixteen_bit_cache": room(cache_bits=16),
    "all_heads_of_the_model": room(heads=lambda h, h_kv: h + h_kv),
    "queries_for_values": room(heads=lambda h, h_kv: (h + h_kv) / 2),
}

# 03.four_numbers


def quoted(changed, rule):
    def answer(quote, *numbers):
        return rule(*numbers) if quote == changed else quotes_with_if(quote, *numbers)

    return answer


def flops_plural(quote, *numbers):
    value, unit = quotes_with_if(quote, *numbers)
    return value, "FLOPs" if unit == "FLOP" else unit


def floor_of_bytes(shared, expert, embedding, n_experts, top_k, batch, bits):
    return (shared + n_experts * expert) * (bits // 8), "bytes"


def models_eight_times(quote, *numbers):
    shared, expert, _, n_experts, *_, bits = numbers
    if quote == "8x7B":
        return n_experts * (shared + expert), "parameters"
    if quote == "47B of memory":
        return models_eight_times("8x7B", *numbers)[0] * bits / 8, "bytes"
    return quotes_with_if(quote, *numbers)


FOUR = {
    "name_taken_literally_twice": models_eight_times,
    "memory_of_the_name": quoted("47B of memory", lambda *n: models_eight_times("47B of memory", *n)),
    "active_for_total": quoted("8x7B", lambda s, x, v, e, k, b, bits: (s + k * x, "parameters")),
    "head_left_out": quoted("13B FLOPs", lambda s, x, v, e, k, b, bits: (2 * (s - v - v + k * x), "FLOP")),
    "multiplied_by_bytes": quoted(
        "13B FLOPs", lambda s, x, v, e, k, b, bits: ((s - v + k * x) * bits / 8, "FLOP")
    ),
    "whole_bytes": quoted("47B of memory", floor_of_bytes),
    "gigabytes": quoted(
        "47B of memory", lambda s, x, v, e, k, b, bits: ((s + e * x) * bits / 8 / 1e9, "bytes")
    ),
    "k_left_out": quoted(
        "2 of 8 experts", lambda s, x, v, e, k, b, bits: (e - e * ((e - 1) / e) ** b, "experts")
    ),
    "rounded": quoted(
        "2 of 8 experts", lambda s, x, v, e, k, b, bits: (round(e - e * (1 - k / e) ** b), "experts")
    ),
    "unit_misspelt": flops_plural,
}
