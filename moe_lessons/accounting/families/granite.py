"""Granite's mixtures: with a shared expert, with windows, and with Mamba layers between."""

import dataclasses

from moe_lessons.accounting import blocks
from moe_lessons.accounting.families import parts
from moe_lessons.accounting.families.parts import FULL, LINEAR, SLIDING, gqa
from moe_lessons.accounting.families.states import RECURRENT, mamba2
from moe_lessons.accounting.fields import Fields
from moe_lessons.accounting.shapes import Attention, Dense, Layer, Model, MoE, gated


def _ffn(fields: Fields, default: int) -> MoE | Dense | None:
    """Experts beside one network that every token passes; without experts that network alone."""
    d_model = fields.integer("hidden_size")
    width = fields.integer("shared_intermediate_size", default=default, low=0)
    shared = gated(d_model, width) if width else ()
    if fields.values.get("num_local_experts") == 0:
        fields.ignore("num_local_experts", "intermediate_size", "num_experts_per_tok")
        return Dense(shared) if shared else None
    moe = blocks.gated_experts(fields, "num_local_experts")
    return dataclasses.replace(moe, shared=shared)


def _model(fields: Fields, attentions: list[Attention], default: int, notes: tuple[str, ...] = ()) -> Model:
    d_model, ffn = fields.integer("hidden_size"), _ffn(fields, default)
    layers = [Layer(d_model, attention, ffn, norms=2 * d_model) for attention in attentions]
    return blocks.decoder(fields, layers, notes=notes)


def _heads(fields: Fields) -> tuple[int, int, int]:
    return blocks.head_counts(fields, kv_default=True)


def granitemoeshared(fields: Fields) -> Model:
    """Granite 3 MoE with a network that every token passes."""
    attention = gqa(fields.integer("hidden_size"), _heads(fields), bias=fields.flag("attention_bias", False))
    return _model(fields, [attention] * blocks.layer_count(fields), 0)


def granitemoe_swa(fields: Fields) -> Model:
    """Granite MoE with sinks, three of four layers behind a window."""
    d_model, n_layers, heads = fields.integer("hidden_size"), blocks.layer_count(fields), _heads(fields)
    kinds = parts.layer_kinds(fields, n_layers, lambda i: SLIDING if i % 4 else FULL)
    bias = fields.flag("attention_bias", False)
    attentions = [
        gqa(d_model, heads, bias=bias, sinks=True, window=window)
        for window in parts.windowed(fields, kinds, 128)
    ]
    return _model(fields, attentions, 0)


def granitemoehybrid(fields: Fields) -> Model:
    """Granite 4: Mamba-2 in most layers, attention in a few, experts beside a shared network in all."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    kinds = parts.layer_kinds(fields, n_layers, lambda i: LINEAR, (FULL, LINEAR))
    of_kind: dict[str, Attention] = {}
    bias = fields.flag("attention_bias", False)
    if FULL in kinds:
        of_kind[FULL] = gqa(d_model, _heads(fields), bias=bias)
    if LINEAR in kinds:
        d_inner = fields.integer("mamba_expand", default=2) * d_model
        n_heads = fields.integer("mamba_n_heads")
        fields.require("mamba_n_heads", d_inner % n_heads == 0, f"choose a divisor of {d_inner}")
        of_kind[LINEAR] = mamba2(
            d_model,
            d_inner,
            n_heads,
            fields.integer("mamba_n_groups", default=1),
            fields.integer("mamba_d_state", default=256),
            fields.integer("mamba_d_conv", default=4),
            conv_bias=fields.flag("mamba_conv_bias", True),
            bias=fields.flag("mamba_proj_bias", False),
        )
    fields.ignore("mamba_d_head", "mamba_chunk_size", "num_attention_heads", "num_key_value_heads")
    return _model(fields, [of_kind[kind] for kind in kinds], 1024, (RECURRENT,))
