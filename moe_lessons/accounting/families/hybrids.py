"""Families with layers of a state between layers of attention: Jamba, Nemotron, MiniMax-01, LFM2, Kimi."""

import dataclasses

from moe_lessons.accounting import blocks
from moe_lessons.accounting.families import parts
from moe_lessons.accounting.families.deepseek import BUFFER
from moe_lessons.accounting.families.parts import FULL, LINEAR, every, gqa, routed, shared_width, stack
from moe_lessons.accounting.families.states import (
    RECURRENT,
    delta_attention,
    lightning,
    mamba1,
    mamba2,
    short_convolution,
)
from moe_lessons.accounting.fields import ConfigError, Fields, shown
from moe_lessons.accounting.shapes import Attention, Dense, Layer, Matrix, Model, MoE, gated, plain


def jamba(fields: Fields) -> Model:
    """Jamba: attention in one of eight layers, Mamba in the rest, experts in every other."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    period, offset = (
        fields.integer("attn_layer_period", default=8),
        fields.integer("attn_layer_offset", default=4, low=0),
    )
    step, first = (
        fields.integer("expert_layer_period", default=2),
        fields.integer("expert_layer_offset", default=1, low=0),
    )
    fields.ignore("layer_types", "layers_block_type", "layers_num_experts")
    rank = fields.values.get("mamba_dt_rank", "auto")
    fields.ignore("mamba_dt_rank")
    mamba = mamba1(
        d_model,
        fields.integer("mamba_expand", default=2) * d_model,
        fields.integer("mamba_d_state", default=16),
        -(-d_model // 16) if rank in ("auto", None) else fields.integer("mamba_dt_rank"),
        fields.integer("mamba_d_conv", default=4),
        conv_bias=fields.flag("mamba_conv_bias", True),
        bias=fields.flag("mamba_proj_bias", False),
    )
    attention = gqa(d_model, blocks.head_counts(fields, kv_default=True))
    attentions = [attention if i % period == offset else mamba for i in range(n_layers)]
    moe: MoE | None = routed(fields, "num_experts", width="intermediate_size")
    several = fields.integer("num_experts") > 1  # with one expert the network is dense and has no router
    sparse = [several and i % step == first for i in range(n_layers)]
    return stack(fields, attentions, sparse, moe, notes=(RECURRENT,))


def minimax(fields: Fields) -> Model:
    """MiniMax-01: lightning attention, full attention between, experts in every layer."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    kinds = parts.layer_kinds(fields, n_layers, every(2, LINEAR, FULL), (FULL, LINEAR))
    heads = blocks.head_counts(fields, kv_default=True)
    of_kind = {FULL: gqa(d_model, heads), LINEAR: lightning(d_model, heads[0], heads[2])}
    moe = routed(fields, "num_local_experts", width="intermediate_size")
    attentions = [of_kind[kind] for kind in kinds]
    return stack(fields, attentions, [True] * n_layers, moe, notes=(RECURRENT,))


