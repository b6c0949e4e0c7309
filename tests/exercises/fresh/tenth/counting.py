"""Lesson 03: parameters, FLOPs and bytes."""

# 03.swiglu_moe_params


def two_matrices(d_model, d_expert, n_experts, d_shared):
    return 2 * d_model * d_expert * n_experts + d_model * n_experts + 2 * d_model * d_shared


def no_router(d_model, d_expert, n_experts, d_shared):
    return 3 * d_model * (n_experts * d_expert + d_shared)


def shared_as_wide_as_the_others(d_model, d_expert, n_experts, d_shared):
    n = n_experts + (1 if d_shared else 0)
    return 3 * d_model * d_expert * n + d_model * n_experts


def router_knows_the_shared(d_model, d_expert, n_experts, d_shared):
    n = n_experts + (1 if d_shared else 0)
    return 3 * d_model * (n_experts * d_expert + d_shared) + d_model * n


def shared_in_each_expert(d_model, d_expert, n_experts, d_shared):
    return n_experts * 3 * d_model * (d_expert + d_shared) + d_model * n_experts


def shared_with_two_matrices(d_model, d_expert, n_experts, d_shared):
    return 3 * d_model * d_expert * n_experts + d_model * n_experts + 2 * d_model * d_shared


# 03.mixtral


def mixtral_of(v, d, n_layers, heads, kv, d_head, f, e, k, *, tables=2, final=True, all_heads=False):
    attention = 2 * d * heads * d_head + 2 * d * (heads if all_heads else kv) * d_head
    rest = n_layers * (attention + e * d + 2 * d) + (d if final else 0)
    expert = n_layers * 3 * d * f
    return tables * v * d + rest + e * expert, tables * v * d + rest + k * expert


def keys_for_all_heads(
    vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
):
    return mixtral_of(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k, all_heads=True
    )


