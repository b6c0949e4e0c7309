"""Models of 2025 and later that vary the parts: sparse and linear attention, experts that do nothing."""

import dataclasses

from moe_lessons.accounting import blocks
from moe_lessons.accounting.families import qwen
from moe_lessons.accounting.families.deepseek import BUFFER, dense_first, latent_attention
from moe_lessons.accounting.fields import Fields
from moe_lessons.accounting.shapes import Attention, Cache, Dense, Layer, Matrix, Model, Read, gated


def indexed(attention: Attention, fields: Fields) -> Attention:
    """Latent attention to the `index_topk` positions that a lightning indexer scores highest.

    The indexer compares h_i small queries with one small key per position: h_i (d_i + 1) multiply-adds for
    each of all positions, and d_i more numbers in the cache. References: DeepSeek-V3.2, arXiv:2512.02556,
    section 2.
    """
    d_model, rank = fields.integer("hidden_size"), fields.integer("q_lora_rank")
    n_heads, d_head = fields.integer("index_n_heads"), fields.integer("index_head_dim")
    limit = fields.integer("index_topk")
    matrices = (Matrix(rank, n_heads * d_head), Matrix(d_model, d_head), Matrix(d_model, n_heads))
    score = Read(n_heads * (d_head + 1))
    limited = sparse(attention, limit)
    return dataclasses.replace(
        limited,
        matrices=attention.matrices + matrices,
        vectors=attention.vectors + 2 * d_head,
        reads=(*limited.reads, score),
        decode_reads=(*(limited.decode_reads or ()), score),
        cache=(*attention.cache, Cache(d_head)),
    )


def sparse(attention: Attention, limit: int) -> Attention:
    """The same attention, to at most `limit` chosen positions."""
    return dataclasses.replace(
        attention,
        reads=tuple(dataclasses.replace(read, limit=limit) for read in attention.reads),
        decode_reads=tuple(dataclasses.replace(read, limit=limit) for read in attention.decode_reads or ()),
    )


def deepseek_v32(fields: Fields) -> Model:
    """DeepSeek-V3.2: V3 with an indexer in every layer."""
    return dense_first(fields, indexed(latent_attention(fields), fields), notes=(BUFFER,))


def glm_moe_dsa(fields: Fields) -> Model:
    """GLM-5: the same, where layers may use the positions that an earlier layer's indexer chose."""
    n_layers = blocks.layer_count(fields)
    kinds = fields.words("indexer_types", n_layers, ("full", "shared"))
    if kinds is None:
        fields.must_be("index_topk_pattern", None)
        every = fields.integer("index_topk_freq", default=1)
        offset = fields.integer("index_skip_topk_offset", default=2, low=0)
        kinds = tuple("shared" if max(i - offset + 1, 0) % every else "full" for i in range(n_layers))
    own = latent_attention(fields)
    full = indexed(own, fields)
    shared = sparse(own, fields.integer("index_topk"))
    return dense_first(fields, [full if kind == "full" else shared for kind in kinds], notes=(BUFFER,))


def minimax_m2(fields: Fields) -> Model:
    """MiniMax-M2: queries and keys are normalised over all heads at once."""
    d_model = fields.integer("hidden_size")
    n_heads, n_kv_heads, d_head = blocks.head_counts(fields, width="required")
    attention = blocks.grouped_query(
        d_model, n_heads, n_kv_heads, d_head, vectors=(n_heads + n_kv_heads) * d_head
    )
    return blocks.uniform(
        fields, attention, blocks.gated_experts(fields, "num_local_experts"), notes=(BUFFER,)
    )


