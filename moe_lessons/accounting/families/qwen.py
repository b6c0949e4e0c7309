"""Qwen's mixtures of experts, of the second and third generation, and their dense siblings."""

from moe_lessons.accounting import blocks
from moe_lessons.accounting.fields import Fields
from moe_lessons.accounting.shapes import Attention, Dense, Layer, Matrix, Model, MoE, gated

KINDS = ("full_attention", "sliding_attention")


def sparse_layers(fields: Fields, n_layers: int) -> list[bool]:
    """Which layers hold experts: every `decoder_sparse_step`-th, unless listed in `mlp_only_layers`."""
    step = fields.integer("decoder_sparse_step", default=1)
    dense = set(fields.integers("mlp_only_layers", high=n_layers - 1) or ())
    return [(i + 1) % step == 0 and i not in dense for i in range(n_layers)]


def windows(fields: Fields, n_layers: int) -> list[int | None]:
    """The sliding window of each layer; None where a layer sees everything."""
    if not fields.flag("use_sliding_window", False):
        return [None] * n_layers
    window = fields.integer("sliding_window", default=4096)
    kinds = fields.words("layer_types", n_layers, KINDS)
    if kinds is None:
        last = fields.integer("max_window_layers", default=28, low=0)
        kinds = tuple(KINDS[i % 2 == 0 and i < last] for i in range(n_layers))
    return [window if kind == "sliding_attention" else None for kind in kinds]


def stack(fields: Fields, attentions: list[Attention], moe: MoE | None) -> Model:
    """Layers with experts where `moe` is given and the config says so, else with a dense network."""
    d_model = fields.integer("hidden_size")
    n_layers = len(attentions)
    sparse = sparse_layers(fields, n_layers) if moe else [False] * n_layers
    dense = None if all(sparse) else Dense(gated(d_model, fields.integer("intermediate_size")))
    fields.ignore("intermediate_size", "layer_types")
    layers = [
        Layer(d_model, attention, moe if is_sparse else dense, norms=2 * d_model)
        for attention, is_sparse in zip(attentions, sparse, strict=True)
    ]
    return blocks.decoder(fields, layers)


def qwen2_attention(fields: Fields) -> list[Attention]:
    """Grouped-query attention with biases on queries, keys and values."""
    d_model, heads = fields.integer("hidden_size"), blocks.head_counts(fields)
    bias = fields.flag("qkv_bias", True)
    return [
        blocks.grouped_query(d_model, *heads, qkv_bias=bias, window=window)
        for window in windows(fields, blocks.layer_count(fields))
    ]


def qwen3_attention(fields: Fields) -> list[Attention]:
    """Grouped-query attention; queries and keys are normalised head by head (2 d_h parameters)."""
    d_model, (n_heads, n_kv_heads, d_head) = (
        fields.integer("hidden_size"),
        blocks.head_counts(fields, width="assumed"),
    )
    bias = fields.flag("attention_bias", False)
    window = (
        fields.integer("sliding_window", default=4096) if fields.flag("use_sliding_window", False) else None
    )
    one = blocks.grouped_query(
        d_model,
        n_heads,
        n_kv_heads,
        d_head,
        qkv_bias=bias,
        output_bias=bias,
        vectors=2 * d_head,
        window=window,
    )
    return [one] * blocks.layer_count(fields)


def routed(fields: Fields, shared: tuple[Matrix, ...] = ()) -> MoE:
    """A softmax router over experts of width `moe_intermediate_size`."""
    d_model = fields.integer("hidden_size")
    n_experts, top_k = blocks.experts_of(fields, "num_experts", "num_experts_per_tok")
    expert = gated(d_model, fields.integer("moe_intermediate_size"))
    return blocks.experts(d_model, n_experts, top_k, expert, shared=shared)


def gated_shared_expert(fields: Fields) -> tuple[Matrix, ...]:
    """A shared expert, and the one row whose sigmoid weighs it."""
    d_model = fields.integer("hidden_size")
    return *gated(d_model, fields.integer("shared_expert_intermediate_size")), Matrix(d_model, 1)


def qwen2_moe(fields: Fields) -> Model:
    """Qwen1.5-MoE and Qwen2-57B-A14B (arXiv:2407.10671, section 2.2.2)."""
    return stack(fields, qwen2_attention(fields), routed(fields, gated_shared_expert(fields)))


def qwen3_moe(fields: Fields) -> Model:
    """Qwen3-30B-A3B and Qwen3-235B-A22B (arXiv:2505.09388, section 2): no shared expert."""
    return stack(fields, qwen3_attention(fields), routed(fields))


def qwen2(fields: Fields) -> Model:
    """Qwen2 and Qwen2.5, dense."""
    fields.must_be("qkv_bias", True)
    return stack(fields, qwen2_attention(fields), None)


def qwen3(fields: Fields) -> Model:
    """Qwen3, dense."""
    return stack(fields, qwen3_attention(fields), None)
