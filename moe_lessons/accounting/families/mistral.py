"""Llama and Mistral, dense, and Mixtral: the same block with eight feed-forward networks and a router."""

from moe_lessons.accounting import blocks
from moe_lessons.accounting.fields import Fields
from moe_lessons.accounting.shapes import Dense, Layer, Model, gated


def llama(fields: Fields) -> Model:
    """Llama: grouped-query attention and a SwiGLU network (arXiv:2307.09288)."""
    d_model = fields.integer("hidden_size")
    n_heads, n_kv_heads, d_head = blocks.head_counts(fields, kv_default=True)
    bias = fields.flag("attention_bias", False)
    attention = blocks.grouped_query(d_model, n_heads, n_kv_heads, d_head, qkv_bias=bias, output_bias=bias)
    ffn = Dense(gated(d_model, fields.integer("intermediate_size"), fields.flag("mlp_bias", False)))
    layer = Layer(d_model, attention, ffn, norms=2 * d_model)
    return blocks.decoder(fields, [layer] * blocks.layer_count(fields))


def mistral(fields: Fields) -> Model:
    """Mistral 7B: Llama's block with sliding windows (arXiv:2310.06825)."""
    d_model = fields.integer("hidden_size")
    attention = blocks.grouped_query(
        d_model, *blocks.head_counts(fields), window=fields.optional("sliding_window", absent=4096)
    )
    layer = Layer(d_model, attention, Dense(gated(d_model, fields.integer("intermediate_size"))), 2 * d_model)
    return blocks.decoder(fields, [layer] * blocks.layer_count(fields))


def mixtral(fields: Fields) -> Model:
    """Mixtral: experts in every layer (arXiv:2401.04088, section 2).

    total = 2 V D + L [2 D d_h (h + h_kv) + E 3 D F + E D + 2 D] + D
    """
    d_model = fields.integer("hidden_size")
    attention = blocks.grouped_query(
        d_model, *blocks.head_counts(fields), window=fields.optional("sliding_window")
    )
    return blocks.uniform(fields, attention, blocks.gated_experts(fields, "num_local_experts"))
