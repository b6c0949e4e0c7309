"""Families on grouped-query attention, with different norms, gates, windows and layers of experts."""

from moe_lessons.accounting import blocks
from moe_lessons.accounting.families import parts
from moe_lessons.accounting.families.deepseek import BUFFER
from moe_lessons.accounting.families.parts import FULL, SLIDING, every, gqa, routed, shared_width, stack
from moe_lessons.accounting.fields import Fields
from moe_lessons.accounting.shapes import Attention, Cache, Matrix, Model, Read


def _heads(fields: Fields) -> tuple[int, int, int]:
    return blocks.head_counts(fields, kv_default=True, width="assumed")


def afmoe(fields: Fields) -> Model:
    """AFMoE (Trinity): a gate on each attention output, four norms a layer, a trained selection bias."""
    d_model, n_layers, heads = fields.integer("hidden_size"), blocks.layer_count(fields), _heads(fields)
    period = fields.integer("global_attn_every_n_layers", default=4)
    windows = parts.windowed(fields, parts.layer_kinds(fields, n_layers, every(period, FULL, SLIDING)), 1024)
    bias, n_dense = fields.flag("attention_bias", False), fields.integer("num_dense_layers", default=1, low=0)
    attentions = [
        gqa(d_model, heads, bias=bias, norms=True, gate=heads[0] * heads[2], window=window)
        for window in windows
    ]
    d_expert = fields.integer("moe_intermediate_size")
    moe = routed(
        fields,
        "num_experts",
        shared=shared_width(fields, "num_shared_experts", d_expert, 2),
        router_vectors=fields.integer("num_experts"),
    )
    sparse = [i >= n_dense for i in range(n_layers)]
    return stack(fields, attentions, sparse, moe, norms=4, notes=(parts.COUNTED_BIAS,))


def aria_text(fields: Fields) -> Model:
    """Aria: Llama's attention, shared experts as wide as the routed ones together are many."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    attention = gqa(d_model, _heads(fields), bias=fields.flag("attention_bias", False))
    width = shared_width(fields, "moe_num_shared_experts", fields.integer("intermediate_size"), 2)
    moe = routed(
        fields,
        "moe_num_experts",
        k_name="moe_topk",
        width="intermediate_size",
        shared=width,
        bias=fields.flag("mlp_bias", False),
    )
    return stack(fields, [attention] * n_layers, [True] * n_layers, moe)


def beam(fields: Fields) -> Model:
    """Beam: gated attention with a bias a head, four norms a layer, the first three layers dense."""
    d_model, n_layers, heads = fields.integer("hidden_size"), blocks.layer_count(fields), _heads(fields)
    kinds = parts.layer_kinds(
        fields, n_layers, lambda i: FULL if i == n_layers - 1 else every(6, FULL, SLIDING)(i)
    )
    bias = fields.flag("attention_bias", False)
    attentions = [
        gqa(d_model, heads, bias=bias, norms=True, gate=heads[0] * heads[2], extra=heads[0], window=window)
        for window in parts.windowed(fields, kinds, 512)
    ]
    sparse = parts.sparse_layers(fields, n_layers, 3)
    return stack(fields, attentions, sparse, routed(fields, "num_experts"), norms=4, notes=(BUFFER,))


def cohere2_moe(fields: Fields) -> Model:
    """Cohere's Command with experts: attention and experts side by side behind one norm."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    n_dense = (
        0 if fields.has("mlp_layer_types") else fields.integer("first_k_dense_replace", default=0, low=0)
    )
    first = fields.integer("prefix_dense_sliding_window_pattern", default=1)
    period = fields.integer("sliding_window_pattern", default=4)
    kinds = parts.layer_kinds(
        fields,
        n_layers,
        lambda i: (
            every(first, FULL, SLIDING)(i) if i < n_dense else every(period, FULL, SLIDING)(i - n_dense)
        ),
    )
    bias, heads = fields.flag("attention_bias", False), _heads(fields)
    attentions = [
        gqa(d_model, heads, bias=bias, window=window) for window in parts.windowed(fields, kinds, 4096)
    ]
    width = shared_width(fields, "num_shared_experts", fields.integer("intermediate_size"), 0)
    moe = routed(fields, "num_experts", width="intermediate_size", shared=width)
    sparse = parts.sparse_layers(fields, n_layers, 0)
    dense = "prefix_dense_intermediate_size"
    if not fields.has(dense):
        if not all(sparse):
            fields.assume(dense, fields.integer("intermediate_size"))
        dense = "intermediate_size"
    return stack(fields, attentions, sparse, moe, dense=dense, norms=1, tied_default=True)