def one_table(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    return mixtral_of(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k, tables=1
    )


def active_without_embedding(
    vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
):
    total, active = mixtral_of(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
    )
    return total, active - vocab_size * d_model


def no_last_norm(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    return mixtral_of(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k, final=False
    )


def heads_divide_the_width(
    vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
):
    return mixtral_of(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_model // n_heads, d_expert, n_experts, top_k
    )


def router_shrinks_with_k(
    vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
):
    total, active = mixtral_of(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
    )
    return total, active - n_layers * d_model * (n_experts - top_k)


# 03.flops_per_token


def flops_of_total(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    flops = 2 * (total - embedding) + 4 * n_layers * n_heads * d_head * n_positions
    return flops, 3 * flops


def embedding_multiplied(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    flops = 2 * active + 4 * n_layers * n_heads * d_head * n_positions
    return flops, 3 * flops


def scores_only(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    flops = 2 * (active - embedding) + 2 * n_layers * n_heads * d_head * n_positions
    return flops, 3 * flops


def backward_only(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    flops = 2 * (active - embedding) + 4 * n_layers * n_heads * d_head * n_positions
    return flops, 2 * flops


def attention_not_trained(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    attention = 4 * n_layers * n_heads * d_head * n_positions
    return 2 * (active - embedding) + attention, 6 * (active - embedding) + attention


def attention_in_one_layer(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    flops = 2 * (active - embedding) + 4 * n_heads * d_head * n_positions
    return flops, 3 * flops


# 03.memory


def only_active(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cache = 2 * n_layers * n_kv_heads * d_head * context * batch
    return active * weight_bits / 8 / 1e9, cache * cache_bits / 8 / 1e9


def cache_of_all_heads(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cache = 2 * n_layers * n_heads * d_head * context * batch
    return total * weight_bits / 8 / 1e9, cache * cache_bits / 8 / 1e9


def keys_without_values(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cache = n_layers * n_kv_heads * d_head * context * batch
    return total * weight_bits / 8 / 1e9, cache * cache_bits / 8 / 1e9


def gibibytes(total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits):
    cache = 2 * n_layers * n_kv_heads * d_head * context * batch
    return total * weight_bits / 8 / 2**30, cache * cache_bits / 8 / 2**30


def cache_in_weight_bits(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cache = 2 * n_layers * n_kv_heads * d_head * context * batch
    return total * weight_bits / 8 / 1e9, cache * weight_bits / 8 / 1e9


def bits_for_bytes(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cache = 2 * n_layers * n_kv_heads * d_head * context * batch
    return total * weight_bits / 1e9, cache * cache_bits / 1e9


# 03.four_numbers


def four(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "8x7B":
        return shared + n_experts * expert, "parameters"
    if quote == "13B FLOPs":
        return 2 * (shared - embedding + top_k * expert), "FLOP"
    if quote == "47B of memory":
        return (shared + n_experts * expert) * bits / 8, "bytes"
    return n_experts * (1 - (1 - top_k / n_experts) ** batch), "experts"


def name_taken_at_its_word(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "8x7B":
        return n_experts * (shared + expert), "parameters"
    return four(quote, shared, expert, embedding, n_experts, top_k, batch, bits)


def lookup_counted(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "13B FLOPs":
        return 2 * (shared + top_k * expert), "FLOP"
    return four(quote, shared, expert, embedding, n_experts, top_k, batch, bits)


def one_flop_a_weight(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "13B FLOPs":
        return shared - embedding + top_k * expert, "FLOP"
    return four(quote, shared, expert, embedding, n_experts, top_k, batch, bits)


def gigabytes(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "47B of memory":
        return (shared + n_experts * expert) * bits / 8 / 1e9, "bytes"
    return four(quote, shared, expert, embedding, n_experts, top_k, batch, bits)


def every_token_another_expert(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "2 of 8 experts":
        return min(n_experts, batch * top_k), "experts"
    return four(quote, shared, expert, embedding, n_experts, top_k, batch, bits)


def drawn_with_replacement(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "2 of 8 experts":
        return n_experts * (1 - (1 - 1 / n_experts) ** (batch * top_k)), "experts"
    return four(quote, shared, expert, embedding, n_experts, top_k, batch, bits)


FRESH = {
    "03.swiglu_moe_params": [
        ("two matrices an expert", two_matrices, {"two_matrices"}),
        ("no router", no_router, {"router_forgotten"}),
        ("the shared expert as wide as a routed one", shared_as_wide_as_the_others, {"shared_like_routed"}),
        ("the router has a row for the shared expert", router_knows_the_shared, {"shared_is_routed"}),
        ("a shared expert for each routed one", shared_in_each_expert, {"shared_per_expert"}),
        ("the shared expert with two matrices", shared_with_two_matrices, {"shared_two_matrices"}),
    ],
    "03.mixtral": [
        ("keys and values for all heads", keys_for_all_heads, {"kv_heads_like_query_heads"}),
        ("one table for embedding and head", one_table, {"embedding_once"}),
        ("active without the embedding", active_without_embedding, {"without_input_embedding"}),
        ("the last norm forgotten", no_last_norm, {"final_norm_forgotten"}),
        ("d_model / n_heads for d_head", heads_divide_the_width, {"heads_fill_the_model"}),
        ("active with K rows of the router", router_shrinks_with_k, {"router_of_the_chosen"}),
    ],
    "03.flops_per_token": [
        ("total instead of active", flops_of_total, {"all_experts"}),
        ("the embedding multiplied", embedding_multiplied, {"embedding_multiplied"}),
        ("scores without values", scores_only, {"keys_only"}),
        ("training is twice inference", backward_only, {"backward_like_forward"}),
        ("attention not tripled in training", attention_not_trained, {"attention_only_forward"}),
        ("attention of one layer only", attention_in_one_layer, {"one_layer"}),
    ],
    "03.memory": [
        ("active weights only", only_active, {"active_only"}),
        ("a cache for all query heads", cache_of_all_heads, {"query_heads"}),
        ("keys without values", keys_without_values, {"keys_only"}),
        ("GiB", gibibytes, {"gibibytes"}),
        ("the weights' bits for the cache", cache_in_weight_bits, {"cache_in_weight_bits"}),
        ("bits for bytes", bits_for_bytes, {"bits"}),
    ],
    "03.four_numbers": [
        ("8 times everything", name_taken_at_its_word, {"name_taken_literally"}),
        ("the look-up counted", lookup_counted, {"embedding_multiplied"}),
        ("one FLOP a weight", one_flop_a_weight, {"parameters_for_flops"}),
        ("GB called bytes", gigabytes, {"gigabytes"}),
        ("batch times K, at most E", every_token_another_expert, {"no_overlap"}),
        ("choices drawn with replacement", drawn_with_replacement, {"with_replacement"}),
    ],
}
