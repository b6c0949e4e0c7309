"""Families whose routers or experts are built unlike all others: Doge, JetMoE, Zaya, NLLB, Qwen4-Exp."""

import dataclasses
import math

from moe_lessons.accounting import blocks
from moe_lessons.accounting.families import parts, recent
from moe_lessons.accounting.families.parts import INDEXED, LINEAR, every, gqa
from moe_lessons.accounting.families.qwen import gated_shared_expert, routed
from moe_lessons.accounting.families.switch import shared_table, with_cross_attention
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
    gated,
    grouped,
    plain,
)


def doge(fields: Fields) -> Model:
    """Doge: beside a dense network, thousands of experts of two vectors, found by two halves of a key."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    n_heads, n_kv_heads, d_head = blocks.head_counts(fields, kv_default=True)
    bias = fields.flag("attention_bias", False)
    attention = gqa(d_model, (n_heads, n_kv_heads, d_head), bias=bias, norms=True, extra=n_kv_heads)
    mask = Matrix(n_kv_heads * d_head, n_kv_heads, bias)
    attention = dataclasses.replace(attention, matrices=(*attention.matrices, mask))
    fields.ignore("keep_window_size", "sliding_window")
    dense = gated(d_model, fields.integer("intermediate_size"), fields.flag("mlp_bias", False))
    ffn: Dense | MoE = Dense(dense)
    if fields.flag("is_moe", False):
        n_experts, top_k = blocks.experts_of(fields, "num_experts", "num_experts_per_tok")
        keys = Matrix(d_model, 2 * math.isqrt(n_experts))
        ffn = MoE(n_experts, top_k, keys, (Matrix(d_model, 1), Matrix(1, d_model)), shared=dense)
    else:
        fields.ignore("num_experts", "num_experts_per_tok")
    layer = Layer(d_model, attention, ffn, norms=4 * d_model)  # two norms, and two scales of the residual
    return blocks.decoder(fields, [layer] * n_layers)


def jetmoe(fields: Fields) -> Model:
    """JetMoE: attention's queries and outputs are experts too, chosen by a router of their own.

    References: arXiv:2404.07413, section 2.
    """
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    n_kv_heads, d_head = fields.integer("num_key_value_heads"), fields.integer("kv_channels", default=128)
    n_experts, top_k = blocks.experts_of(fields, "num_local_experts", "num_experts_per_tok")
    fields.ignore("num_attention_heads")
    keys = n_kv_heads * d_head
    attention = Attention(
        matrices=(Matrix(d_model, keys, copies=2),),
        reads=(Read(2 * top_k * keys),),
        cache=(Cache(2 * keys),),
        saved_elements=d_model + 2 * keys + 2 * top_k * keys,
    )
    # Each mixture adds one vector to its output, which no expert owns.
    of_attention = blocks.experts(d_model, n_experts, top_k, plain(d_model, keys))
    of_network = blocks.experts(
        d_model, n_experts, top_k, gated(d_model, fields.integer("intermediate_size"))
    )
    first, second = (dataclasses.replace(moe, router_vectors=d_model) for moe in (of_attention, of_network))
    layers = [
        Layer(d_model, attention, None, norms=2 * d_model),
        Layer(d_model, None, first, norms=0),
        Layer(d_model, None, second, norms=0),
    ] * n_layers
    note = "attention's experts count as a mixture of their own; the bias of each mixture stands under router"
    return blocks.decoder(fields, layers, tied_default=True, notes=(note,))


def zaya(fields: Fields) -> Model:
    """Zaya: a router of three layers with a choice to skip, convolutions over queries and keys.

    Scales and shifts of both residual streams stand under norms.
    """
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    n_heads, n_kv_heads, d_head = blocks.head_counts(fields, width="assumed")
    bias = fields.flag("attention_bias", False)
    fields.ignore("layer_types", "sliding_window")
    window = (
        fields.optional("sliding_window")
        if "hybrid_sliding" in str(fields.values.get("layer_types"))
        else None
    )
    queries, keys = n_heads * d_head, n_kv_heads * d_head
    first, second = fields.integer("cca_time0", default=2), fields.integer("cca_time1", default=2)
    mixed = queries + keys
    convolutions = mixed * (first + 1) + mixed * (d_head * second + 1)
    attention = Attention(
        matrices=(
            Matrix(d_model, queries, bias),
            Matrix(d_model, keys, bias),
            Matrix(d_model, keys // 2, bias, copies=2),
            Matrix(queries, d_model, bias),
        ),
        vectors=convolutions + n_kv_heads,
        reads=(Read(2 * queries, window),),
        cache=(Cache(2 * keys, window),),
        saved_elements=d_model + 4 * queries + 4 * keys,
        state_elements=mixed * (first + second - 2) + keys // 2,
        fixed_multiply_adds=mixed * (first + d_head * second),
    )
    inner = fields.integer("router_hidden_size", default=256)
    n_experts, top_k = blocks.experts_of(fields, "num_experts", "num_experts_per_tok")
    expert = gated(d_model, fields.integer("moe_intermediate_size"))
    router = (Matrix(d_model, inner, True), Matrix(inner, inner, True, copies=2))
    moe = MoE(
        n_experts,
        top_k,
        Matrix(inner, n_experts + 1),
        expert,
        n_zero=1,
        router_inner=router,
        router_vectors=inner,
    )
    later = dataclasses.replace(moe, router_vectors=2 * inner)
    layers = [Layer(d_model, attention, later if i else moe, norms=10 * d_model) for i in range(n_layers)]
    return blocks.decoder(
        fields,
        layers,
        tied_default=True,
        head_bias=fields.flag("lm_head_bias", False),
        final_norms=3 * d_model,
        notes=("one more choice of the router skips the experts: K counts it",),
    )


def nllb_moe(fields: Fields) -> Model:
    """NLLB-MoE: an encoder and a decoder with biases everywhere, experts in every fourth layer of each.

    References: arXiv:2207.04672, section 6.
    """
    d_model, n_experts = fields.integer("d_model"), fields.integer("num_experts")
    router_bias = fields.flag("router_bias", False)
    layers = []
    for half in ("encoder", "decoder"):
        n_layers = blocks.layer_count(fields, f"{half}_layers")
        n_heads = fields.integer(f"{half}_attention_heads")
        fields.require(f"{half}_attention_heads", d_model % n_heads == 0, f"choose a divisor of {d_model}")
        step = fields.integer(f"{half}_sparse_step", default=4, low=0, high=MAX_LAYERS)
        network = plain(d_model, fields.integer(f"{half}_ffn_dim"), bias=True)
        moe = blocks.experts(d_model, n_experts, min(2, n_experts), network, router_bias=router_bias)
        attention = _with_biases(d_model, n_heads, half == "decoder")
        for i in range(n_layers):
            sparse = step > 0 and (i + 1) % step == 0
            norms = (4 if half == "encoder" else 6) * d_model
            layers.append(
                Layer(d_model, attention, moe if sparse else Dense(network), norms, encoder=half == "encoder")
            )
    fields.ignore("num_hidden_layers", "num_attention_heads", "expert_capacity")
    return Model(
        name="",
        family="",
        vocab_size=fields.integer("vocab_size"),
        d_model=d_model,
        layers=grouped(layers),
        tied=shared_table(fields),
        final_norms=4 * d_model,
        notes=("encoder and decoder: one token passes both, over as many positions each",),
    )


def _with_biases(d_model: int, n_heads: int, decoder: bool) -> Attention:
    own = blocks.grouped_query(d_model, n_heads, n_heads, d_model // n_heads, qkv_bias=True, output_bias=True)
    reads = (Read(2 * d_model, causal=decoder),)
    own = dataclasses.replace(own, reads=reads, cache=own.cache if decoder else ())
    if not decoder:
        return own
    return dataclasses.replace(
        with_cross_attention(own, d_model, n_heads, d_model // n_heads), vectors=own.vectors + 4 * d_model
    )


def qwen4_exp_text(fields: Fields) -> Model:
    """Qwen4-Exp: Qwen3.5 with an indexer, four streams of residuals, and tables of two and three tokens."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    period = fields.integer("full_attention_interval", default=4)
    kinds = parts.layer_kinds(fields, n_layers, every(period, INDEXED, LINEAR), (LINEAR, INDEXED, parts.FULL))
    of_kind = {}
    if LINEAR in kinds:
        of_kind[LINEAR] = recent.delta_net(fields)
    if set(kinds) - {LINEAR}:
        of_kind[INDEXED] = of_kind[parts.FULL] = _pooled(fields)
    for name in ("key_head_dim", "value_head_dim", "num_key_heads", "num_value_heads", "conv_kernel_dim"):
        fields.ignore(f"linear_{name}")
    fields.ignore("num_attention_heads", "num_key_value_heads", "head_dim", "output_gate_type")
    moe = routed(fields, gated_shared_expert(fields))
    streams, rank = fields.integer("hc_count", default=4), fields.integer("hc_lowrank", default=320)
    wide = streams * d_model
    mixing = (Matrix(wide, rank, copies=2), Matrix(rank, wide, copies=2), Matrix(wide, streams, copies=2))
    chosen = fields.integers("ple_layer_ids", low=1) or ()
    layers = []
    for i, kind in enumerate(kinds):
        other: tuple[Matrix, ...] = mixing
        vectors = 2 * wide
        if i + 1 in chosen:
            more, table = _ngrams(fields, sorted(set(chosen)).index(i + 1), wide)
            other, vectors = other + more, vectors + table
        layers.append(Layer(d_model, of_kind[kind], moe, norms=0, other=other, other_vectors=vectors))
    fields.ignore(
        "ngram_size", "heads_per_ngram", "ngram_vocab_size_base", "make_ngram_vocab_size_divisible_by"
    )
    fields.ignore("split_ngram_parts", "ple_embed_dim", "ple_conv_kernel_size")
    notes = (recent.HYBRID, "the mixing of residual streams and tables of several tokens stand under other")
    model = blocks.decoder(fields, layers, final_norms=0, notes=notes)
    last = (Matrix(wide, rank), Matrix(rank, wide))
    return dataclasses.replace(model, other=last, other_vectors=wide)