def exaone_moe(fields: Fields) -> Model:
    """K-EXAONE: V3's experts, three of four layers behind a window."""
    d_model, n_layers, heads = fields.integer("hidden_size"), blocks.layer_count(fields), _heads(fields)
    limited = "sliding_window" not in fields.values or fields.has("sliding_window")
    period = fields.integer("sliding_window_pattern", default=4) if limited else 1
    kinds = parts.layer_kinds(fields, n_layers, every(period, FULL, SLIDING))
    attentions = [
        gqa(d_model, heads, norms=True, window=window) for window in parts.windowed(fields, kinds, 4096)
    ]
    width = shared_width(fields, "num_shared_experts", fields.integer("moe_intermediate_size"), 1)
    moe = routed(fields, "num_experts", shared=width)
    return stack(fields, attentions, parts.sparse_layers(fields, n_layers, 1), moe, notes=(BUFFER,))


def flint(fields: Fields) -> Model:
    """Flint: sinks, windows of 513, a shared expert twice as wide as a routed one."""
    d_model, n_layers, heads = fields.integer("hidden_size"), blocks.layer_count(fields), _heads(fields)
    last = n_layers - 1
    kinds = parts.layer_kinds(
        fields, n_layers, lambda i: FULL if i < 2 or i % 4 == 1 or i == last else SLIDING
    )
    bias = fields.flag("attention_bias", False)
    attentions = [
        gqa(d_model, heads, bias=bias, norms=True, sinks=True, window=window)
        for window in parts.windowed(fields, kinds, 513)
    ]
    step = fields.integer("decoder_sparse_step", default=1)
    dense = {0, 1} if not fields.has("mlp_only_layers") else set(fields.integers("mlp_only_layers") or ())
    sparse = [i not in dense and (i + 1) % step == 0 for i in range(n_layers)]
    moe = routed(fields, "num_experts", shared=fields.integer("shared_expert_intermediate_size"))
    return stack(fields, attentions, sparse, moe)


def hy_v3(fields: Fields) -> Model:
    """Hunyuan 3: V3's experts on grouped-query attention with norms."""
    d_model, n_layers, heads = fields.integer("hidden_size"), blocks.layer_count(fields), _heads(fields)
    attention = gqa(d_model, heads, bias=fields.flag("attention_bias", False), norms=True)
    bias = fields.flag("mlp_bias", False)
    width = shared_width(fields, "num_shared_experts", fields.integer("moe_intermediate_size"), 1)
    moe = routed(fields, "num_experts", shared=width, bias=bias)
    sparse = parts.sparse_layers(fields, n_layers, 1)
    return stack(fields, [attention] * n_layers, sparse, moe, mlp_bias=bias, notes=(BUFFER,))


