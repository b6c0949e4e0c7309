"""Answers to lesson 03 as learners write them: wrong ones by misconception, and right ones."""

import numpy as np
import torch
from planted import counting_costs as costs
from planted import counting_more as more


def block_named(d_model, d_expert, n_experts, d_shared):
    gate = up = down = d_model * d_expert
    expert = gate + up + down
    router = n_experts * d_model
    shared = 3 * d_model * d_shared if d_shared else 0
    return n_experts * expert + router + shared


def block_of_shapes(d_model, d_expert, n_experts, d_shared):
    shapes = [(n_experts, d_model)]
    for _ in range(n_experts):
        shapes += [(d_expert, d_model), (d_expert, d_model), (d_model, d_expert)]
    shapes += [(d_shared, d_model), (d_shared, d_model), (d_model, d_shared)]
    return int(sum(np.prod(shape, dtype=np.int64) for shape in shapes))


def block_on_meta(d_model, d_expert, n_experts, d_shared):
    def swiglu(width):
        return [torch.empty(width, d_model, device="meta") for _ in range(3)]

    tensors = [t for _ in range(n_experts) for t in swiglu(d_expert)] + swiglu(d_shared)
    return sum(t.numel() for t in tensors) + n_experts * d_model


def block_up_down(d_model, d_expert, n_experts, d_shared):
    return (
        n_experts * (d_model * d_expert + d_expert * d_model) + n_experts * d_model + 2 * d_model * d_shared
    )


def block_no_router(d_model, d_expert, n_experts, d_shared):
    return 3 * d_model * (n_experts * d_expert + d_shared)


def block_no_shared(d_model, d_expert, n_experts, d_shared):
    return n_experts * (3 * d_model * d_expert + d_model)


def block_of_experts(d_model, d_expert, n_experts, d_shared):
    return sum(3 * d_model * d_expert for _ in range(n_experts))


def block_all_share(d_model, d_expert, n_experts, d_shared):
    per_expert = 3 * d_model * d_expert + 3 * d_model * d_shared
    return n_experts * per_expert + n_experts * d_model


def block_single(d_model, d_expert, n_experts, d_shared):
    return 3 * d_model * d_expert + 3 * d_model * d_shared + n_experts * d_model


def block_routers(d_model, d_expert, n_experts, d_shared):
    expert = 3 * d_model * d_expert + d_model * n_experts
    return n_experts * expert + 3 * d_model * d_shared


def block_wide_router(d_model, d_expert, n_experts, d_shared):
    return n_experts * 3 * d_model * d_expert + d_expert * n_experts + 3 * d_model * d_shared


def block_biases(d_model, d_expert, n_experts, d_shared):
    def swiglu(width):
        return 2 * (d_model * width + width) + width * d_model + d_model if width else 0

    return n_experts * swiglu(d_expert) + swiglu(d_shared) + n_experts * d_model


def block_routed_shared(d_model, d_expert, n_experts, d_shared):
    rows = n_experts + (1 if d_shared > 0 else 0)
    return 3 * d_model * (n_experts * d_expert + d_shared) + rows * d_model


# mixtral


def whole_by_difference(
    vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
):
    expert = 3 * d_model * d_expert
    attention = 2 * d_model * d_head * (n_heads + n_kv_heads)
    layer = attention + n_experts * (expert + d_model) + 2 * d_model
    total = (2 * vocab_size + 1) * d_model + n_layers * layer
    return total, total - n_layers * (n_experts - top_k) * expert


def whole_by_parts(v, d, n_layers, h, h_kv, d_h, f, e, k):
    q = o = d * h * d_h
    keys = values = d * h_kv * d_h
    both = []
    for used in (e, k):
        count = v * d + d * v + d
        for _ in range(n_layers):
            count += q + keys + values + o
            count += e * d
            count += used * (d * f + d * f + f * d)
            count += d + d
        both.append(count)
    return np.array(both[0]), np.array(both[1])


