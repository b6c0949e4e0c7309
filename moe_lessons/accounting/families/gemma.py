"""Gemma 4 and DiffusionGemma: experts beside the dense network, full layers of their own sizes."""

import dataclasses

from moe_lessons.accounting import blocks
from moe_lessons.accounting.families import parts
from moe_lessons.accounting.families.parts import FULL, SLIDING, every
from moe_lessons.accounting.fields import Fields
from moe_lessons.accounting.shapes import Attention, Cache, Dense, Layer, Matrix, Model, MoE, Read, gated


def gemma4_text(fields: Fields) -> Model:
    """Gemma 4, the language model.

    Full layers have heads of `global_head_dim`, and with `attention_k_eq_v` no values of their own: keys
    serve as values. The last `num_kv_shared_layers` layers use an earlier layer's keys and values. Per-layer
    inputs look up a vector for each token and layer.
    """
    n_layers = blocks.layer_count(fields)
    kinds = _kinds(fields, n_layers)
    equal = fields.flag("attention_k_eq_v", False)
    n_shared = fields.integer("num_kv_shared_layers", default=0, low=0, high=n_layers - 1)
    shared = [i >= n_layers - n_shared for i in range(n_layers)]
    wide = fields.flag("use_double_wide_mlp", False)
    has_experts = fields.flag("enable_moe_block", False)
    moe = _experts(fields) if has_experts else None
    if moe is None:
        fields.ignore("num_experts", "top_k_experts", "moe_intermediate_size")
    layers = []
    for i, kind in enumerate(kinds):
        attention = _attention(
            fields, kinds, i, values=not (equal and kind == FULL), own=not shared[i], equal=equal
        )
        layers += _layer(fields, attention, moe, double=wide and shared[i])
    return _with_inputs(fields, blocks.decoder(fields, layers, tied_default=True), n_layers)


def diffusion_gemma_text(fields: Fields) -> Model:
    """DiffusionGemma: Gemma 4's layers with experts in all, read by encoder and decoder alike, and a network
    that conditions on the last prediction."""
    n_layers, d_model = blocks.layer_count(fields), fields.integer("hidden_size")
    kinds = _kinds(fields, n_layers)
    moe, layers = _experts(fields), []
    for i, kind in enumerate(kinds):
        attention = _attention(fields, kinds, i, values=kind == SLIDING, own=True, equal=True)
        layers += _layer(fields, attention, moe, double=False)
    model = blocks.decoder(fields, layers, tied_default=True)
    note = "encoder and decoder share their weights, which count once; a text passes both"
    condition = gated(d_model, fields.integer("intermediate_size"))
    return dataclasses.replace(model, other=condition, other_vectors=d_model, notes=(*model.notes, note))


def _kinds(fields: Fields, n_layers: int) -> list[str]:
    kinds = parts.layer_kinds(fields, n_layers, every(6, FULL, SLIDING))
    return [*kinds[:-1], FULL]  # transformers makes the last layer a full one, whatever the list says


def _experts(fields: Fields) -> MoE:
    """The router scales its input by D numbers, and each expert's weight by a number of its own."""
    d_model = fields.integer("hidden_size")
    n_experts, top_k = blocks.experts_of(fields, "num_experts", "top_k_experts")
    moe = blocks.experts(d_model, n_experts, top_k, gated(d_model, fields.integer("moe_intermediate_size")))
    return dataclasses.replace(moe, router_vectors=d_model + n_experts)


def _attention(
    fields: Fields, kinds: list[str], i: int, *, values: bool, own: bool, equal: bool
) -> Attention:
    d_model, n_heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    n_kv_heads, d_head = fields.integer("num_key_value_heads"), fields.integer("head_dim", default=256)
    if kinds[i] == FULL:
        d_head, n_kv_heads = _full_sizes(fields, i, n_kv_heads, equal)
    blocks.check_groups(fields, n_heads, n_kv_heads)
    bias = fields.flag("attention_bias", False)
    window = fields.integer("sliding_window", default=512) if kinds[i] == SLIDING else None
    queries, keys = n_heads * d_head, n_kv_heads * d_head
    own_keys = (Matrix(d_model, keys, bias, copies=1 + values),) if own else ()
    return Attention(
        matrices=(Matrix(d_model, queries, bias), *own_keys, Matrix(queries, d_model, bias)),
        vectors=d_head * (1 + own),
        reads=(Read(2 * queries, window),),
        cache=(Cache(2 * keys, window),) if own else (),
        saved_elements=d_model + 2 * queries + 2 * keys,
    )


def _full_sizes(fields: Fields, i: int, n_kv_heads: int, equal: bool) -> tuple[int, int]:
    """Head width and key-value heads of a full layer."""
    if fields.has("per_layer_config"):
        section = fields.section("per_layer_config")
        section.ignore(*section.values)
        fields.ignore("global_head_dim", "num_global_key_value_heads")
        name = next((one for one in section.values if str(one) == str(i)), None)
        sizes = Fields(
            section.values[name] if name is not None else {}, f"{fields.path}per_layer_config.{i}."
        )
        head = fields.integer("head_dim", default=256)
        return (
            sizes.integer("head_dim") if sizes.has("head_dim") else head,
            sizes.integer("num_key_value_heads") if sizes.has("num_key_value_heads") else n_kv_heads,
        )
    d_head = fields.integer("global_head_dim", default=512)
    name = "num_global_key_value_heads"
    if not equal:
        fields.ignore(name)
        return d_head, n_kv_heads
    return d_head, fields.optional(name, absent=n_kv_heads) or n_kv_heads


def _layer(fields: Fields, attention: Attention, moe: MoE | None, *, double: bool) -> list[Layer]:
    """Attention and the dense network; the experts beside it are written as a layer without attention."""
    d_model = fields.integer("hidden_size")
    width = fields.integer("intermediate_size") * (2 if double else 1)
    per_layer = fields.integer("hidden_size_per_layer_input", default=0, low=0)
    other = (Matrix(d_model, per_layer), Matrix(per_layer, d_model)) if per_layer else ()
    norms = (4 + bool(per_layer)) * d_model
    first = Layer(d_model, attention, Dense(gated(d_model, width)), norms, other=other)
    return [first] if moe is None else [first, Layer(d_model, None, moe, norms=3 * d_model)]


def _with_inputs(fields: Fields, model: Model, n_layers: int) -> Model:
    """Per-layer inputs: a table of a vector for each token and layer, and a projection to the same."""
    width = fields.integer("hidden_size_per_layer_input", default=0, low=0)
    if not width:
        fields.ignore("vocab_size_per_layer_input")
        return model
    table = fields.integer("vocab_size_per_layer_input") * n_layers * width
    return dataclasses.replace(
        model,
        other=(Matrix(model.d_model, n_layers * width),),
        other_vectors=table + width,
        notes=(*model.notes, "per-layer inputs stand under other: of their table a token reads one row"),
    )
