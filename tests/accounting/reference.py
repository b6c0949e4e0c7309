"""Parameters of a model that transformers builds on the meta device, sorted into components by name."""

import re
import warnings

import torch
import transformers

# The first pattern that occurs in a parameter's name decides.
PATTERNS = (
    ("other", r"_hc\.|hc_head"),
    (
        "attention",
        r"self_attn|linear_attn|mixer\.(?:[qkvo]_proj|dt_bias|A_log|D$|conv1d|in_proj|out_proj|norm)|SelfAttention|EncDecAttention|norm_attn_norm\.attn",
    ),
    ("shared_experts", r"shared_expert"),
    ("router", r"router|mlp\.gate\.|mixer\.gate\.|classifier"),
    ("routed_experts", r"experts\."),
    ("head", r"^lm_head"),
    ("embedding", r"embed_tokens|embeddings\.|^shared\.|wte"),
    ("norms", r"norm"),
    ("dense_ffn", r"mlps?\.|feed_forward|ffn"),
)

NOT_AUTO = {
    "mistral4": "Mistral4ForCausalLM",
    "switch_transformers": "SwitchTransformersForConditionalGeneration",
}


def build(config):
    """A model without weights."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if config.model_type in NOT_AUTO:
            model = getattr(transformers, NOT_AUTO[config.model_type])(config)
        else:
            model = transformers.AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    return model


def components(model):
    found = dict.fromkeys((name for name, _ in PATTERNS), 0)
    for name, parameter in model.named_parameters():
        found[next(part for part, pattern in PATTERNS if re.search(pattern, name))] += parameter.numel()
    return {name: size for name, size in found.items() if size or name != "other"}


def config_of(values):
    """The transformers config object of a dict."""
    values = dict(values)
    family = values.pop("model_type")
    return transformers.CONFIG_MAPPING["deepseek_v3" if family == "kimi_k2" else family](**values)
