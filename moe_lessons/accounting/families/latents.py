"""Families on multi-head latent attention of 2026: gates, sinks, indexers, windows, streams of residuals."""

import dataclasses

from moe_lessons.accounting import blocks
from moe_lessons.accounting.families import parts, recent
from moe_lessons.accounting.families.deepseek import BUFFER
from moe_lessons.accounting.families.deepseek_v4 import STREAMS
from moe_lessons.accounting.families.parts import FULL, INDEXED, LINEAR, SLIDING, routed, shared_width, stack
from moe_lessons.accounting.families.states import RECURRENT, delta_attention
from moe_lessons.accounting.fields import Fields
from moe_lessons.accounting.shapes import Attention, Cache, Matrix, Model, MoE, Read


def latent(fields: Fields, sizes: Fields | None = None) -> Attention:
    """Latent attention with the sizes of this config, or of a section that overrides some of them."""
    own = sizes or fields

    def size(name: str) -> int:
        return (own if own.has(name) else fields).integer(name)

    rank = "q_lora_rank"
    fields.ignore("num_key_value_heads", "head_dim", "qk_head_dim")
    return blocks.latent(
        fields.integer("hidden_size"),
        size("num_attention_heads"),
        (own if own.has(rank) else fields).nullable(rank),
        size("kv_lora_rank"),
        size("qk_nope_head_dim"),
        size("qk_rope_head_dim"),
        size("v_head_dim"),
        bias=fields.flag("attention_bias", False),
    )


def _experts(fields: Fields, width: str = "moe_intermediate_size") -> MoE:
    shared = shared_width(fields, "n_shared_experts", fields.integer(width), 1)
    return routed(fields, shared=shared)


def _full_indexers(fields: Fields, n_layers: int) -> list[bool]:
    """Which layers have an indexer of their own; the others use an earlier layer's choice."""
    if fields.has("indexer_types"):
        kinds = parts.layer_kinds(fields, n_layers, lambda i: "", ("full", "shared"), "indexer_types")
        return [kind == "full" for kind in kinds]
    pattern = fields.values.get("index_topk_pattern")
    fields.ignore("index_topk_pattern")
    if pattern is not None:
        known = len(pattern) >= n_layers and all(one in ("F", "S", "full", "shared") for one in pattern)
        fields.require("index_topk_pattern", known, f"choose F or S for each of {n_layers} layers")
        return [one in ("F", "full") for one in list(pattern)[:n_layers]]
    freq = fields.integer("index_topk_freq", default=1)
    offset = fields.integer("index_skip_topk_offset", default=2, low=0)
    return [max(i - offset + 1, 0) % freq == 0 for i in range(n_layers)]


def axk1(fields: Fields) -> Model:
    """A.X K1: V3 with a norm behind the experts."""
    n_layers, moe = blocks.layer_count(fields), _experts(fields)
    sparse = parts.sparse_layers(fields, n_layers, 1)
    fields.must_be("moe_layer_freq", 1)
    model = stack(fields, [latent(fields)] * n_layers, sparse, moe, notes=(BUFFER,))
    layers = tuple(
        (dataclasses.replace(layer, norms=layer.norms + layer.d_model * (layer.ffn == moe)), times)
        for layer, times in model.layers
    )
    return dataclasses.replace(model, layers=layers)


def axk2(fields: Fields) -> Model:
    """A.X K2: queries and gates from one matrix, an indexer a layer, norms with a gate of low rank."""
    d_model, rank = fields.integer("hidden_size"), fields.integer("q_lora_rank")
    n_layers, n_heads = blocks.layer_count(fields), fields.integer("num_attention_heads")
    d_value = fields.integer("v_head_dim")
    d_query = fields.integer("qk_nope_head_dim") + fields.integer("qk_rope_head_dim")
    plain = latent(fields)
    wider = Matrix(2 * rank, n_heads * (d_query + d_value))
    matrices = (plain.matrices[0], wider, *plain.matrices[2:])
    attention = recent.indexed(dataclasses.replace(plain, matrices=matrices), fields)
    sparse, moe = parts.sparse_layers(fields, n_layers, 1), _experts(fields)
    fields.must_be("moe_layer_freq", 1)
    fields.ignore("layer_types")
    low = fields.integer("gated_norm_rank", default=16)
    gate = (Matrix(d_model, low), Matrix(low, d_model))
    model = stack(
        fields, [attention] * n_layers, sparse, moe, notes=(BUFFER, "gates of norms stand under other")
    )
    layers = tuple(
        (dataclasses.replace(layer, other=gate * (2 if layer.ffn == moe else 1)), times)
        for layer, times in model.layers
    )
    return dataclasses.replace(model, layers=layers)


