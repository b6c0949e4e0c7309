"""Small configs of every family with experts that transformers has, and one changed field at a time."""

import dataclasses
import importlib
import re
import warnings

import torch
import transformers

# Every model type of transformers 5.23 whose blocks have experts; DBRX nests its fields and is drawn apart.
FAMILIES = [
    "afmoe",
    "aria",
    "axk1",
    "axk2",
    "bailing_hybrid",
    "beam",
    "cohere2_moe",
    "deepseek_ocr2",
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "deepseek_v4",
    "diffusion_gemma",
    "doge",
    "dots1",
    "dots3_note",
    "ernie4_5_moe",
    "ernie4_5_vl_moe",
    "exaone_moe",
    "flex_olmo",
    "flint",
    "gemma4",
    "glm4_moe",
    "glm4_moe_lite",
    "glm4v_moe",
    "glm5_next",
    "glm_moe_dsa",
    "gpt_oss",
    "granitemoe",
    "granitemoe_swa",
    "granitemoehybrid",
    "granitemoeshared",
    "hunyuan_v1_moe",
    "hy_v3",
    "hy_v4",
    "inkling",
    "inkling2",
    "jamba",
    "jetmoe",
    "kimi_linear",
    "kolibri1",
    "laguna",
    "lfm2_moe",
    "llama4",
    "longcat_flash",
    "mellum",
    "mimo_v2_flash",
    "minimax",
    "minimax_m2",
    "minimax_m3_vl",
    "mistral4",
    "mistral_large4",
    "mixtral",
    "muse_spark",
    "nemotron_h",
    "nllb_moe",
    "olmoe",
    "openai_privacy_filter",
    "phimoe",
    "qwen2_moe",
    "qwen3_5_moe",
    "qwen3_moe",
    "qwen3_next",
    "qwen3_omni_moe",
    "qwen3_vl_moe",
    "qwen4_exp",
    "solar_open",
    "step3p7",
    "switch_transformers",
    "unlimited_ocr",
    "zaya",
]

