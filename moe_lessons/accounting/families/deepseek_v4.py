"""DeepSeek-V4: attention to a window and to compressed blocks, and parallel residual streams.

References: the DeepSeek-V4 report, sections 2.2 and 2.3; transformers 5.23.0, models/deepseek_v4.
"""

import dataclasses

from moe_lessons.accounting import blocks
from moe_lessons.accounting.families.deepseek import BUFFER
from moe_lessons.accounting.fields import Fields
from moe_lessons.accounting.shapes import Attention, Cache, Layer, Matrix, Model, Read, gated

WINDOW, SPARSE, HEAVY = "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"
KINDS = {0: WINDOW, 4: SPARSE, 128: HEAVY}  # a layer's compression, as config.json gives it
STREAMS = "the matrices that mix the residual streams stand under other"


def windowed(fields: Fields) -> Attention:
    """Queries of h heads on one head that is key and value at once, within a window.

    The output projection is cut into groups: h d_h / g inputs each, then g ranks together to D.
    """
    d_model, rank = fields.integer("hidden_size"), fields.integer("q_lora_rank")
    n_heads, d_head = fields.integer("num_attention_heads"), fields.integer("head_dim")
    fields.must_be("num_key_value_heads", 1)
    groups, group_rank = fields.integer("o_groups"), fields.integer("o_lora_rank")
    width = n_heads * d_head
    fields.require("o_groups", width % groups == 0, f"choose a divisor of {width}, heads times head_dim")
    window = fields.integer("sliding_window")
    return Attention(
        matrices=(
            Matrix(d_model, rank),
            Matrix(rank, width),
            Matrix(d_model, d_head),
            Matrix(width // groups, groups * group_rank),
            Matrix(groups * group_rank, d_model),
        ),
        vectors=rank + d_head + n_heads,
        reads=(Read(2 * width, window),),
        cache=(Cache(d_head, window),),
        saved_elements=d_model + 2 * rank + 2 * width + 2 * d_head + groups * group_rank,
    )


def heavily_compressed(own: Attention, fields: Fields, rate: int) -> Attention:
    """The same, and one gated sum of every `rate` tokens, all of which are seen."""
    d_model, d_head = fields.integer("hidden_size"), fields.integer("head_dim")
    score = 2 * fields.integer("num_attention_heads") * d_head
    return dataclasses.replace(
        own,
        matrices=(*own.matrices, Matrix(d_model, d_head, copies=2)),
        vectors=own.vectors + (rate + 1) * d_head,
        reads=(*own.reads, Read(score, stride=rate)),
        cache=(*own.cache, Cache(d_head, stride=rate)),
        saved_elements=own.saved_elements + 2 * d_head,
    )


def compressed_sparse(own: Attention, fields: Fields, rate: int) -> Attention:
    """The same, and overlapping gated sums of `rate` tokens, of which an indexer picks `index_topk`."""
    d_model, rank = fields.integer("hidden_size"), fields.integer("q_lora_rank")
    d_head, index_heads = fields.integer("head_dim"), fields.integer("index_n_heads")
    d_index, chosen = fields.integer("index_head_dim"), fields.integer("index_topk")
    score = 2 * fields.integer("num_attention_heads") * d_head
    compressors = tuple(Matrix(d_model, 2 * width, copies=2) for width in (d_head, d_index))
    indexer = (Matrix(rank, index_heads * d_index), Matrix(d_model, index_heads))
    return dataclasses.replace(
        own,
        matrices=own.matrices + compressors + indexer,
        vectors=own.vectors + (2 * rate + 1) * (d_head + d_index),
        reads=(
            *own.reads,
            Read(score, chosen, stride=rate),
            Read(index_heads * (d_index + 1), stride=rate),
        ),
        cache=(*own.cache, Cache(d_head, stride=rate), Cache(d_index, stride=rate)),
        saved_elements=own.saved_elements + 4 * d_head,
    )


def layer_kinds(fields: Fields, n_layers: int) -> tuple[str, ...]:
    """The kind of attention of each layer."""
    named = fields.words("layer_types", n_layers, tuple(KINDS.values()))
    if named is not None:
        return named
    ratios = fields.integers("compress_ratios")
    if ratios is None:
        fields.integer("compress_ratios")
        return ()
    known = len(ratios) >= n_layers and set(ratios) <= set(KINDS)
    fields.require("compress_ratios", known, f"choose 0, 4 or 128 for each of {n_layers} layers")
    return tuple(KINDS[ratio] for ratio in ratios[:n_layers])


def deepseek_v4(fields: Fields) -> Model:
    """DeepSeek-V4-Flash and V4-Pro: experts in every layer, the first few routed by a table of tokens.

    Each layer mixes n residual streams before and after attention and experts: a matrix of n D x n (n + 2).
    """
    d_model, d_expert = fields.integer("hidden_size"), fields.integer("moe_intermediate_size")
    n_layers = blocks.layer_count(fields)
    fields.ignore("mlp_layer_types", "n_group", "topk_group")
    fields.must_be("n_shared_experts", 1)
    fields.must_be("attention_bias", False)
    rates = {SPARSE: 4, HEAVY: 128}
    if fields.has("compress_rates"):
        section = fields.section("compress_rates")
        rates = {kind: section.integer(kind, default=rate) for kind, rate in rates.items()}
    own = windowed(fields)
    of_kind = {
        WINDOW: own,
        SPARSE: compressed_sparse(own, fields, rates[SPARSE]),
        HEAVY: heavily_compressed(own, fields, rates[HEAVY]),
    }
    bias = fields.flag("mlp_bias", False)
    n_experts, top_k = blocks.experts_of(fields, "n_routed_experts", "num_experts_per_tok")
    expert = gated(d_model, d_expert)
    moe = blocks.experts(d_model, n_experts, top_k, expert, shared=gated(d_model, d_expert, bias))
    streams = fields.integer("hc_mult")
    mixed = streams * (streams + 2)
    layers = [
        Layer(
            d_model,
            of_kind[kind],
            moe,
            norms=2 * d_model,
            other=(Matrix(streams * d_model, mixed, copies=2),),
            other_vectors=2 * (mixed + 3),
        )
        for kind in layer_kinds(fields, n_layers)
    ]
    model = blocks.decoder(fields, layers, notes=(BUFFER, STREAMS))
    return dataclasses.replace(model, other=(Matrix(streams * d_model, streams),), other_vectors=streams + 1)
