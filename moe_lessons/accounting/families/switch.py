"""Switch Transformer: T5 with experts of two matrices in every other layer of both halves."""

import dataclasses

from moe_lessons.accounting import blocks
from moe_lessons.accounting.fields import MAX_LAYERS, Fields
from moe_lessons.accounting.shapes import (
    Attention,
    Cache,
    Dense,
    Layer,
    Matrix,
    Model,
    MoE,
    Read,
    grouped,
    plain,
)


def t5_attention(d_model: int, n_heads: int, d_head: int, causal: bool) -> Attention:
    """Self-attention with as many keys as queries; only a decoder keeps a cache."""
    attention = blocks.grouped_query(d_model, n_heads, n_heads, d_head)
    reads = (Read(2 * n_heads * d_head, causal=causal),)
    return dataclasses.replace(attention, reads=reads, cache=attention.cache if causal else ())


def with_cross_attention(own: Attention, d_model: int, n_heads: int, d_head: int) -> Attention:
    """A decoder's self-attention and its attention to the encoder's output, of the same length.

    Keys and values of the encoder's output are computed once per position of it, and cached.
    """
    inner = n_heads * d_head
    outer = (Matrix(d_model, inner), Matrix(inner, d_model))
    return dataclasses.replace(
        own,
        matrices=own.matrices + outer + (Matrix(d_model, inner, copies=2),),
        decode_matrices=own.matrices + outer,
        reads=(*own.reads, Read(2 * inner, causal=False)),
        cache=(*own.cache, Cache(2 * inner)),
        saved_elements=2 * own.saved_elements + d_model,
    )


def shared_table(fields: Fields) -> bool:
    """Both halves and the head use one table; untied, publishers differ in how many there are."""
    tied = fields.flag("tie_word_embeddings", True)
    fields.must_be("tie_word_embeddings", True)
    return tied


def switch_transformers(fields: Fields) -> Model:
    """Switch-Base and Switch-C (arXiv:2101.03961, section 2.1 and table 9).

    The first layer of each half holds the table of relative positions, `buckets` x h.
    """
    d_model, n_heads, d_head = fields.integer("d_model"), fields.integer("num_heads"), fields.integer("d_kv")
    n_encoder = blocks.layer_count(fields, "num_layers")
    n_decoder = fields.integer("num_decoder_layers", default=n_encoder, high=MAX_LAYERS)
    table = fields.integer("relative_attention_num_buckets", default=32) * n_heads
    d_hidden = fields.integer("d_ff")
    n_experts = fields.integer("num_experts")
    dense = Dense(plain(d_model, d_hidden))
    moe = blocks.experts(
        d_model, n_experts, 1, plain(d_model, d_hidden), router_bias=fields.flag("router_bias", False)
    )
    layers = []
    fields.ignore("encoder_sparse_step", "decoder_sparse_step", "expert_capacity")
    for half, n_layers in (("encoder", n_encoder), ("decoder", n_decoder)):
        is_encoder = half == "encoder"
        name = f"num_sparse_{half}_layers"
        attention = t5_attention(d_model, n_heads, d_head, causal=not is_encoder)
        if not is_encoder:
            attention = with_cross_attention(attention, d_model, n_heads, d_head)
        n_sparse = fields.integer(name, low=0, high=n_layers)
        # With 0 transformers still builds one, in the second layer; a checkpoint of that config has it too.
        step = n_layers // n_sparse if n_sparse else n_layers
        for i in range(n_layers):
            ffn: Dense | MoE = moe if i % step == 1 or step == 1 else dense
            first = dataclasses.replace(attention, vectors=table) if i == 0 else attention
            layers.append(
                Layer(d_model, first, ffn, norms=(2 if is_encoder else 3) * d_model, encoder=is_encoder)
            )
    return Model(
        name="",
        family="",
        vocab_size=fields.integer("vocab_size"),
        d_model=d_model,
        layers=grouped(layers),
        tied=shared_table(fields),
        final_norms=2 * d_model,
        notes=("encoder and decoder: one token passes both, over as many positions each",),
    )
