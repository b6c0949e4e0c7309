"""Families of one publisher and one shape: OLMoE, DBRX, Phi-MoE, gpt-oss, Llama 4, Grok-1."""

from moe_lessons.accounting import blocks
from moe_lessons.accounting.fields import Fields
from moe_lessons.accounting.shapes import Dense, Layer, Matrix, Model, gated, grouped


def olmoe(fields: Fields) -> Model:
    """OLMoE: queries and keys are normalised over their full width (arXiv:2409.02060, section 2)."""
    d_model = fields.integer("hidden_size")
    n_heads, n_kv_heads, d_head = blocks.head_counts(fields, kv_default=True)
    bias = fields.flag("attention_bias", False)
    attention = blocks.grouped_query(
        d_model,
        n_heads,
        n_kv_heads,
        d_head,
        qkv_bias=bias,
        output_bias=bias,
        vectors=d_model + n_kv_heads * (d_model // n_heads),
    )
    return blocks.uniform(fields, attention, blocks.gated_experts(fields, "num_experts"))


def dbrx(fields: Fields) -> Model:
    """DBRX: its config nests attention and experts (github.com/databricks/dbrx, model/modeling_dbrx.py)."""
    d_model, n_heads = fields.integer("d_model"), fields.integer("n_heads")
    fields.require("d_model", d_model % n_heads == 0, f"choose a multiple of n_heads={n_heads}")
    attn, ffn = fields.section("attn_config"), fields.section("ffn_config")
    n_kv_heads = attn.integer("kv_n_heads")
    attn.require("kv_n_heads", n_heads % n_kv_heads == 0, f"choose a divisor of n_heads={n_heads}")
    attention = blocks.grouped_query(d_model, n_heads, n_kv_heads, d_model // n_heads)
    moe = blocks.experts(
        d_model,
        *blocks.experts_of(ffn, "moe_num_experts", "moe_top_k"),
        gated(d_model, ffn.integer("ffn_hidden_size")),
    )
    layer = Layer(d_model, attention, moe, norms=2 * d_model)
    fields.must_be("tie_word_embeddings", False)
    return Model(
        name="",
        family="",
        vocab_size=fields.integer("vocab_size"),
        d_model=d_model,
        layers=grouped([layer] * blocks.layer_count(fields, "n_layers")),
        tied=False,
        final_norms=d_model,
    )


def phimoe(fields: Fields) -> Model:
    """Phi-3.5-MoE: LayerNorm, and biases in attention and head (arXiv:2404.14219)."""
    d_model = fields.integer("hidden_size")
    bias = fields.flag("attention_bias", False)
    attention = blocks.grouped_query(
        d_model,
        *blocks.head_counts(fields),
        qkv_bias=bias,
        output_bias=bias,
        window=fields.optional("sliding_window"),
    )
    return blocks.uniform(
        fields,
        attention,
        blocks.gated_experts(fields, "num_local_experts"),
        norms=4,
        head_bias=fields.flag("lm_head_bias", False),
        final_norms=2 * d_model,
    )


def gpt_oss(fields: Fields) -> Model:
    """gpt-oss: biases everywhere, one attention sink a head, every other layer sees 128 positions.

    References: arXiv:2508.10925, section 2; github.com/openai/gpt-oss, gpt_oss/torch/model.py.
    """
    d_model = fields.integer("hidden_size")
    n_heads, n_kv_heads = fields.integer("num_attention_heads"), fields.integer("num_key_value_heads")
    blocks.check_groups(fields, n_heads, n_kv_heads)
    d_head = fields.integer("head_dim", default=64)
    bias = fields.flag("attention_bias", True)
    n_layers = blocks.layer_count(fields)
    kinds = ("full_attention", "sliding_attention")
    layer_types = fields.words("layer_types", n_layers, kinds) or [kinds[i % 2 == 0] for i in range(n_layers)]
    window = fields.integer("sliding_window", default=128)
    moe = blocks.experts(
        d_model,
        *blocks.experts_of(fields, "num_local_experts", "num_experts_per_tok"),
        gated(d_model, fields.integer("intermediate_size"), bias=True),
        router_bias=True,
    )
    layers = []
    for kind in layer_types:
        attention = blocks.grouped_query(
            d_model,
            n_heads,
            n_kv_heads,
            d_head,
            qkv_bias=bias,
            output_bias=bias,
            vectors=n_heads,
            window=window if kind == "sliding_attention" else None,
        )
        layers.append(Layer(d_model, attention, moe, norms=2 * d_model))
    return blocks.decoder(fields, layers)


def llama4_text(fields: Fields) -> Model:
    """Llama 4, the language model: one shared expert beside one routed expert.

    Layers with rotary positions see chunks of the text, every fourth sees all of it.
    References: github.com/meta-llama/llama-models, models/llama4.
    """
    d_model = fields.integer("hidden_size")
    n_heads, n_kv_heads, d_head = blocks.head_counts(fields, width="required")
    bias = fields.flag("attention_bias", False)
    n_layers = blocks.layer_count(fields)
    step = fields.integer("interleave_moe_layer_step", default=1)
    listed = fields.integers("moe_layers", high=n_layers - 1)
    sparse = set(range(step - 1, n_layers, step) if listed is None else listed)
    interval = fields.integer("no_rope_layer_interval", default=4)
    rotary = fields.integers("no_rope_layers", high=1) or [(i + 1) % interval != 0 for i in range(n_layers)]
    fields.require(
        "no_rope_layers", len(rotary) == n_layers, f"choose a list of {n_layers}, one for each layer"
    )
    chunk = fields.integer("attention_chunk_size", default=8192)
    d_expert = fields.integer("intermediate_size")
    moe = blocks.experts(
        d_model,
        *blocks.experts_of(fields, "num_local_experts", "num_experts_per_tok"),
        gated(d_model, d_expert),
        shared=gated(d_model, d_expert),
    )
    dense = None
    fields.ignore("intermediate_size_mlp", "layer_types")
    if len(sparse) < n_layers:
        dense = Dense(gated(d_model, fields.integer("intermediate_size_mlp")))
    layers = []
    for i in range(n_layers):
        attention = blocks.grouped_query(
            d_model,
            n_heads,
            n_kv_heads,
            d_head,
            qkv_bias=bias,
            output_bias=bias,
            window=chunk if rotary[i] else None,
            chunked=bool(rotary[i]),
        )
        layers.append(Layer(d_model, attention, moe if i in sparse else dense, norms=2 * d_model))
    return blocks.decoder(fields, layers)


def grok_1(fields: Fields) -> Model:
    """Grok-1: four norms a layer, a tied embedding; the fields are those of its run.py.

    The hidden width is `widening_factor` D * 2 / 3, rounded up to a multiple of 8.
    References: github.com/xai-org/grok-1, run.py and model.py.
    """
    d_model = fields.integer("emb_size")
    n_heads, n_kv_heads = fields.integer("num_q_heads"), fields.integer("num_kv_heads")
    fields.require("num_kv_heads", n_heads % n_kv_heads == 0, f"choose a divisor of num_q_heads={n_heads}")
    attention = blocks.grouped_query(d_model, n_heads, n_kv_heads, fields.integer("key_size"))
    d_expert = fields.integer("widening_factor") * d_model * 2 // 3
    d_expert += -d_expert % 8
    n_experts, top_k = blocks.experts_of(fields, "num_experts", "num_selected_experts")
    moe = blocks.experts(
        d_model, n_experts, top_k, (Matrix(d_model, d_expert, copies=2), Matrix(d_expert, d_model))
    )
    layer = Layer(d_model, attention, moe, norms=4 * d_model)
    return Model(
        name="",
        family="",
        vocab_size=fields.integer("vocab_size"),
        d_model=d_model,
        layers=grouped([layer] * blocks.layer_count(fields, "num_layers")),
        tied=True,
        final_norms=d_model,
    )