def hunyuan_v1_moe(fields: Fields) -> Model:
    """Hunyuan-A13B: experts and one shared expert of the same width in every layer."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    attention = gqa(d_model, _heads(fields), bias=fields.flag("attention_bias", False), norms=True)
    width = fields.integer("intermediate_size")
    moe = routed(fields, "num_experts", k_name="moe_topk", width="intermediate_size", shared=width)
    return stack(fields, [attention] * n_layers, [True] * n_layers, moe)


def kolibri1(fields: Fields) -> Model:
    """Kolibri-1: a norm before and after attention and experts, every fifth layer sees everything."""
    d_model, n_layers, heads = fields.integer("hidden_size"), blocks.layer_count(fields), _heads(fields)
    kinds = parts.layer_kinds(fields, n_layers, every(5, FULL, SLIDING))
    attentions = [
        gqa(d_model, heads, norms=True, window=window) for window in parts.windowed(fields, kinds, 513)
    ]
    moe = routed(fields, "num_experts", shared=fields.integer("shared_expert_intermediate_size"))
    return stack(fields, attentions, [True] * n_layers, moe, norms=4, notes=(BUFFER,))


def laguna(fields: Fields) -> Model:
    """Laguna: one gate a head or a number, heads that may differ from layer to layer, a trained bias."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    n_heads, n_kv_heads, d_head = _heads(fields)
    own = fields.integers("num_attention_heads_per_layer", low=1) or (n_heads,) * n_layers
    fields.require("num_attention_heads_per_layer", len(own) == n_layers, f"choose a list of {n_layers}")
    by_head = parts.gates_by_head(fields)
    kinds = parts.layer_kinds(fields, n_layers, lambda i: FULL)
    bias = fields.flag("attention_bias", False)
    attentions = [
        gqa(
            d_model,
            (n, n_kv_heads, d_head),
            bias=bias,
            norms=True,
            gate=n if by_head else n * d_head,
            window=window,
        )
        for n, window in zip(own, parts.windowed(fields, kinds, 512), strict=True)
    ]
    moe = routed(
        fields,
        "num_experts",
        shared=fields.integer("shared_expert_intermediate_size"),
        router_vectors=fields.integer("num_experts"),
    )
    sparse = parts.sparse_layers(fields, n_layers, 1)
    return stack(fields, attentions, sparse, moe, notes=(parts.COUNTED_BIAS,))


def mellum(fields: Fields) -> Model:
    """Mellum 2: Qwen3's block; windows and dense layers where the config lists them."""
    d_model, n_layers, heads = fields.integer("hidden_size"), blocks.layer_count(fields), _heads(fields)
    kinds = parts.layer_kinds(fields, n_layers, lambda i: FULL)
    bias = fields.flag("attention_bias", False)
    attentions = [
        gqa(d_model, heads, bias=bias, norms=True, window=window)
        for window in parts.windowed(fields, kinds, 1024)
    ]
    return stack(fields, attentions, parts.sparse_layers(fields, n_layers, 0), routed(fields, "num_experts"))


def solar_open(fields: Fields) -> Model:
    """Solar-Open: V3's experts in every layer, biases on queries, keys and values only."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    bias = fields.flag("attention_bias", False)
    attention = gqa(d_model, _heads(fields), bias=bias, output_bias=False)
    width = shared_width(fields, "n_shared_experts", fields.integer("moe_intermediate_size"), 1)
    return stack(
        fields, [attention] * n_layers, [True] * n_layers, routed(fields, shared=width), notes=(BUFFER,)
    )


def mimo_v2_flash(fields: Fields) -> Model:
    """MiMo-V2-Flash: values narrower than keys; windowed layers have sinks and twice the key-value heads."""
    n_layers = blocks.layer_count(fields)
    if fields.has("sliding_window_size"):
        fields.values = {**fields.values, "sliding_window": fields.integer("sliding_window_size") + 1}
    kinds = parts.layer_kinds(fields, n_layers, lambda i: SLIDING if i and (i + 1) % 6 else FULL)
    attentions = [_mimo_attention(fields, window) for window in parts.windowed(fields, kinds, 129)]
    sparse = parts.sparse_layers(fields, n_layers, 1)
    return stack(fields, attentions, sparse, routed(fields), notes=(BUFFER,))


def _mimo_attention(fields: Fields, window: int | None) -> Attention:
    d_model, (n_heads, n_kv_heads, d_key) = fields.integer("hidden_size"), _heads(fields)
    d_value, bias = fields.integer("v_head_dim", default=128), fields.flag("attention_bias", False)
    n_kv_heads *= 1 if window is None else 2
    queries, keys, values = n_heads * d_key, n_kv_heads * d_key, n_kv_heads * d_value
    return Attention(
        matrices=(
            Matrix(d_model, queries, bias),
            Matrix(d_model, keys, bias),
            Matrix(d_model, values, bias),
            Matrix(n_heads * d_value, d_model),
        ),
        vectors=0 if window is None else n_heads,
        reads=(Read(n_heads * (d_key + d_value), window),),
        cache=(Cache(keys + values, window),),
        saved_elements=d_model + queries + keys + values + n_heads * d_value,
    )