def dots3_note_text(fields: Fields) -> Model:
    """dots 3: gates a head; full layers have an indexer, the others a window and sizes of their own."""
    n_layers = blocks.layer_count(fields)
    kinds = _dots_kinds(fields, n_layers)
    window_name = "sliding_window" if fields.has("sliding_window") else "sliding_window_size"
    window = fields.integer(window_name, default=512) if SLIDING in kinds else None
    sliding = {
        name: fields.integer(f"swa_{name}", default=default)
        for name, default in (
            ("num_attention_heads", 64),
            ("q_lora_rank", 1024),
            ("kv_lora_rank", 1024),
            ("qk_nope_head_dim", 192),
            ("v_head_dim", 128),
        )
    }
    d_head = fields.integer("swa_head_dim", default=256)
    sliding["qk_rope_head_dim"] = fields.integer(
        "swa_qk_rope_head_dim", default=max(d_head - sliding["qk_nope_head_dim"], 1)
    )
    fields.ignore("swa_num_key_value_heads", "per_layer_config", "mlp_bias")
    of_kind = {kind: _gated_heads(fields, Fields({}), kind) for kind in kinds if kind != SLIDING}
    if SLIDING in kinds:
        sizes = _override(fields, kinds.index(SLIDING)) or Fields(sliding)
        limited = _gated_heads(fields, sizes, SLIDING)
        of_kind[SLIDING] = recent.sparse(limited, window or 1)
        cache = tuple(dataclasses.replace(one, limit=window) for one in limited.cache)
        of_kind[SLIDING] = dataclasses.replace(of_kind[SLIDING], cache=cache)
    d_shared = "moe_shared_expert_intermediate_size"
    name = d_shared if fields.has(d_shared) else "shared_experts_intermediate_size"
    shared = shared_width(fields, "n_shared_experts", fields.integer(name), 1)
    moe = routed(fields, shared=shared)
    frequency = fields.integers("moe_layer_freq", high=1) if isinstance(_freq(fields), list) else None
    sparse = (
        [bool(one) for one in frequency]
        if frequency is not None and not fields.has("mlp_layer_types")
        else parts.sparse_layers(fields, n_layers, 1)
    )
    return stack(fields, [of_kind[kind] for kind in kinds], sparse, moe, notes=(BUFFER,))


def _freq(fields: Fields) -> object:
    return fields.values.get("moe_layer_freq")


def _dots_kinds(fields: Fields, n_layers: int) -> list[str]:
    indexed = fields.flag("use_dsa", True) if not fields.has("layer_types") else True
    limited = fields.flag("use_sliding_window", True) if not fields.has("layer_types") else True
    full = INDEXED if indexed else FULL
    fields.ignore("use_dsa", "use_sliding_window")
    return parts.layer_kinds(
        fields,
        n_layers,
        lambda i: full if not limited or i < 2 or i % 4 == 1 else SLIDING,
        (FULL, SLIDING, INDEXED),
    )


def _override(fields: Fields, layer: int) -> Fields | None:
    """What transformers writes for single layers."""
    if not fields.has("per_layer_config"):
        return None
    section = fields.section("per_layer_config")
    section.ignore(*section.values)
    name = next((one for one in section.values if str(one) == str(layer)), None)
    return None if name is None else Fields(section.values[name], f"{fields.path}per_layer_config.{layer}.")


def _gated_heads(fields: Fields, sizes: Fields, kind: str) -> Attention:
    d_model = fields.integer("hidden_size")

    def size(name: str) -> int:
        return (sizes if sizes.has(name) else fields).integer(name)

    attention = parts.with_gate(latent(fields, sizes), d_model, size("num_attention_heads"))
    attention = dataclasses.replace(attention, vectors=attention.vectors + size("qk_rope_head_dim"))
    return recent.indexed(attention, fields) if kind == INDEXED else attention


def hy_v4(fields: Fields) -> Model:
    """Hunyuan 4: latent attention with sinks, gates and an indexer in some layers; streams of residuals."""
    d_model, n_heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    n_layers, d_value = blocks.layer_count(fields), fields.integer("v_head_dim")
    own = parts.with_gate(latent(fields), d_model, n_heads * d_value)
    own = dataclasses.replace(own, vectors=own.vectors + n_heads)
    if fields.has("indexer_types"):
        full = _full_indexers(fields, n_layers)
    else:
        full = [i == 0 or (i - 1) % 4 == 0 for i in range(n_layers)]
    fields.ignore("layer_types")
    of_kind = {True: recent.indexed(own, fields), False: recent.sparse(own, fields.integer("index_topk"))}
    streams = fields.integer("hc_mult", default=4)
    mixing = (Matrix(streams * d_model, 2 * streams, copies=2),)
    model = stack(
        fields,
        [of_kind[one] for one in full],
        parts.sparse_layers(fields, n_layers, 1),
        _experts(fields),
        other=(mixing, 2 * (2 * streams + 2)),
        notes=(BUFFER, STREAMS),
    )
    head = (Matrix(streams * d_model, streams),)
    return dataclasses.replace(model, other=head, other_vectors=streams + 1)


