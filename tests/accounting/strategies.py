"""Small configs of every family, drawn by hypothesis. All sizes vary; layers are few."""

from hypothesis import strategies as st

sizes = st.integers(1, 48)
flags = st.booleans()


@st.composite
def base(draw, head_dim=True, divides=False, even=2):
    """Width, heads, layers and vocabulary; `divides` makes the width a multiple of the heads."""
    n_kv_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    n_heads = n_kv_heads * group
    d_head = even * draw(st.integers(1, 6))
    config = {
        "vocab_size": draw(st.integers(3, 99)),
        "hidden_size": n_heads * d_head if divides else 2 * draw(st.integers(1, 24)),
        "num_hidden_layers": draw(st.integers(1, 4)),
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_kv_heads,
        "tie_word_embeddings": draw(flags),
        "intermediate_size": draw(sizes),
        "pad_token_id": None,
    }
    if head_dim:
        config["head_dim"] = d_head
    return config


@st.composite
def chosen(draw, n_name, k_name):
    n_experts = draw(st.integers(1, 8))
    return {n_name: n_experts, k_name: draw(st.integers(1, n_experts))}


@st.composite
def latent(draw, ranks=True):
    """Sizes of multi-head latent attention and of V3's experts."""
    groups = draw(st.integers(1, 3))
    n_experts = groups * draw(st.integers(2, 4))
    config = draw(base(head_dim=False, divides=True)) | {
        "q_lora_rank": draw(sizes if ranks else st.none() | sizes),
        "kv_lora_rank": draw(sizes),
        "qk_nope_head_dim": draw(sizes),
        "qk_rope_head_dim": 2 * draw(st.integers(1, 8)),
        "v_head_dim": draw(sizes),
        "attention_bias": draw(flags),
        "moe_intermediate_size": draw(sizes),
        "n_routed_experts": n_experts,
        "num_experts_per_tok": draw(st.integers(1, n_experts)),
        "n_shared_experts": draw(st.integers(1, 3)),
        "n_group": groups,
        "topk_group": draw(st.integers(1, groups)),
    }
    config["num_key_value_heads"] = config["num_attention_heads"]
    config["first_k_dense_replace"] = draw(st.integers(0, config["num_hidden_layers"] + 1))
    return config


def of(family, *parts, **extra):
    """A config of `family` that joins several drawn dicts and drawn single fields."""
    return st.tuples(*parts, st.fixed_dictionaries(extra)).map(
        lambda drawn: {"model_type": family} | {k: v for part in drawn for k, v in part.items()}
    )


qwen_experts = chosen("num_experts", "num_experts_per_tok")
local_experts = chosen("num_local_experts", "num_experts_per_tok")


@st.composite
def dbrx(draw):
    n_kv_heads, group, d_head = draw(st.integers(1, 3)), draw(st.integers(1, 3)), 2 * draw(st.integers(1, 6))
    experts = draw(chosen("moe_num_experts", "moe_top_k"))
    return {
        "model_type": "dbrx",
        "d_model": n_kv_heads * group * d_head,
        "n_heads": n_kv_heads * group,
        "n_layers": draw(st.integers(1, 3)),
        "vocab_size": draw(st.integers(3, 99)),
        "attn_config": {"kv_n_heads": n_kv_heads, "rope_theta": 10000},
        "ffn_config": {"ffn_hidden_size": draw(sizes), **experts},
    }


@st.composite
def switch(draw):
    n_layers, n_decoder = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return {
        "model_type": "switch_transformers",
        "d_model": draw(sizes),
        "d_kv": draw(sizes),
        "d_ff": draw(sizes),
        "num_layers": n_layers,
        "num_decoder_layers": n_decoder,
        "num_sparse_encoder_layers": draw(st.integers(0, n_layers)),
        "num_sparse_decoder_layers": draw(st.integers(0, n_decoder)),
        "num_heads": draw(st.integers(1, 4)),
        "num_experts": draw(st.integers(1, 5)),
        "vocab_size": draw(st.integers(3, 99)),
        "router_bias": draw(flags),
        "relative_attention_num_buckets": draw(st.integers(4, 20)),
        "tie_word_embeddings": True,
    }


@st.composite
def longcat(draw):
    config = draw(latent())
    n_layers = config.pop("num_hidden_layers")
    # Here these are other names of fields below.
    for alias in ("intermediate_size", "moe_intermediate_size", "num_experts_per_tok"):
        top_k = config.pop(alias)
    # transformers 5.23.0 allocates gate and up matrices for experts that do nothing, so none are drawn here.
    return config | {
        "model_type": "longcat_flash",
        "num_layers": n_layers,
        "ffn_hidden_size": draw(sizes),
        "expert_ffn_hidden_size": draw(sizes),
        "moe_topk": top_k,
        "zero_expert_num": 0,
    }