def eight_mistrals(v, d, n_layers, h, h_kv, d_h, f, e, k):
    attention = 2 * d * h * d_h + 2 * d * h_kv * d_h
    mistral = 2 * v * d + n_layers * (attention + 3 * d * f + 2 * d) + d
    return e * mistral, k * mistral


def changed(router=True, norms=2, last=1, tables=2, matrices=3, heads=None, width=None, layers=None):
    """An answer with some of its lines changed."""

    def answer(v, d, n_layers, h, h_kv, d_h, f, e, k):
        h_kv = h if heads == "all" else h_kv
        d_h = d // h if width == "D/h" else d_h
        n_layers = layers or n_layers
        attention = 2 * d * d_h * h + 2 * d * d_h * h_kv
        fixed = tables * v * d + n_layers * (attention + norms * d) + last * d
        if router:
            fixed += n_layers * e * d
        expert = matrices * d * f
        return fixed + n_layers * e * expert, fixed + n_layers * k * expert

    return answer


def everything_active(*sizes):
    total, _ = whole_by_parts(*sizes)
    return int(total), int(total)


def chosen_rows(v, d, n_layers, h, h_kv, d_h, f, e, k):
    fixed = 2 * v * d + d + n_layers * (2 * d * d_h * (h + h_kv) + 2 * d)
    per_expert = 3 * d * f + d
    return fixed + n_layers * e * per_expert, fixed + n_layers * k * per_expert


def three_projections(v, d, n_layers, h, h_kv, d_h, f, e, k):
    qkv = d * (h + 2 * h_kv) * d_h
    both = [2 * v * d + d + n_layers * (qkv + 2 * d + e * d + 3 * d * f * n) for n in (e, k)]
    return both[0], both[1]


def only_the_layers(v, d, *rest):
    total, active = whole_by_difference(v, d, *rest)
    return total, active - v * d - d * v


def like_gpt_oss(v, d, *rest):
    total, active = whole_by_difference(v, d, *rest)
    return total, active - v * d


RIGHT = {
    "03.swiglu_moe_params": [block_named, block_of_shapes, block_on_meta],
    "03.mixtral": [whole_by_difference, whole_by_parts, more.model_in_floats],
    **costs.RIGHT,
    "03.flops_per_token": [*costs.RIGHT["03.flops_per_token"], more.flops_in_floats],
}

WRONG = {
    "03.swiglu_moe_params": {
        "two_matrices": block_up_down,
        "router_forgotten": block_no_router,
        "shared_forgotten": block_no_shared,
        "experts_only": block_of_experts,
        "shared_per_expert": block_all_share,
        "one_expert": block_single,
        "router_per_expert": block_routers,
        "router_reads_expert_width": block_wide_router,
        "biases": block_biases,
        "shared_is_routed": block_routed_shared,
        **more.BLOCK,
    },
    "03.mixtral": {
        "whole_models": eight_mistrals,
        "two_matrices": changed(matrices=2),
        "all_active": everything_active,
        "embedding_once": changed(tables=1),
        "kv_heads_like_query_heads": changed(heads="all"),
        "heads_fill_the_model": changed(width="D/h"),
        "no_output_projection": three_projections,
        "router_forgotten": changed(router=False),
        "router_of_the_chosen": chosen_rows,
        "norms_forgotten": changed(norms=0, last=0),
        "one_norm_per_layer": changed(norms=1),
        "final_norm_forgotten": changed(last=0),
        "without_input_embedding": like_gpt_oss,
        "without_both_tables": only_the_layers,
        "one_layer": changed(layers=1),
        **more.MIXTRAL,
    },
    "03.flops_per_token": costs.WRONG["03.flops_per_token"] | more.FLOPS,
    "03.memory": costs.WRONG["03.memory"] | more.MEMORY,
    "03.four_numbers": costs.WRONG["03.four_numbers"] | more.FOUR,
}
