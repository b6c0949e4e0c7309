"""Language models on grouped-query attention that are mostly published inside models for images."""

import dataclasses

from moe_lessons.accounting import blocks
from moe_lessons.accounting.families import parts
from moe_lessons.accounting.families.deepseek import BUFFER
from moe_lessons.accounting.families.parts import FULL, SLIDING, gqa, routed, shared_width, stack
from moe_lessons.accounting.fields import Fields
from moe_lessons.accounting.shapes import Attention, Layer, Matrix, Model, MoE, Read, gated


def ernie4_5_moe(fields: Fields) -> Model:
    """ERNIE 4.5: experts from one layer to another, in every so many; the selection bias is a parameter."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    start, end = fields.integer("moe_layer_start_index", default=1, low=0), _last_layer(fields, n_layers)
    step = fields.integer("moe_layer_interval", default=1)
    sparse = [start <= i <= end and (i + 1) % step == 0 for i in range(n_layers)]
    bias = fields.flag("use_bias", False)
    attention = gqa(d_model, _heads(fields), bias=bias)
    moe = _ernie_experts(fields, fields.integer("moe_intermediate_size"), bias)
    return stack(
        fields,
        [attention] * n_layers,
        sparse,
        moe,
        mlp_bias=bias,
        tied_default=True,
        head_bias=bias,
        notes=(parts.COUNTED_BIAS,),
    )


def _heads(fields: Fields) -> tuple[int, int, int]:
    return blocks.head_counts(fields, kv_default=True, width="assumed")


def _last_layer(fields: Fields, n_layers: int) -> int:
    end = fields.integer("moe_layer_end_index", default=-1, low=-1)
    return n_layers - 1 if end == -1 else end


def _ernie_experts(fields: Fields, width: int, bias: bool = False) -> MoE:
    d_model = fields.integer("hidden_size")
    n_experts, top_k = blocks.experts_of(fields, "moe_num_experts", "moe_k")
    shared = shared_width(fields, "moe_num_shared_experts", width, 2)
    moe = blocks.experts(
        d_model,
        n_experts,
        top_k,
        gated(d_model, width),
        shared=gated(d_model, shared, bias) if shared else (),
    )
    return dataclasses.replace(moe, router_vectors=n_experts)


def ernie4_5_vl_moe_text(fields: Fields) -> Model:
    """ERNIE 4.5 VL: text and images have experts of their own, of two widths, and share the shared ones.

    A token of text passes the first kind only: K of E, and none of the experts for images.
    """
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    widths = fields.integers("moe_intermediate_size", low=1)
    if widths is None:
        widths = (1536, 512)
        fields.assume("moe_intermediate_size", list(widths))
    fields.require("moe_intermediate_size", len(widths) == 2, "choose two widths, for text and for images")
    bias = fields.flag("use_bias", False)
    attention = gqa(d_model, _heads(fields), bias=bias)
    moe = _ernie_experts(fields, widths[0], bias)
    images = dataclasses.replace(moe, top_k=0, expert=gated(d_model, widths[1]), shared=())
    sparse = parts.sparse_layers(fields, n_layers, 1)
    model = stack(
        fields,
        [attention] * n_layers,
        sparse,
        moe,
        mlp_bias=bias,
        tied_default=True,
        notes=(parts.COUNTED_BIAS, "the experts for images are in the total; a token of text passes none"),
    )
    if not any(sparse):
        return model
    return dataclasses.replace(
        model, layers=(*model.layers, (Layer(d_model, None, images, norms=0), sum(sparse)))
    )


def glm4v_moe_text(fields: Fields) -> Model:
    """GLM-4.5V: GLM-4.5's block, whose queries, keys and values have biases."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    bias = fields.flag("attention_bias", True)
    attention = gqa(d_model, _heads(fields), bias=bias, output_bias=False)
    width = shared_width(fields, "n_shared_experts", fields.integer("moe_intermediate_size"), 1)
    sparse = parts.sparse_layers(fields, n_layers, 1)
    return stack(fields, [attention] * n_layers, sparse, routed(fields, shared=width), notes=(BUFFER,))


