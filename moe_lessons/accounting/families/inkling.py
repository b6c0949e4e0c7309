"""Inkling 1 and 2: short convolutions, positions from the distance alone, residuals chosen by attention."""

import dataclasses

from moe_lessons.accounting import blocks
from moe_lessons.accounting.families import parts
from moe_lessons.accounting.families.deepseek import BUFFER
from moe_lessons.accounting.fields import MAX_LAYERS, Fields
from moe_lessons.accounting.shapes import Attention, Dense, Layer, Matrix, Model, gated

FULL, SLIDING = "hybrid", "hybrid_sliding"


def _attention(fields: Fields, kind: str, kernel: int, *, second: bool) -> Attention:
    """Attention whose keys and values pass a convolution, with logits from a projection of the distance."""
    d_model = fields.integer("hidden_size")
    prefix = "swa_" if kind == SLIDING else ""
    n_heads = fields.integer(f"{prefix}num_attention_heads")
    n_kv_heads, d_head = (
        fields.integer(f"{prefix}num_key_value_heads"),
        fields.integer(f"{prefix}head_dim", default=128),
    )
    blocks.check_groups(fields, n_heads, n_kv_heads)
    window = fields.integer("sliding_window_size", default=512)
    d_rel, extent = fields.integer("d_rel", default=16), fields.integer("rel_extent", default=1024)
    keys = n_kv_heads * d_head
    limit = window if kind == SLIDING else None
    attention = parts.gqa(d_model, (n_heads, n_kv_heads, d_head), window=limit)
    distance = Matrix(d_model, n_heads * d_rel)
    vectors = d_rel * (window if kind == SLIDING else extent) + 2 * keys * kernel
    matrices = (*attention.matrices, distance)
    if second:
        matrices = (*matrices, Matrix(d_model, n_heads * d_head), Matrix(d_model, n_heads))
        vectors += n_heads * (d_head + d_rel)
        if kind == FULL:  # the convolution's weights depend on the token
            matrices = (*matrices, Matrix(d_model, n_kv_heads * kernel, copies=2))
    else:
        vectors += 2 * d_head
    return dataclasses.replace(
        attention,
        matrices=matrices,
        vectors=vectors,
        state_elements=2 * keys * (kernel - 1),
        fixed_multiply_adds=2 * keys * kernel,
        saved_elements=attention.saved_elements + 2 * keys + 2 * n_heads * d_rel,
    )


def inkling_text(fields: Fields) -> Model:
    """Inkling: the router scores routed and shared experts together, each block has a scale of its own."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    local = fields.integers("local_layer_ids", high=MAX_LAYERS)
    kinds = parts.layer_kinds(
        fields,
        n_layers,
        lambda i: SLIDING if (i in local if local is not None else (i + 1) % 6) else FULL,
        (FULL, SLIDING),
    )
    kernel = fields.integer("conv_kernel_size", default=4)
    attentions = {kind: _attention(fields, kind, kernel, second=False) for kind in set(kinds)}
    n_dense = fields.integer("dense_mlp_idx", default=0, low=0) if not fields.has("mlp_layer_types") else 0
    kinds_of_mlp = parts.layer_kinds(
        fields,
        n_layers,
        lambda i: "dense" if i < n_dense else "sparse",
        ("dense", "sparse"),
        "mlp_layer_types",
    )
    old = fields.has("dense_intermediate_size")
    d_expert = fields.integer("intermediate_size" if old else "moe_intermediate_size")
    d_dense = fields.integer("dense_intermediate_size" if old else "intermediate_size")
    fields.ignore("moe_intermediate_size", "intermediate_size")
    n_experts, top_k = blocks.experts_of(fields, "n_routed_experts", "num_experts_per_tok")
    n_shared = fields.integer("n_shared_experts", default=2, low=0)
    moe = blocks.experts(
        d_model,
        n_experts,
        top_k,
        gated(d_model, d_expert),
        shared=gated(d_model, n_shared * d_expert) if n_shared else (),
    )
    moe = dataclasses.replace(moe, router=Matrix(d_model, n_experts + n_shared), router_vectors=1)
    convolutions = 2 * d_model * kernel
    layers = [
        Layer(
            d_model,
            attentions[kind],
            moe if mlp == "sparse" else Dense(gated(d_model, d_dense)),
            norms=2 * d_model,
            other_vectors=convolutions + (mlp == "dense"),
        )
        for kind, mlp in zip(kinds, kinds_of_mlp, strict=True)
    ]
    fields.ignore("swa_num_attention_heads", "swa_num_key_value_heads", "swa_head_dim", "unpadded_vocab_size")
    fields.ignore("num_attention_heads", "num_key_value_heads", "head_dim", "shared_expert_sink")
    note = "convolutions behind attention and experts stand under other"
    return blocks.decoder(fields, layers, final_norms=2 * d_model, notes=(BUFFER, note))


def inkling2_text(fields: Fields) -> Model:
    """Inkling 2: a block reads a mixture of earlier ones, full layers apart for queries, keys and values."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    kinds = parts.layer_kinds(fields, n_layers, parts.every(6, FULL, SLIDING), (FULL, SLIDING))
    kernel = fields.integer("conv_kernel_size", default=4)
    attentions = {kind: _attention(fields, kind, kernel, second=True) for kind in set(kinds)}
    moe = parts.routed(fields)
    layers = []
    for i, kind in enumerate(kinds):
        full = kind == FULL
        queries = (1 + (3 if full else 1) * (i > 0)) * d_model
        layers.append(
            Layer(
                d_model,
                attentions[kind],
                moe,
                norms=(4 if full else 2) * d_model,
                other_vectors=queries + 2 * d_model * kernel,
            )
        )
    fields.ignore("swa_num_attention_heads", "swa_num_key_value_heads", "swa_head_dim")
    fields.ignore("num_attention_heads", "num_key_value_heads", "head_dim", "n_layers_per_attn_res_block")
    note = "convolutions, and the queries that choose among earlier blocks, stand under other"
    model = blocks.decoder(fields, layers, final_norms=2 * d_model, notes=(BUFFER, note))
    # The padding of the table has no logits.
    rows = fields.integer("unpadded_vocab_size", default=model.vocab_size)
    return dataclasses.replace(model, other_vectors=d_model, n_classes=rows)