def glm5_next_text(fields: Fields) -> Model:
    """GLM 5 Next: delta attention in three layers of four, latent attention to pooled positions between."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    kinds = parts.layer_kinds(
        fields, n_layers, lambda i: LINEAR if i % 4 != 3 else INDEXED, (LINEAR, INDEXED, FULL)
    )
    old = fields.section("linear_attn_config") if fields.has("linear_attn_config") else Fields({})
    n_heads = old.integer("num_heads") if old.has("num_heads") else fields.integer("linear_num_heads", 64)
    d_head = old.integer("head_dim") if old.has("head_dim") else fields.integer("linear_head_dim", 128)
    conv = old if old.has("short_conv_kernel_size") else fields
    name = "short_conv_kernel_size" if conv is old else "linear_conv_kernel_dim"
    linear = delta_attention(d_model, n_heads, d_head, conv.integer(name, default=4))
    old.ignore(*old.values)
    fields.must_be("qk_rope_head_dim", 0)
    own = blocks.latent(
        d_model,
        fields.integer("num_attention_heads"),
        fields.integer("q_lora_rank"),
        fields.integer("kv_lora_rank"),
        fields.integer("qk_nope_head_dim"),
        0,
        fields.integer("v_head_dim"),
        bias=fields.flag("attention_bias", False),
    )
    pool, d_index = fields.integer("index_kpool", default=16), fields.integer("index_head_dim")
    full = recent.indexed(own, fields)
    pooled = dataclasses.replace(
        full, matrices=(*full.matrices, Matrix(d_model, d_index)), vectors=full.vectors + pool * d_index
    )
    shared = recent.sparse(own, fields.integer("index_topk"))
    indexers = _full_indexers(fields, n_layers)
    attentions = [
        linear if kind == LINEAR else pooled if has else shared
        for kind, has in zip(kinds, indexers, strict=True)
    ]
    fields.ignore("num_key_value_heads", "head_dim", "hc_sinkhorn_iters", "index_kpool_always_select_tail")
    streams = fields.integer("hc_mult", default=4)
    mixed = streams * (streams + 2)
    return stack(
        fields,
        attentions,
        parts.sparse_layers(fields, n_layers, 3),
        _experts(fields),
        other=((Matrix(streams * d_model, mixed, copies=2),), 2 * (mixed + 3)),
        notes=(BUFFER, STREAMS, RECURRENT),
    )


def mistral_large4_text(fields: Fields) -> Model:
    """Mistral Large 4: every fourth layer without rotary positions, scaled heads, an indexer, shared keys."""
    d_model, n_heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    n_layers = blocks.layer_count(fields)
    interval = fields.integer("no_rope_layer_interval", default=4)
    rotary = fields.integers("no_rope_layers", high=1) or [(i + 1) % interval != 0 for i in range(n_layers)]
    sources = fields.integers("kv_source_layers", high=n_layers - 1) or range(n_layers)
    for name, listed in (("no_rope_layers", rotary), ("kv_source_layers", sources)):
        fields.require(name, len(listed) == n_layers, f"choose a list of {n_layers}, one for each layer")
    full = _full_indexers(fields, n_layers)
    fields.ignore("layer_types", "num_key_value_heads", "head_dim", "qk_head_dim", "q_lora_rank")
    attentions = [
        _large4_attention(fields, d_model, n_heads, bool(rotary[i]), full[i], sources[i] == i)
        for i in range(n_layers)
    ]
    return stack(fields, attentions, parts.sparse_layers(fields, n_layers, 1), _experts(fields))


def _large4_attention(
    fields: Fields, d_model: int, n_heads: int, rotary: bool, own_indexer: bool, own_keys: bool
) -> Attention:
    d_rope, d_nope = fields.integer("qk_rope_head_dim"), fields.integer("qk_nope_head_dim")
    d_value, rank = fields.integer("v_head_dim"), fields.integer("kv_lora_rank")
    bias = fields.flag("attention_bias", False)
    shared_rope = d_rope if rotary else 0
    base = blocks.latent(d_model, n_heads, None, rank, d_nope + d_rope - shared_rope, shared_rope, d_value)
    keys = (Matrix(d_model, rank + shared_rope, bias),) if own_keys else ()
    vectors = 2 * n_heads + rank * own_keys
    matrices = (
        Matrix(d_model, n_heads * (d_nope + d_rope)),
        *keys,
        base.matrices[2],
        Matrix(n_heads * d_value, d_model, bias),
    )
    cache = base.cache if own_keys else ()
    limited = recent.sparse(base, fields.integer("index_topk"))
    limited = dataclasses.replace(limited, matrices=matrices, vectors=vectors, cache=cache)
    if not own_indexer:
        return limited
    n_index, d_index = fields.integer("index_n_heads"), fields.integer("index_head_dim")
    score = Read(n_index * (d_index + 1))
    return dataclasses.replace(
        limited,
        matrices=(*matrices, Matrix(d_model, n_index * d_index + d_index + n_index)),
        vectors=vectors + 2 * d_index + 2 * d_model + 2 * n_index,
        reads=(*limited.reads, score),
        decode_reads=(*(limited.decode_reads or ()), score),
        cache=(*cache, Cache(d_index)),
    )