def ocr_text(fields: Fields) -> Model:
    """DeepSeek-OCR 2 and Unlimited-OCR: Llama's attention and DeepSeek's experts."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    n_heads, n_kv_heads, _ = blocks.head_counts(fields, kv_default=True)
    fields.ignore("layer_types", "sliding_window")
    heads = (n_heads, n_kv_heads, d_model // n_heads)
    attention = gqa(d_model, heads, bias=fields.flag("attention_bias", False))
    bias = fields.flag("mlp_bias", False)
    width = shared_width(fields, "n_shared_experts", fields.integer("moe_intermediate_size"), 2)
    sparse = parts.sparse_layers(fields, n_layers, 1)
    moe = routed(fields, shared=width, bias=bias)
    return stack(fields, [attention] * n_layers, sparse, moe, mlp_bias=bias)


def minimax_m3_vl_text(fields: Fields) -> Model:
    """MiniMax-M3: a shared expert, dense first layers of another width, attention to chosen blocks.

    Where a layer is sparse, h_i small queries and one small key a position choose the blocks.
    """
    d_model, n_layers, heads = fields.integer("hidden_size"), blocks.layer_count(fields), _heads(fields)
    old = fields.section("sparse_attention_config") if fields.has("sparse_attention_config") else Fields({})
    listed = old.integers("sparse_attention_freq", high=1)
    kinds = parts.layer_kinds(
        fields,
        n_layers,
        lambda i: "minimax_m3_sparse" if listed and listed[i] else FULL,
        (FULL, "minimax_m3_sparse"),
    )
    full = gqa(d_model, heads, norms=True)
    of_kind = {FULL: full}
    if "minimax_m3_sparse" in kinds:
        of_kind["minimax_m3_sparse"] = _block_indexed(fields, old, full, heads)
    frequency = fields.integers("moe_layer_freq", high=1)
    if fields.has("mlp_layer_types") or frequency is None:
        sparse = parts.sparse_layers(fields, n_layers, 0)
    else:
        fields.require("moe_layer_freq", len(frequency) == n_layers, f"choose a list of {n_layers}")
        sparse = [bool(one) for one in frequency]
    if old.values:
        old.ignore(*old.values)
    fields.ignore("index_block_size", "index_topk_blocks", "index_local_blocks", "n_shared_experts")
    fields.must_be("attention_output_gate", False)
    moe = routed(
        fields,
        "num_local_experts",
        width="intermediate_size",
        shared=fields.integer("shared_intermediate_size"),
    )
    attentions = [of_kind[kind] for kind in kinds]
    return stack(fields, attentions, sparse, moe, dense="dense_intermediate_size", notes=(BUFFER,))


def _block_indexed(fields: Fields, old: Fields, full: Attention, heads: tuple[int, int, int]) -> Attention:
    d_model = fields.integer("hidden_size")

    def size(name: str, old_name: str, default: int) -> int:
        source, own = (old, old_name) if old.has(old_name) else (fields, name)
        return source.integer(own, default=default)

    n_index, d_index = (
        size("index_n_heads", "sparse_num_index_heads", 4),
        size("index_head_dim", "sparse_index_dim", 128),
    )
    block = size("index_block_size", "sparse_block_size", 128)
    seen = block * size("index_topk_blocks", "sparse_topk_blocks", 16)
    return dataclasses.replace(
        full,
        matrices=(*full.matrices, Matrix(d_model, n_index * d_index), Matrix(d_model, d_index)),
        vectors=full.vectors + 2 * d_index,
        reads=(Read(2 * heads[0] * heads[2], seen), Read(n_index * d_index)),
        cache=(*full.cache, dataclasses.replace(full.cache[0], elements=d_index)),
    )


def muse_spark_text(fields: Fields) -> Model:
    """Muse Spark: experts between a projection to `moe_hidden_size` and one back, gates on the residuals."""
    d_model, n_layers, heads = fields.integer("hidden_size"), blocks.layer_count(fields), _heads(fields)
    kinds = parts.layer_kinds(fields, n_layers, lambda i: SLIDING if (n_layers - 1 - i) % 4 else FULL)
    bias = fields.flag("attention_bias", False)
    attentions = [
        gqa(d_model, heads, bias=bias, gate=heads[0] * heads[2], window=window)
        for window in parts.windowed(fields, kinds, 2048)
    ]
    inner, d_expert = fields.integer("moe_hidden_size"), fields.integer("moe_intermediate_size")
    n_experts, top_k = blocks.experts_of(fields, "num_local_experts", "num_experts_per_tok")
    around = (Matrix(d_model, inner), Matrix(inner, d_model))
    moe = blocks.experts(d_model, n_experts, top_k, gated(inner, d_expert), shared=around)
    sparse = parts.sparse_layers(fields, n_layers, 0)
    model = stack(fields, attentions, sparse, moe, norms=5, notes=(BUFFER,))
    note = "shared_experts holds the projections to the experts' width and back"
    layers = tuple(
        (dataclasses.replace(layer, norms=layer.norms + 2 * inner * (layer.ffn == moe)), times)
        for layer, times in model.layers
    )
    return dataclasses.replace(model, layers=layers, notes=(*model.notes, note))


def step3p5(fields: Fields) -> Model:
    """Step 3.7: gates a head, a shared expert of its own width; layers with a window may have other heads."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    n_heads, n_kv_heads, d_head = _heads(fields)
    kinds = parts.layer_kinds(fields, n_layers, lambda i: FULL)
    n_sliding = fields.integer("num_sliding_attention_heads", default=n_heads)
    if fields.has("attention_other_setting"):
        other = fields.section("attention_other_setting")
        n_sliding = other.integer("num_attention_heads", default=n_sliding)
        other.ignore(*other.values)
    fields.ignore("per_layer_config")
    by_head = parts.gates_by_head(fields)
    bias, mlp_bias = fields.flag("attention_bias", False), fields.flag("mlp_bias", False)
    attentions = []
    for kind, window in zip(kinds, parts.windowed(fields, kinds, 512), strict=True):
        n = n_sliding if kind == SLIDING else n_heads
        gate = n if by_head else n * d_head
        heads = (n, n_kv_heads, d_head)
        attentions.append(gqa(d_model, heads, bias=bias, norms=True, gate=gate, window=window))
    if fields.has("moe_layers_enum") and not fields.has("mlp_layer_types"):
        listed = fields.values["moe_layers_enum"]
        items = listed.split(",") if isinstance(listed, str) else listed
        chosen = {int(i) for i in items if str(i).strip().isdigit()}
        sparse = [i in chosen for i in range(n_layers)]
    else:
        sparse = parts.sparse_layers(fields, n_layers, 3)
    moe = routed(fields, shared=fields.integer("share_expert_dim"), bias=mlp_bias)
    return stack(fields, attentions, sparse, moe, mlp_bias=mlp_bias, notes=(BUFFER,))


def openai_privacy_filter(fields: Fields) -> Model:
    """OpenAI's privacy filter: gpt-oss's block, seen from both sides, under a head that names classes."""
    d_model, n_layers, heads = fields.integer("hidden_size"), blocks.layer_count(fields), _heads(fields)
    bias = fields.flag("attention_bias", True)
    window = fields.integer("sliding_window", default=128) + 1
    attention = gqa(d_model, heads, bias=bias, sinks=True, window=window)
    attention = dataclasses.replace(attention, cache=())
    moe = blocks.experts(
        d_model,
        *blocks.experts_of(fields, "num_local_experts", "num_experts_per_tok"),
        gated(d_model, fields.integer("intermediate_size"), bias=True),
        router_bias=True,
    )
    layer = Layer(d_model, attention, moe, norms=2 * d_model)
    model = blocks.decoder(fields, [layer] * n_layers, head_bias=True)
    labels = fields.values.get("id2label")
    n_classes = (
        len(labels) if isinstance(labels, dict) and labels else fields.integer("num_labels", default=33)
    )
    return dataclasses.replace(model, tied=False, n_classes=n_classes)
