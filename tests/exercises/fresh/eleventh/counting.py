"""Lesson 03: the next most plausible ones, two to five an exercise."""

from fresh.tenth.counting import four, mixtral_of


def router_of_hidden_width(d_model, d_expert, n_experts, d_shared):
    return 3 * d_model * (n_experts * d_expert + d_shared) + d_expert * n_experts


def biases_counted(d_model, d_expert, n_experts, d_shared):
    weights = 3 * d_model * (n_experts * d_expert + d_shared) + d_model * n_experts
    return weights + n_experts * (2 * d_expert + d_model) + n_experts


def two_matrices_each(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    total, active = mixtral_of(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
    )
    matrix = n_layers * d_model * d_expert
    return total - n_experts * matrix, active - top_k * matrix


def one_norm_a_layer(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    total, active = mixtral_of(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
    )
    return total - n_layers * d_model, active - n_layers * d_model


def active_is_a_share(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    total, _ = mixtral_of(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
    )
    return total, total * top_k // n_experts


def six_n(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    return 2 * active, 6 * active


def one_flop_each(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    flops = active - embedding + 2 * n_layers * n_heads * d_head * n_positions
    return flops, 3 * flops


def training_without_lookup(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    attention = 4 * n_layers * n_heads * d_head * n_positions
    return 2 * (active - embedding) + attention, 3 * (2 * active + attention)


def batch_forgotten(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cache = 2 * n_layers * n_kv_heads * d_head * context
    return total * weight_bits / 8 / 1e9, cache * cache_bits / 8 / 1e9


def bytes_returned(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cache = 2 * n_layers * n_kv_heads * d_head * context * batch
    return total * weight_bits / 8, cache * cache_bits / 8


def bits_divided_down(
    total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits
):
    cache = 2 * n_layers * n_kv_heads * d_head * context * batch
    return total * (weight_bits // 8) / 1e9, cache * (cache_bits // 8) / 1e9


def missed_experts(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "2 of 8 experts":
        return n_experts * (1 - top_k / n_experts) ** batch, "experts"
    return four(quote, shared, expert, embedding, n_experts, top_k, batch, bits)


def active_for_8x7b(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "8x7B":
        return shared + top_k * expert, "parameters"
    return four(quote, shared, expert, embedding, n_experts, top_k, batch, bits)


def all_experts_multiply(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    if quote == "13B FLOPs":
        return 2 * (shared - embedding + n_experts * expert), "FLOP"
    return four(quote, shared, expert, embedding, n_experts, top_k, batch, bits)


FRESH = {
    "03.swiglu_moe_params": [
        ("the router reads the hidden width", router_of_hidden_width, {"router_reads_expert_width"}),
        ("biases counted", biases_counted, set()),
    ],
    "03.mixtral": [
        ("two matrices an expert", two_matrices_each, {"two_matrices"}),
        ("one norm a layer", one_norm_a_layer, {"one_norm_per_layer"}),
        ("active is total times K / E", active_is_a_share, {"proportional"}),
    ],
    "03.flops_per_token": [
        ("2 N and 6 N", six_n, {"rule_of_thumb"}),
        ("one FLOP a multiply-add", one_flop_each, {"multiply_adds"}),
        ("the embedding counted in training only", training_without_lookup, {"embedding_multiplied"}),
    ],
    "03.memory": [
        ("batch forgotten", batch_forgotten, {"one_text"}),
        ("bytes", bytes_returned, {"in_bytes"}),
        ("whole bytes: 4 bits are 0", bits_divided_down, {"whole_bytes"}),
    ],
    "03.four_numbers": [
        ("experts that nobody chose", missed_experts, {"untouched"}),
        ("active for 8x7B", active_for_8x7b, {"active_for_total"}),
        ("all experts multiply", all_experts_multiply, {"all_experts_compute"}),
    ],
}
