"""What the readers of many families share: kinds of layers, attention with gates and norms, experts."""

import dataclasses
from collections.abc import Callable, Sequence

from moe_lessons.accounting import blocks
from moe_lessons.accounting.fields import MAX_LAYERS, Fields
from moe_lessons.accounting.shapes import Attention, Dense, Layer, Matrix, Model, MoE, gated

FULL, SLIDING, LINEAR, INDEXED = (
    "full_attention",
    "sliding_attention",
    "linear_attention",
    "indexed_attention",
)
# Names of earlier configs for the same kinds.
OLD_NAMES = {"attention": FULL, "mamba": LINEAR, "hybrid_mamba": LINEAR}
# Where a publisher's code stores the selection bias as a parameter, it is in the published total.
COUNTED_BIAS = "the router's selection bias, E numbers a layer, is counted: the published weights hold it"


def layer_kinds(
    fields: Fields,
    n_layers: int,
    default: Callable[[int], str],
    allowed: Sequence[str] = (FULL, SLIDING),
    name: str = "layer_types",
) -> list[str]:
    """The kind of each layer: as listed, or by the family's rule, which `default` gives for layer i."""
    if not fields.has(name):
        fields.assume(name, "the family's rule")
        return [default(i) for i in range(n_layers)]
    listed = fields.values[name]
    if isinstance(listed, list):
        listed = [OLD_NAMES.get(kind, kind) if isinstance(kind, str) else kind for kind in listed]
        # Layers for multi-token prediction are listed behind the others.
        fields.values = {**fields.values, name: listed[:n_layers]}
    words = fields.words(name, n_layers, allowed)
    return list(words or ())


def sparse_layers(fields: Fields, n_layers: int, first: int | None = None) -> list[bool]:
    """Which layers hold experts: `mlp_layer_types`, or all from `first_k_dense_replace` on."""
    if fields.has("mlp_layer_types"):
        kinds = layer_kinds(fields, n_layers, lambda i: "", ("dense", "sparse"), "mlp_layer_types")
        fields.ignore("first_k_dense_replace", "moe_layer_freq")
        return [kind == "sparse" for kind in kinds]
    n_dense = fields.integer("first_k_dense_replace", default=first, low=0, high=MAX_LAYERS)
    return [i >= n_dense for i in range(n_layers)]


def every(n: int, one: str, rest: str) -> Callable[[int], str]:
    """Layers n, 2n, ... are of one kind, counted from 1, and the rest of another."""
    return lambda i: rest if (i + 1) % n else one


def gqa(
    d_model: int,
    heads: tuple[int, int, int],
    *,
    bias: bool = False,
    output_bias: bool | None = None,
    norms: bool = False,
    sinks: bool = False,
    gate: int = 0,
    extra: int = 0,
    window: int | None = None,
) -> Attention:
    """Grouped-query attention with what newer models add.

    `norms` normalises queries and keys head by head, `sinks` adds one number a head to the softmax, `gate` is
    the width of a projection whose sigmoid weighs the output, `extra` counts further vectors.
    """
    n_heads, n_kv_heads, d_head = heads
    attention = blocks.grouped_query(
        d_model,
        n_heads,
        n_kv_heads,
        d_head,
        qkv_bias=bias,
        output_bias=bias if output_bias is None else output_bias,
        vectors=2 * d_head * norms + n_heads * sinks + extra,
        window=window,
    )
    return with_gate(attention, d_model, gate) if gate else attention


def gates_by_head(fields: Fields) -> bool:
    """Whether attention has a gate for each head, or one for each number."""
    if not fields.has("gating"):
        fields.assume("gating", True)
        return True
    return fields.values["gating"] in (True, "per-head")


def with_gate(attention: Attention, d_model: int, width: int) -> Attention:
    """The same, with a projection of the input that weighs the output."""
    return dataclasses.replace(
        attention,
        matrices=(*attention.matrices, Matrix(d_model, width)),
        saved_elements=attention.saved_elements + 2 * width,
    )


def windowed(fields: Fields, kinds: list[str], default: int | None = None) -> list[int | None]:
    """The window of each layer; None where it sees everything."""
    if SLIDING not in kinds:
        fields.ignore("sliding_window")
        return [None] * len(kinds)
    window = fields.integer("sliding_window", default=default)
    return [window if kind == SLIDING else None for kind in kinds]


def shared_width(fields: Fields, name: str, d_expert: int, default: int | None = None) -> int:
    """The width of all shared experts together, where the config says how many there are."""
    return fields.integer(name, default=default, low=0) * d_expert


def routed(
    fields: Fields,
    n_name: str = "n_routed_experts",
    *,
    width: str = "moe_intermediate_size",
    shared: int = 0,
    k_name: str = "num_experts_per_tok",
    bias: bool = False,
    router_vectors: int = 0,
) -> MoE:
    """Gated experts of the width in field `width`, beside shared ones of `shared` in all."""
    d_model = fields.integer("hidden_size")
    n_experts, top_k = blocks.experts_of(fields, n_name, k_name)
    fields.ignore("n_group", "topk_group")
    moe = blocks.experts(
        d_model,
        n_experts,
        top_k,
        gated(d_model, fields.integer(width)),
        shared=gated(d_model, shared, bias) if shared else (),
    )
    return dataclasses.replace(moe, router_vectors=router_vectors)


def stack(
    fields: Fields,
    attentions: Sequence[Attention],
    sparse: Sequence[bool],
    moe: MoE | None,
    *,
    dense: str = "intermediate_size",
    mlp_bias: bool = False,
    norms: int = 2,
    notes: tuple[str, ...] = (),
    tied_default: bool = False,
    other: tuple[tuple[Matrix, ...], int] = ((), 0),
    head_bias: bool = False,
) -> Model:
    """Layers of given attention and feed-forward parts, each with so many norms of the model's width."""
    d_model = fields.integer("hidden_size")
    ffn = None if all(sparse) else Dense(gated(d_model, fields.integer(dense), mlp_bias))
    if ffn is None:
        fields.ignore(dense)
    layers = [
        Layer(
            d_model,
            attention,
            moe if is_sparse else ffn,
            norms=norms * d_model,
            other=other[0],
            other_vectors=other[1],
        )
        for attention, is_sparse in zip(attentions, sparse, strict=True)
    ]
    return blocks.decoder(fields, layers, notes=notes, tied_default=tied_default, head_bias=head_bias)
