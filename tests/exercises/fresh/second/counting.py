"""The second set, written from the learner's notebooks alone: lesson 03."""


# 03.swiglu_moe_params


def block_two_matrices(d_model, d_expert, n_experts, d_shared):
    experts = n_experts * 2 * d_model * d_expert
    router = d_model * n_experts
    shared = 2 * d_model * d_shared
    return experts + router + shared


def block_no_router(d_model, d_expert, n_experts, d_shared):
    return 3 * d_model * (n_experts * d_expert + d_shared)


def block_shared_of_expert_width(d_model, d_expert, n_experts, d_shared):
    total = 3 * d_model * d_expert * n_experts + d_model * n_experts
    if d_shared:
        total += 3 * d_model * d_expert
    return total


def block_shared_routed(d_model, d_expert, n_experts, d_shared):
    n = n_experts + (1 if d_shared > 0 else 0)
    return n_experts * 3 * d_model * d_expert + 3 * d_model * d_shared + d_model * n


def block_shared_each(d_model, d_expert, n_experts, d_shared):
    one = 3 * d_model * d_expert + 3 * d_model * d_shared
    return n_experts * one + n_experts * d_model


def block_router_of_width_f(d_model, d_expert, n_experts, d_shared):
    swiglu = d_model * d_expert * 3
    return n_experts * swiglu + n_experts * d_expert + d_model * d_shared * 3


# 03.mixtral


def mix_one_table(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    attn = 2 * d_model * n_heads * d_head + 2 * d_model * n_kv_heads * d_head
    rest = attn + d_model * n_experts + 2 * d_model
    expert = 3 * d_model * d_expert
    outside = vocab_size * d_model + d_model
    total = outside + n_layers * (rest + n_experts * expert)
    active = outside + n_layers * (rest + top_k * expert)
    return total, active


def mix_all_heads(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    attn = 4 * d_model * n_heads * d_head

    def layer(n):
        return attn + n_experts * d_model + n * 3 * d_model * d_expert + 2 * d_model

    extra = 2 * vocab_size * d_model + d_model
    return extra + n_layers * layer(n_experts), extra + n_layers * layer(top_k)


def mix_square_attention(
    vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
):
    kv = d_model * n_kv_heads * d_head
    attn = 2 * d_model * d_model + 2 * kv
    fixed = 2 * vocab_size * d_model + d_model + n_layers * (attn + 2 * d_model + d_model * n_experts)
    per_expert = n_layers * 3 * d_model * d_expert
    return fixed + n_experts * per_expert, fixed + top_k * per_expert


def mix_router_of_k(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    def count(n):
        attention = d_model * d_head * (2 * n_heads + 2 * n_kv_heads)
        moe = n * 3 * d_model * d_expert + n * d_model
        return 2 * vocab_size * d_model + n_layers * (attention + moe + 2 * d_model) + d_model

    return count(n_experts), count(top_k)


def mix_norm_once(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    tables = 2 * vocab_size * d_model
    attention = d_model * d_head * (2 * n_heads + 2 * n_kv_heads)
    layer = attention + d_model * n_experts
    e = 3 * d_model * d_expert
    norms = 3 * d_model
    return (
        tables + n_layers * (layer + n_experts * e) + norms,
        tables + n_layers * (layer + top_k * e) + norms,
    )


def mix_embedding_not_active(
    vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
):
    table = vocab_size * d_model
    attention = d_model * d_head * (2 * n_heads + 2 * n_kv_heads)
    layer = attention + d_model * n_experts + 2 * d_model
    e = 3 * d_model * d_expert
    total = 2 * table + d_model + n_layers * (layer + n_experts * e)
    active = table + d_model + n_layers * (layer + top_k * e)
    return total, active


# 03.flops_per_token


def flops_of_total(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    attention = 4 * n_layers * n_heads * d_head * n_positions
    forward = 2 * (total - embedding) + attention
    return forward, 3 * forward


def flops_with_lookup(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    forward = 2 * active + n_layers * n_heads * n_positions * d_head * 2 * 2
    return forward, forward + 2 * forward


def flops_keys_only(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    inference = 2 * (active - embedding) + 2 * n_layers * n_heads * n_positions * d_head
    training = 3 * inference
    return inference, training


def flops_macs(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    inference = active - embedding + 2 * n_layers * n_heads * n_positions * d_head
    return inference, 3 * inference


def flops_six_n(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    n = active - embedding
    attention = 4 * n_layers * n_heads * d_head * n_positions
    return 2 * n + attention, 6 * n + attention


def flops_backward_alone(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    inference = 2 * (active - embedding)
    for _ in range(n_layers):
        inference += n_heads * (2 * n_positions * d_head + 2 * n_positions * d_head)
    return inference, 2 * inference


FRESH = {
    "03.swiglu_moe_params": [
        ("two matrices", block_two_matrices, {"two_matrices"}),
        ("no router", block_no_router, {"router_forgotten"}),
        ("shared of an expert's width", block_shared_of_expert_width, {"shared_like_routed"}),
        ("shared routed", block_shared_routed, {"shared_is_routed"}),
        ("a shared expert for each", block_shared_each, {"shared_per_expert"}),
        ("a router that reads F", block_router_of_width_f, {"router_reads_expert_width"}),
    ],
    "03.mixtral": [
        ("one table", mix_one_table, {"embedding_once"}),
        ("keys for all heads", mix_all_heads, {"kv_heads_like_query_heads"}),
        ("d_model for heads times d_head", mix_square_attention, {"square_projections"}),
        ("router of K experts", mix_router_of_k, {"router_of_the_chosen"}),
        ("three norms in all", mix_norm_once, {"norms_once"}),
        ("embedding not active", mix_embedding_not_active, {"without_input_embedding"}),
    ],
    "03.flops_per_token": [
        ("total", flops_of_total, {"all_experts"}),
        ("look-up counted", flops_with_lookup, {"embedding_multiplied"}),
        ("keys only", flops_keys_only, {"keys_only"}),
        ("multiply-adds", flops_macs, {"multiply_adds"}),
        ("attention not tripled", flops_six_n, {"attention_only_forward"}),
        ("backward alone", flops_backward_alone, {"backward_like_forward"}),
    ],
}
