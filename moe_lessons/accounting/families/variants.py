"""Families whose configs follow the fields of an earlier one: Granite-MoE, FlexOlmo, dots.llm1."""

from moe_lessons.accounting import blocks
from moe_lessons.accounting.families.deepseek import BUFFER, dense_first
from moe_lessons.accounting.fields import MAX_LAYERS, Fields
from moe_lessons.accounting.shapes import Model


def granitemoe(fields: Fields) -> Model:
    """Granite 3 MoE: Mixtral's block, with biases in attention if the config says so."""
    d_model = fields.integer("hidden_size")
    bias = fields.flag("attention_bias", False)
    heads = blocks.head_counts(fields, kv_default=True)
    attention = blocks.grouped_query(d_model, *heads, qkv_bias=bias, output_bias=bias)
    return blocks.uniform(fields, attention, blocks.gated_experts(fields, "num_local_experts"))


def flex_olmo(fields: Fields) -> Model:
    """FlexOlmo: queries and keys normalised over all heads, norms after attention and experts."""
    d_model = fields.integer("hidden_size")
    n_heads, n_kv_heads, d_head = blocks.head_counts(fields, kv_default=True)
    bias = fields.flag("attention_bias", False)
    attention = blocks.grouped_query(
        d_model,
        n_heads,
        n_kv_heads,
        d_head,
        qkv_bias=bias,
        output_bias=bias,
        vectors=(n_heads + n_kv_heads) * d_head,
    )
    return blocks.uniform(fields, attention, blocks.gated_experts(fields, "num_experts"))


def dots1(fields: Fields) -> Model:
    """dots.llm1: V3's experts on grouped-query attention whose queries and keys are normalised."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    n_heads, n_kv_heads, d_head = blocks.head_counts(fields, kv_default=True, width="assumed")
    bias = fields.flag("attention_bias", False)
    window = fields.optional("sliding_window", absent=4096)
    kinds = fields.words("layer_types", n_layers, ("full_attention", "sliding_attention"))
    if kinds is None:
        first = fields.integer("max_window_layers", default=62, low=0, high=MAX_LAYERS)
        kinds = tuple("sliding_attention" if i >= first else "full_attention" for i in range(n_layers))
    attentions = [
        blocks.grouped_query(
            d_model,
            n_heads,
            n_kv_heads,
            d_head,
            qkv_bias=bias,
            output_bias=bias,
            vectors=2 * d_head,
            window=window if kind == "sliding_attention" else None,
        )
        for kind in kinds
    ]
    return dense_first(fields, attentions, notes=(BUFFER,), n_shared_default=0)