def lfm2_moe(fields: Fields) -> Model:
    """LFM2 with experts: short convolutions in most layers, attention in the layers that the config names."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    kinds = fields.words("layer_types", n_layers, (FULL, "conv"))
    if kinds is None:
        raise ConfigError("config field 'layer_types' is missing: it says which layers are convolutions")
    heads = blocks.head_counts(fields, kv_default=True)
    convolution = short_convolution(
        d_model, fields.integer("conv_L_cache", default=3), fields.flag("conv_bias", False)
    )
    of_kind = {FULL: gqa(d_model, heads, norms=True), "conv": convolution}
    n_dense = fields.integer("num_dense_layers", default=2, low=0)
    sparse = [i >= n_dense for i in range(n_layers)]
    moe = routed(fields, "num_experts")
    if fields.has("tie_embedding"):
        fields.values = {**fields.values, "tie_word_embeddings": fields.values["tie_embedding"]}
    notes = (RECURRENT, BUFFER) if fields.flag("use_expert_bias", True) else (RECURRENT,)
    attentions = [of_kind[kind] for kind in kinds]
    return stack(fields, attentions, sparse, moe, tied_default=True, notes=notes)


LETTERS = {"M": LINEAR, "E": "moe", "*": FULL, "-": "mlp"}


def nemotron_h(fields: Fields) -> Model:
    """Nemotron 3: each layer is one of Mamba-2, attention, experts or a dense network, behind one norm.

    Experts have two matrices (squared ReLU) and may work in a narrower space: one projection to
    `moe_latent_size` and one back serve all of them.
    """
    d_model, kinds = fields.integer("hidden_size"), _nemotron_kinds(fields)
    bias = fields.flag("mlp_bias", False)
    of_kind: dict[str, tuple[Attention | None, Dense | MoE | None]] = {}
    if FULL in kinds:
        of_kind[FULL] = gqa(d_model, blocks.head_counts(fields, width="assumed")), None
    if LINEAR in kinds:
        of_kind[LINEAR] = _nemotron_mamba(fields), None
    if "mlp" in kinds:
        of_kind["mlp"] = None, Dense(plain(d_model, fields.integer("intermediate_size"), bias))
    if "moe" in kinds:
        of_kind["moe"] = None, _latent_experts(fields, bias)
    # Both are there in every config, whether or not a layer uses them.
    fields.ignore(
        "mamba_proj_bias",
        "num_hidden_layers",
        "intermediate_size",
        "expand",
        "n_shared_experts",
        "attention_bias",
    )
    fields.ignore(
        "ssm_state_size", "mamba_num_heads", "mamba_head_dim", "n_groups", "conv_kernel", "use_bias"
    )
    layers = [Layer(d_model, *of_kind[kind], norms=d_model) for kind in kinds]
    note = "shared_experts holds the projections to the experts' latent space and back"
    return blocks.decoder(
        fields, layers, notes=(RECURRENT, BUFFER, *((note,) if fields.has("moe_latent_size") else ()))
    )


def _nemotron_kinds(fields: Fields) -> list[str]:
    if fields.has("layers_block_type"):
        listed = fields.values["layers_block_type"]
        n_layers = len(listed) if isinstance(listed, (list, tuple)) else 0
        fields.ignore("hybrid_override_pattern")
        return parts.layer_kinds(fields, n_layers, lambda i: "", tuple(LETTERS.values()), "layers_block_type")
    pattern = fields.values.get("hybrid_override_pattern")
    fields.ignore("hybrid_override_pattern")
    if not isinstance(pattern, str) or not pattern or set(pattern) - set(LETTERS):
        letters = ", ".join(f"{letter} ({kind})" for letter, kind in LETTERS.items())
        state = "missing" if pattern is None else shown(pattern)
        raise ConfigError(
            f"config field 'hybrid_override_pattern' is {state}: give a letter for each layer, {letters}"
        )
    return [LETTERS[letter] for letter in pattern]


def _nemotron_mamba(fields: Fields) -> Attention:
    n_heads = fields.integer("mamba_num_heads", default=128)
    conv_bias = "mamba_conv_bias" if fields.has("mamba_conv_bias") else "use_conv_bias"
    return mamba2(
        fields.integer("hidden_size"),
        n_heads * fields.integer("mamba_head_dim", default=64),
        n_heads,
        fields.integer("mamba_n_groups" if fields.has("mamba_n_groups") else "n_groups", default=8),
        fields.integer("ssm_state_size", default=128),
        fields.integer("mamba_d_conv" if fields.has("mamba_d_conv") else "conv_kernel", default=4),
        conv_bias=fields.flag(conv_bias, True),
        bias=fields.flag("use_bias", False),
    )


def _latent_experts(fields: Fields, bias: bool) -> MoE:
    d_model = fields.integer("hidden_size")
    latent = fields.optional("moe_latent_size")
    shared = plain(d_model, fields.integer("moe_shared_expert_intermediate_size"), bias)
    if latent is not None:
        shared = (*shared, Matrix(d_model, latent, bias), Matrix(latent, d_model, bias))
    n_experts, top_k = blocks.experts_of(fields, "n_routed_experts", "num_experts_per_tok")
    fields.ignore("n_group", "topk_group")
    expert = plain(latent or d_model, fields.integer("moe_intermediate_size"))
    return blocks.experts(d_model, n_experts, top_k, expert, shared=shared)


def kimi_linear(fields: Fields) -> Model:
    """Kimi Linear and Kimi-K3: delta attention in three of four layers, latent attention in the rest.

    K3 adds gates on latent attention, experts in a narrower space with a norm behind them, and residuals that
    choose among earlier blocks: two norms and two vectors a layer. K3's count is exact: it is the sum of its
    published tensors. References: arXiv:2510.26692; for K3 the fields and tensors of its checkpoint.
    """
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    old = fields.section("linear_attn_config") if fields.has("linear_attn_config") else Fields({})
    n_heads = old.integer("num_heads") if old.has("num_heads") else fields.integer("linear_num_heads", 32)
    d_head = old.integer("head_dim") if old.has("head_dim") else fields.integer("linear_head_dim", 128)
    full_rank = old.flag("use_full_rank_gate", False) if old.has("use_full_rank_gate") else False
    source, name = (
        (old, "short_conv_kernel_size")
        if old.has("short_conv_kernel_size")
        else (fields, "linear_conv_kernel_dim")
    )
    linear = delta_attention(
        d_model, n_heads, d_head, source.integer(name, default=4), low_rank_gate=not full_rank
    )
    listed = set(old.integers("full_attn_layers", low=1) or ())
    old.ignore(*old.values)
    kinds = parts.layer_kinds(
        fields,
        n_layers,
        lambda i: FULL if (i + 1 in listed if listed else i and i % 4 == 0) else LINEAR,
        (FULL, LINEAR),
    )
    full = _kimi_latent(fields, fields.nullable("q_lora_rank"))
    if fields.has("mla_use_output_gate") and fields.flag("mla_use_output_gate", False):
        width = fields.integer("num_attention_heads") * fields.integer("v_head_dim")
        full = parts.with_gate(full, d_model, width)
    return _with_block_residuals(fields, _kimi_frame(fields, kinds, {FULL: full, LINEAR: linear}, 1))


def _with_block_residuals(fields: Fields, model: Model) -> Model:
    if not fields.has("attn_res_block_size"):
        return model
    d_model = model.d_model
    fields.integer("attn_res_block_size")
    layers = tuple(
        (dataclasses.replace(layer, norms=4 * d_model, other_vectors=2 * d_model), times)
        for layer, times in model.layers
    )
    note = "vectors that choose among earlier blocks stand under other"
    return dataclasses.replace(
        model,
        layers=layers,
        final_norms=2 * d_model,
        other_vectors=d_model,
        notes=(*model.notes, note),
    )


def _kimi_latent(fields: Fields, query_rank: int | None) -> Attention:
    fields.ignore("num_key_value_heads", "head_dim")
    return blocks.latent(
        fields.integer("hidden_size"),
        fields.integer("num_attention_heads"),
        query_rank,
        fields.integer("kv_lora_rank"),
        fields.integer("qk_nope_head_dim"),
        fields.integer("qk_rope_head_dim"),
        fields.integer("v_head_dim"),
        bias=fields.flag("attention_bias", False),
    )


def _kimi_frame(fields: Fields, kinds: list[str], of_kind: dict[str, Attention], first: int) -> Model:
    width = shared_width(fields, "n_shared_experts", fields.integer("moe_intermediate_size"), 1)
    moe = _narrow(fields, routed(fields, "num_local_experts", shared=width))
    if not fields.has("mlp_layer_types"):
        fields.must_be("moe_layer_freq", 1)
    sparse = parts.sparse_layers(fields, len(kinds), first)
    return stack(fields, [of_kind[kind] for kind in kinds], sparse, moe, notes=(RECURRENT, BUFFER))


def _narrow(fields: Fields, moe: MoE) -> MoE:
    """The same experts in a space of `routed_expert_hidden_size`, where the config has one."""
    if not fields.has("routed_expert_hidden_size"):
        return moe
    d_model, latent = fields.integer("hidden_size"), fields.integer("routed_expert_hidden_size")
    has_norm = fields.has("latent_moe_use_norm") and fields.flag("latent_moe_use_norm", False)
    return dataclasses.replace(
        moe,
        expert=gated(latent, fields.integer("moe_intermediate_size")),
        shared=(*moe.shared, Matrix(d_model, latent), Matrix(latent, d_model)),
        router_vectors=latent * has_norm,
    )


def bailing_hybrid(fields: Fields) -> Model:
    """Ling 2.5: delta attention with gates of full rank; every sixth layer has latent attention, gated."""
    d_model, n_layers = fields.integer("hidden_size"), blocks.layer_count(fields)
    n_heads = fields.integer("num_attention_heads")
    d_head = (
        fields.integer("linear_head_dim") if fields.has("linear_head_dim") else fields.integer("head_dim")
    )
    linear = delta_attention(
        d_model, n_heads, d_head, fields.integer("short_conv_kernel_size", default=4), low_rank=False
    )
    period = fields.integer("layer_group_size", default=6)
    kinds = parts.layer_kinds(fields, n_layers, every(period, FULL, LINEAR), (FULL, LINEAR))
    full = parts.with_gate(_kimi_latent(fields, fields.optional("q_lora_rank")), d_model, n_heads)
    fields.ignore("linear_num_heads", "linear_conv_kernel_dim")
    return _kimi_frame(fields, kinds, {FULL: full, LINEAR: linear}, 2)