# What to make of a field wherever a family has it; all sizes differ, layers are few.
SMALL = {
    "vocab_size": 47,
    "hidden_size": 24,
    "d_model": 24,
    "num_hidden_layers": 5,
    "num_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "intermediate_size": 20,
    "dense_intermediate_size": 28,
    "moe_intermediate_size": 12,
    "shared_intermediate_size": 14,
    "shared_expert_intermediate_size": 16,
    "shared_experts_intermediate_size": 16,
    "moe_shared_expert_intermediate_size": 16,
    "share_expert_dim": 18,
    "num_experts": 6,
    "num_local_experts": 6,
    "n_routed_experts": 6,
    "moe_num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "moe_k": 2,
    "top_k_experts": 2,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 10,
    "kv_lora_rank": 14,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 6,
    "index_n_heads": 2,
    "index_head_dim": 16,
    "index_topk": 4,
    "linear_head_dim": 6,
    "linear_num_heads": 3,
    "linear_conv_kernel_dim": 3,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 6,
    "linear_value_head_dim": 10,
    "mamba_n_heads": 4,
    "mamba_d_state": 5,
    "mamba_num_heads": 4,
    "mamba_head_dim": 6,
    "ssm_state_size": 5,
    "n_groups": 2,
    "moe_hidden_size": 18,
    "moe_latent_size": 22,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "swa_num_attention_heads": 6,
    "swa_num_key_value_heads": 3,
    "swa_head_dim": 8,
    "d_rel": 3,
    "rel_extent": 9,
    "sliding_window": 7,
    "sliding_window_size": 7,
    "kv_channels": 6,
    "router_hidden_size": 7,
    "gated_norm_rank": 5,
    "hc_mult": 2,
    "hc_count": 2,
    "hc_lowrank": 5,
    "index_kpool": 3,
    "hidden_size_per_layer_input": 5,
    "vocab_size_per_layer_input": 31,
    "encoder_layers": 4,
    "decoder_layers": 5,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 28,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 3,
    "max_position_embeddings": 64,
    "ngram_vocab_size_base": 50,
    "heads_per_ngram": 2,
    "num_sliding_attention_heads": 6,
    "num_heads": 4,
    "d_kv": 6,
    "d_ff": 20,
    "o_lora_rank": 9,
    "num_sparse_encoder_layers": 2,
    "num_sparse_decoder_layers": 1,
}
LATENT = {"num_key_value_heads": 4}
EXTRA = {
    "afmoe": {"num_dense_layers": 2},
    "axk1": LATENT,
    "axk2": LATENT,
    "bailing_hybrid": LATENT,
    "deepseek_v2": {**LATENT, "first_k_dense_replace": 1},
    "deepseek_v3": {**LATENT, "first_k_dense_replace": 1},
    "deepseek_v32": {**LATENT, "first_k_dense_replace": 1, "qk_rope_head_dim": 8},
    "deepseek_v4": {
        "num_key_value_heads": 1,
        "head_dim": 16,
        "qk_rope_head_dim": 8,
        "o_groups": 2,
        "layer_types": ["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"]
        + ["sliding_attention"] * 2,
    },
    "dots1": {"head_dim": 6, "n_shared_experts": 2, "first_k_dense_replace": 1},
    "ernie4_5_vl_moe": {"hidden_size": 512, "moe_intermediate_size": [12, 8]},
    "glm4_moe": {"head_dim": 6, "first_k_dense_replace": 1},
    "glm4_moe_lite": {**LATENT, "first_k_dense_replace": 1},
    "glm_moe_dsa": {**LATENT, "first_k_dense_replace": 1},
    "inkling2": {"unpadded_vocab_size": 47},
    "longcat_flash": {"zero_expert_num": 0, "expert_ffn_hidden_size": 12, "ffn_hidden_size": 20, **LATENT},
    "switch_transformers": {"num_decoder_layers": 3},
    "cohere2_moe": {
        "prefix_dense_intermediate_size": 28,
        "first_k_dense_replace": 1,
        "num_shared_experts": 2,
    },
    "deepseek_ocr2": {"mlp_layer_types": ["dense", "sparse", "sparse", "sparse", "sparse"]},
    "diffusion_gemma": {"global_head_dim": 8, "head_dim": 6, "num_global_key_value_heads": 1},
    "doge": {"is_moe": True, "num_experts": 25},
    "dots3_note": {**LATENT, "n_shared_experts": 2},
    "exaone_moe": {"head_dim": 6},
    "gemma4": {
        "enable_moe_block": True,
        "global_head_dim": 8,
        "num_global_key_value_heads": 1,
        "attention_k_eq_v": True,
        "num_kv_shared_layers": 1,
        "use_double_wide_mlp": True,
        "layer_types": ["sliding_attention", "full_attention"]
        + ["sliding_attention"] * 2
        + ["full_attention"],
    },
    "glm5_next": {**LATENT, "index_topk": 6, "qk_rope_head_dim": 0},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"] * 2 + ["linear_attention"]},
    "hunyuan_v1_moe": {"head_dim": 6},
    "hy_v4": LATENT,
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": LATENT,
    "laguna": {"layer_types": ["full_attention", "sliding_attention"] * 2 + ["full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "conv", "full_attention"]},
    "mimo_v2_flash": {"layer_types": ["full_attention", "sliding_attention"] * 2 + ["full_attention"]},
    "minimax_m3_vl": {
        "mlp_layer_types": ["dense"] + ["sparse"] * 4,
        "layer_types": ["full_attention", "minimax_m3_sparse"] * 2 + ["full_attention"],
    },
    "mistral4": {**LATENT, "first_k_dense_replace": 1, "qk_nope_head_dim": 4},
    "mistral_large4": {
        **LATENT,
        "kv_source_layers": [0, 1, 1, 3, 3],
        "index_topk_freq": 2,
        "n_shared_experts": 2,
    },
    "muse_spark": {"mlp_layer_types": ["dense"] + ["sparse"] * 4},
    "nemotron_h": {
        "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp", "moe"],
    },
    "qwen4_exp": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 6,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
        "ple_layer_ids": [1, 3],
        "ple_embed_dim": 16,
    },
    "step3p7": {
        "pad_token_id": 3,
        "layer_types": ["full_attention", "sliding_attention"] * 2 + ["full_attention"],
    },
    "zaya": {"num_experts_per_tok": 1, "head_dim": 8, "num_key_value_heads": 2},
}
# Classes of models whose language model has no head of its own in transformers.
WITHOUT_HEAD = {
    "deepseek_ocr2": "DeepseekOcr2TextModel",
    "ernie4_5_vl_moe": "Ernie4_5_VLMoeTextModel",
    "glm4v_moe": "Glm4vMoeTextModel",
    "glm5_next": "Glm5NextTextModel",
    "mistral_large4": "MistralLarge4TextModel",
    "muse_spark": "MuseSparkTextModel",
    "qwen3_omni_moe": "Qwen3OmniMoeThinkerTextModel",
    "qwen3_vl_moe": "Qwen3VLMoeTextModel",
    "step3p7": "Step3p7TextModel",
    "unlimited_ocr": "UnlimitedOcrTextModel",
}
CLASSES = {
    "inkling": "InklingForCausalLM",
    "mistral4": "Mistral4ForCausalLM",
    "nllb-moe": "NllbMoeForConditionalGeneration",
    "openai_privacy_filter": "OpenAIPrivacyFilterForTokenClassification",
    "switch_transformers": "SwitchTransformersForConditionalGeneration",
}
OUTER = {"inkling": "inkling_mm_model", "nllb_moe": "nllb-moe"}


