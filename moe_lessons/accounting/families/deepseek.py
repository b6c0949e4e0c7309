"""DeepSeek-V2 and V3, Kimi-K2, GLM-4.5: fine-grained and shared experts, the first layers dense."""

from moe_lessons.accounting import blocks
from moe_lessons.accounting.fields import MAX_LAYERS, Fields
from moe_lessons.accounting.shapes import Attention, Dense, Layer, Model, gated


def latent_attention(fields: Fields) -> Attention:
    """Multi-head latent attention; without `q_lora_rank` the queries have no latent."""
    return blocks.latent(
        fields.integer("hidden_size"),
        fields.integer("num_attention_heads"),
        fields.nullable("q_lora_rank"),
        fields.integer("kv_lora_rank"),
        fields.integer("qk_nope_head_dim"),
        fields.integer("qk_rope_head_dim"),
        fields.integer("v_head_dim"),
        bias=fields.flag("attention_bias", False),
    )


def dense_first(
    fields: Fields,
    attention: Attention | list[Attention],
    *,
    mlp_bias: bool = False,
    notes: tuple[str, ...] = (),
    n_shared_default: int = 1,
) -> Model:
    """The first `first_k_dense_replace` layers are dense, the others hold routed and shared experts.

    active = total - L_moe (E - K) 3 D F. One attention serves every layer, or a list has one for each.
    """
    d_model = fields.integer("hidden_size")
    n_layers = blocks.layer_count(fields)
    sparse = sparse_layers(fields, n_layers)
    fields.must_be("moe_layer_freq", 1)
    n_experts, top_k = blocks.experts_of(fields, "n_routed_experts", "num_experts_per_tok")
    check_groups(fields, n_experts)
    d_expert = fields.integer("moe_intermediate_size")
    null = "n_shared_experts" in fields.values  # published code takes null for none
    n_shared = fields.integer("n_shared_experts", default=0 if null else n_shared_default, low=0)
    shared = gated(d_model, n_shared * d_expert, mlp_bias) if n_shared else ()
    moe = blocks.experts(d_model, n_experts, top_k, gated(d_model, d_expert), shared=shared)
    dense = None
    fields.ignore("intermediate_size", "num_key_value_heads", "head_dim", "layer_types", "mlp_bias")
    if not all(sparse):
        dense = Dense(gated(d_model, fields.integer("intermediate_size"), mlp_bias))
    attentions = attention if isinstance(attention, list) else [attention] * n_layers
    layers = [
        Layer(d_model, own, moe if is_sparse else dense, norms=2 * d_model)
        for own, is_sparse in zip(attentions, sparse, strict=True)
    ]
    return blocks.decoder(fields, layers, notes=notes)


def sparse_layers(fields: Fields, n_layers: int) -> list[bool]:
    """Which layers hold experts: all but the first few, unless the config lists them."""
    kinds = fields.words("mlp_layer_types", n_layers, ("dense", "sparse"))
    if kinds is not None:
        return [kind == "sparse" for kind in kinds]
    n_dense = fields.integer("first_k_dense_replace", low=0, high=MAX_LAYERS)
    return [i >= n_dense for i in range(n_layers)]


def check_groups(fields: Fields, n_experts: int) -> None:
    """Groups limit where a token may go and cost no parameters, yet they must divide the experts."""
    n_groups = fields.optional("n_group")
    if n_groups is None:
        return
    fields.require("n_group", n_experts % n_groups == 0, f"choose a divisor of n_routed_experts={n_experts}")
    if fields.has("topk_group"):
        fields.integer("topk_group", high=n_groups, note=f", as n_group={n_groups}")


def deepseek_v2(fields: Fields) -> Model:
    """DeepSeek-V2 and V2-Lite (arXiv:2405.04434, sections 2.1 and 2.2)."""
    bias = fields.flag("mlp_bias", False)
    return dense_first(fields, latent_attention(fields), mlp_bias=bias, n_shared_default=2)


BUFFER = "the router's selection bias is a buffer, not a parameter: E numbers a layer, left out"


def deepseek_v3(fields: Fields) -> Model:
    """DeepSeek-V3 and R1 (arXiv:2412.19437, sections 2.1 and 4.2), Kimi-K2 (arXiv:2507.20534, table 2)."""
    return dense_first(fields, latent_attention(fields), notes=(BUFFER,))


def mistral4(fields: Fields) -> Model:
    """Mistral Small 4: V3's structure with a softmax router, which has no selection bias."""
    return dense_first(fields, latent_attention(fields))


def glm4_moe(fields: Fields) -> Model:
    """GLM-4.5: V3's experts on grouped-query attention (arXiv:2508.06471, section 2.1)."""
    n_heads, n_kv_heads, d_head = blocks.head_counts(fields, width="assumed")
    attention = blocks.grouped_query(
        fields.integer("hidden_size"),
        n_heads,
        n_kv_heads,
        d_head,
        qkv_bias=fields.flag("attention_bias", False),
        vectors=2 * d_head if fields.flag("use_qk_norm", False) else 0,
    )
    return dense_first(fields, attention, notes=(BUFFER,))