def delta_net(fields: Fields) -> Attention:
    """Gated DeltaNet: a state of d_k x d_v for each value head, whatever the length of the text.

    One token reads the state with its key, corrects it and reads it with its query: 3 d_k d_v multiply-adds a
    head, beside the projections and a short convolution. References: arXiv:2412.06464, equation 10.
    """
    d_model = fields.integer("hidden_size")
    key_heads, value_heads = fields.integer("linear_num_key_heads"), fields.integer("linear_num_value_heads")
    fields.require(
        "linear_num_value_heads",
        value_heads % key_heads == 0,
        f"choose a multiple of linear_num_key_heads={key_heads}",
    )
    d_key, d_value = fields.integer("linear_key_head_dim"), fields.integer("linear_value_head_dim")
    kernel = fields.integer("linear_conv_kernel_dim")
    keys, values = key_heads * d_key, value_heads * d_value
    mixed = 2 * keys + values
    return Attention(
        matrices=(
            Matrix(d_model, mixed + values),
            Matrix(d_model, value_heads, copies=2),
            Matrix(values, d_model),
        ),
        vectors=mixed * kernel + 2 * value_heads + d_value,
        reads=(),
        cache=(),
        saved_elements=d_model + 2 * mixed + 3 * values + 2 * value_heads,
        state_elements=value_heads * d_key * d_value + mixed * (kernel - 1),
        fixed_multiply_adds=3 * value_heads * d_key * d_value + mixed * kernel,
    )


def gated_attention(fields: Fields) -> Attention:
    """Grouped-query attention whose output is gated: the query projection is twice as wide."""
    d_model = fields.integer("hidden_size")
    n_heads, _, d_head = blocks.head_counts(fields, width="required")
    normal = qwen.qwen3_attention(fields)[0]
    gate = Matrix(d_model, n_heads * d_head, bias=fields.flag("attention_bias", False))
    return dataclasses.replace(
        normal,
        matrices=(*normal.matrices, gate),
        saved_elements=normal.saved_elements + 2 * n_heads * d_head,
    )


HYBRID = "linear attention is counted in its recurrent form, its state in the cache's dtype"


def hybrid(fields: Fields) -> list[Attention]:
    """Linear attention in most layers, full attention in every `full_attention_interval`-th."""
    n_layers = blocks.layer_count(fields)
    kinds = fields.words("layer_types", n_layers, ("linear_attention", "full_attention"))
    if kinds is None:
        interval = fields.integer("full_attention_interval", default=4)
        kinds = tuple("linear_attention" if (i + 1) % interval else "full_attention" for i in range(n_layers))
    of_kind = {"linear_attention": delta_net(fields), "full_attention": gated_attention(fields)}
    return [of_kind[kind] for kind in kinds]


def qwen3_next(fields: Fields) -> Model:
    """Qwen3-Next: hybrid attention, many small experts and a gated shared one."""
    moe = qwen.routed(fields, qwen.gated_shared_expert(fields))
    return dataclasses.replace(qwen.stack(fields, hybrid(fields), moe), notes=(HYBRID,))


def qwen3_5_moe(fields: Fields) -> Model:
    """Qwen3.5, the language model: the structure of Qwen3-Next with experts in every layer."""
    d_model = fields.integer("hidden_size")
    fields.ignore("intermediate_size")
    moe = qwen.routed(fields, qwen.gated_shared_expert(fields))
    layers = [Layer(d_model, attention, moe, norms=2 * d_model) for attention in hybrid(fields)]
    return blocks.decoder(fields, layers, notes=(HYBRID,))


def longcat_flash(fields: Fields) -> Model:
    """LongCat-Flash: two attentions, two dense networks and one mixture a layer; some experts do nothing.

    The router chooses among E experts and Z that return their input. References: arXiv:2509.01322, section 2.
    """
    d_model = fields.integer("hidden_size")
    n_layers = blocks.layer_count(fields, "num_layers")
    n_experts = fields.integer("n_routed_experts")
    n_zero = fields.integer("zero_expert_num", default=0, low=0)
    top_k = fields.integer("moe_topk", high=n_experts, note=f", as n_routed_experts={n_experts}")
    dense = Dense(gated(d_model, fields.integer("ffn_hidden_size")))
    fields.ignore("num_key_value_heads", "head_dim")
    moe = blocks.experts(
        d_model, n_experts, top_k, gated(d_model, fields.integer("expert_ffn_hidden_size")), n_zero=n_zero
    )
    half = Layer(d_model, latent_attention(fields), dense, norms=2 * d_model)
    mixture = Layer(d_model, None, moe, norms=0)
    note = "K counts the experts that do nothing: active parameters and FLOPs are the most a token can cost"
    return blocks.decoder(fields, [half, half, mixture] * n_layers, notes=(note, BUFFER))