@st.composite
def deepseek_v4(draw):
    config = draw(base(head_dim=False)) | draw(chosen("n_routed_experts", "num_experts_per_tok"))
    del config["intermediate_size"]
    kinds = ("sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention")
    n_layers = config["num_hidden_layers"]
    return config | {
        "model_type": "deepseek_v4",
        "num_key_value_heads": 1,
        "head_dim": 16,
        "qk_rope_head_dim": 8,
        "q_lora_rank": draw(sizes),
        "o_groups": draw(st.sampled_from([1, 2, 4])),
        "o_lora_rank": draw(sizes),
        "sliding_window": draw(sizes),
        "moe_intermediate_size": draw(sizes),
        "index_n_heads": draw(st.integers(1, 4)),
        "index_head_dim": 8 * draw(st.integers(1, 3)),
        "index_topk": draw(sizes),
        "hc_mult": draw(st.integers(1, 4)),
        "mlp_bias": draw(flags),
        "layer_types": [draw(st.sampled_from(kinds)) for _ in range(n_layers)],
    }


llama4 = {
    "intermediate_size_mlp": sizes,
    "interleave_moe_layer_step": st.integers(1, 3),
    "use_qk_norm": flags,
    "attention_bias": flags,
    "attention_chunk_size": st.integers(1, 64),
}
indexer = {"index_n_heads": st.integers(1, 4), "index_head_dim": st.just(32), "index_topk": sizes}
linear = {
    "linear_conv_kernel_dim": st.integers(2, 5),
    "linear_key_head_dim": sizes,
    "linear_value_head_dim": sizes,
    "linear_num_key_heads": st.just(2),
    "linear_num_value_heads": st.sampled_from([2, 4, 6]),
    "shared_expert_intermediate_size": sizes,
    "attention_bias": flags,
}
narrow = {"moe_intermediate_size": sizes}
sparse_steps = {
    "decoder_sparse_step": st.integers(1, 3),
    "mlp_only_layers": st.just([]) | st.just([0]),
}

CONFIGS = {
    "llama": of("llama", base(divides=True), attention_bias=flags, mlp_bias=flags),
    "mistral": of("mistral", base(), sliding_window=st.none() | sizes),
    "mixtral": of("mixtral", base(), local_experts, sliding_window=st.none() | sizes),
    "qwen2": of("qwen2", base(head_dim=False, divides=True)),
    "qwen2_moe": of(
        "qwen2_moe",
        base(head_dim=False, divides=True),
        qwen_experts,
        shared_expert_intermediate_size=sizes,
        qkv_bias=flags,
        use_sliding_window=flags,
        max_window_layers=st.integers(0, 4),
        **narrow,
        **sparse_steps,
    ),
    "qwen3": of("qwen3", base(), attention_bias=flags),
    "qwen3_moe": of("qwen3_moe", base(), qwen_experts, attention_bias=flags, **narrow, **sparse_steps),
    "olmoe": of("olmoe", base(head_dim=False, divides=True), qwen_experts, attention_bias=flags),
    "dbrx": dbrx(),
    "phimoe": of(
        "phimoe", base(head_dim=False, divides=True), local_experts, attention_bias=flags, lm_head_bias=flags
    ),
    "gpt_oss": of("gpt_oss", base(), local_experts, attention_bias=flags, sliding_window=sizes),
    "deepseek_v2": of("deepseek_v2", latent(ranks=False), mlp_bias=flags),
    "deepseek_v3": of("deepseek_v3", latent(ranks=False)),
    "kimi_k2": of("kimi_k2", latent()),
    "glm4_moe": of("glm4_moe", latent(), base(), use_qk_norm=flags),
    "llama4_text": of("llama4_text", base(), local_experts, **llama4),
    "switch_transformers": switch(),
    "deepseek_v32": of("deepseek_v32", latent(), qk_rope_head_dim=st.just(16), **indexer),
    "deepseek_v4": deepseek_v4(),
    "dots1": of(
        "dots1", latent(), base(), max_window_layers=st.integers(0, 3), sliding_window=st.none() | sizes
    ),
    "flex_olmo": of("flex_olmo", base(head_dim=False, divides=True), qwen_experts, attention_bias=flags),
    "granitemoe": of("granitemoe", base(head_dim=False, divides=True), local_experts, attention_bias=flags),
    "glm4_moe_lite": of("glm4_moe_lite", latent(ranks=False), first_k_dense_replace=st.just(1)),
    "glm_moe_dsa": of(
        "glm_moe_dsa",
        latent(),
        qk_rope_head_dim=st.just(16),
        index_topk_freq=st.integers(1, 4),
        index_skip_topk_offset=st.integers(0, 3),
        **indexer,
    ),
    "longcat_flash": longcat(),
    "minimax_m2": of("minimax_m2", base(), local_experts),
    "mistral4": of("mistral4", latent(ranks=False), qk_nope_head_dim=st.just(8), qk_rope_head_dim=st.just(8)),
    "qwen3_5_moe_text": of("qwen3_5_moe_text", base(even=8), qwen_experts, **narrow, **linear),
    "qwen3_next": of("qwen3_next", base(even=8), qwen_experts, **narrow, **linear, **sparse_steps),
}