def _pooled(fields: Fields) -> Attention:
    d_model = fields.integer("hidden_size")
    attention = recent.gated_attention(fields)
    n_heads, n_keys = fields.integer("indexer_n_heads"), fields.integer("indexer_kv_heads")
    d_index, budget = fields.integer("indexer_head_dim"), fields.integer("indexer_budget")
    stride = fields.integer("indexer_compress_ratio")
    limited = recent.sparse(attention, budget)
    return dataclasses.replace(
        limited,
        matrices=(*attention.matrices, Matrix(d_model, (n_heads + n_keys) * d_index)),
        vectors=attention.vectors + 2 * d_index,
        reads=(*limited.reads, Read(n_heads * d_index, stride=stride)),
        decode_reads=None,
        cache=(*attention.cache, Cache(n_keys * d_index)),
    )


def _ngrams(fields: Fields, index: int, wide: int) -> tuple[tuple[Matrix, ...], int]:
    """Projections, and parameters of norms, convolution and tables, of one layer that looks up n-grams.

    Each head's table has a prime number of rows, the next ones after `ngram_vocab_size_base` in turn.
    """
    d_model = fields.integer("hidden_size")
    width = fields.integer("ple_embed_dim", default=d_model)
    size = fields.integer("ngram_size", default=3, low=2)
    heads = (size - 1) * fields.integer("heads_per_ngram", default=8)
    primes = _primes_from(fields.integer("ngram_vocab_size_base", default=20_000_000), (index + 1) * heads)
    rows = sum(primes[index * heads :])
    divisor = fields.integer("make_ngram_vocab_size_divisible_by", default=128)
    rows += -rows % divisor
    kernel = fields.integer("ple_conv_kernel_size", default=4)
    return (Matrix(width, wide), Matrix(width, d_model)), rows * (width // heads) + (3 + kernel) * wide


def _primes_from(start: int, n: int) -> list[int]:
    """The first n primes that are not below `start`.

    Examples
    --------
    >>> _primes_from(10, 3)
    [11, 13, 17]
    """
    found: list[int] = []
    number = max(start, 2)
    while len(found) < n:
        if all(number % divisor for divisor in range(2, math.isqrt(number) + 1)):
            found.append(number)
        number += 1
    return found