# Fields that transformers 5.23 itself does not follow, or derives from others.
NOT_FOLLOWED = {
    ("bailing_hybrid", "tie_word_embeddings"),
    ("kimi_linear", "tie_word_embeddings"),
    ("nemotron_h", "tie_word_embeddings"),
    ("inkling2", "unpadded_vocab_size"),  # the head's padding has rows of its own in 5.23, none from 5.24 on
    ("longcat_flash", "qk_head_dim"),
    ("longcat_flash", "zero_expert_num"),  # allocates two matrices for each expert that does nothing
}


def text_class(family):
    """The class of the config of a family's language model."""
    outer = transformers.CONFIG_MAPPING[OUTER.get(family, family)]
    for name in ("text_config", "thinker_config"):
        if name in {f.name for f in dataclasses.fields(outer)}:
            inner = getattr(outer(), name)
            return type(getattr(inner, "text_config", inner))
    return outer


def small(family):
    """Values for a small config of this family."""
    known = {f.name for f in dataclasses.fields(text_class(family))}
    return {k: v for k, v in SMALL.items() if k in known} | EXTRA.get(family, {})


def build(family, config):
    """The language model without weights."""
    name = WITHOUT_HEAD.get(family) or CLASSES.get(OUTER.get(family, family))
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if family == "diffusion_gemma":
            model = diffusion_gemma(config)
        elif name:
            module = importlib.import_module(type(config).__module__.replace("configuration_", "modeling_"))
            model = getattr(module, name)(config)
        else:
            model = transformers.AutoModelForCausalLM.from_config(config)
    if hasattr(model, "tie_weights"):
        model.tie_weights()
    return model


def diffusion_gemma(config):
    """Its decoder reads the text configuration of a model with a tower; built alone here."""
    from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaDecoderModel

    return DiffusionGemmaDecoderModel(transformers.DiffusionGemmaConfig(text_config=config.to_dict()))


def sizes(family, model, tied):
    """All parameters, and those of routed experts that text can reach."""
    total = routed = 0
    for name, parameter in model.named_parameters():
        if name.endswith("rotary_emb.alpha"):
            continue  # Mistral Large 4's two numbers per model: a buffer in 5.23, a parameter from 5.24 on
        total += parameter.numel()
        if re.search(r"experts\.(?!bias)|(up|down)_embed|mlp\.(in|out)put_linear", name) and not re.search(
            r"shared|router|post_expert_norm|experts\.bias", name
        ):
            routed += parameter.numel()
    if (family in WITHOUT_HEAD or family == "diffusion_gemma") and not tied:
        total += model.get_input_embeddings().weight.numel()
    return total, routed


def mutations(family):
    """Every field of the config that holds a number, a flag or nothing, with another value."""
    values = small(family)
    config = text_class(family)(**values)
    for field in dataclasses.fields(text_class(family)):
        if (family, field.name) in NOT_FOLLOWED:
            continue
        try:
            now = values[field.name] if field.name in values else getattr(config, field.name, None)
        except Exception:  # transformers refuses to read a field that differs from layer to layer
            continue
        if isinstance(now, bool):
            yield field.name, not now
        elif isinstance(now, int):
            yield field.name, now + 1
            yield field.name, 2 * now
        elif now is None:
            yield field.name, 2
    for name in ("layer_types", "mlp_layer_types", "indexer_types"):
        now = getattr(config, name, None)
        if now and name in {f.name for f in dataclasses.fields(text_class(family))}:
            yield name, [*now[1:], now[0]]
