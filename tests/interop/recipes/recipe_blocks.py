"""Blocks of transformers, small, with weights drawn at random: what the recipes are held against."""

import importlib
import re
from typing import Any

import torch
from torch import nn

from moe_lessons.interop.recipes.listing import default_config

D, F, E = 12, 10, 6

SIZES = {
    "hidden_size": D,
    "d_model": D,
    "moe_intermediate_size": F,
    "expert_ffn_hidden_size": F,
    "shared_expert_intermediate_size": 7,
    "shared_intermediate_size": 7,
    "moe_shared_expert_intermediate_size": 7,
    "share_expert_dim": 7,
    "shared_experts_intermediate_size": 7,
    "n_shared_experts": 2,
    "num_shared_experts": 2,
    "moe_num_shared_experts": 2,
    "n_group": 3,
    "num_expert_group": 3,
    "routed_scaling_factor": 1.7,
    "route_scale": 1.7,
    "router_scaling_factor": 1.7,
    "moe_routed_scaling_factor": 1.7,
    "moe_router_scaling_factor": 1.7,
    "moe_hidden_size": 8,
    "zero_expert_num": 3,
    "d_ff": F,
    "encoder_ffn_dim": F,
    "expert_capacity": 10_000,  # recipes don't limit places
}
EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
TOP_K = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "moe_top_k", "top_k_experts")

# The block's class, where it is not the one whose name ends as most do.
CLASSES = {
    "gpt_oss": "GptOssMLP",
    "openai_privacy_filter": "OpenAIPrivacyFilterMLP",
    "dbrx": "DbrxFFN",
    "ernie4_5_vl_moe": "Ernie4_5_VLMoeMoeBlock",
    "dots3_note": "Dots3NoteTextMoE",
    "qwen3_omni_moe": "Qwen3OmniMoeThinkerTextSparseMoeBlock",
    "jetmoe": "JetMoeMoE",
}
ENDINGS = r"(SparseMoeBlock|SparseMoEBlock|TextMoE|TextMoe|MoE|Moe|SparseMLP|MoELayer)$"

# Settings under which a family computes something else.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "aria": [{}, {"mlp_bias": True}],
    "axk2": [{"n_group": None, "topk_group": None}, {}],
    "cohere2_moe": [
        {},
        {"shared_expert_combination_strategy": "sum"},
        {"expert_selection_fn": "sigmoid"},
        {"expert_selection_fn": "sigmoid", "norm_topk_prob": False, "num_shared_experts": 0},
    ],
    "dbrx": [{"moe_normalize_expert_weights": p} for p in (1.0, 2.0, None)],
    "deepseek_v2": [{"topk_method": "greedy"}, {"topk_method": "group_limited_greedy"}, {"mlp_bias": True}],
    "deepseek_v3": [{}, {"norm_topk_prob": False}, {"n_group": 1, "topk_group": 1}],
    "deepseek_v4": [{}, {"scoring_func": "sigmoid"}, {"swiglu_limit": 0.5}],
    "ernie4_5_moe": [{}, {"moe_num_shared_experts": 0}, {"moe_norm_min": 0.8}],
    "flex_olmo": [{}, {"norm_topk_prob": True}],
    "flint": [{}, {"norm_topk_prob": False}],
    "glm5_next": [{"swiglu_limit": 0.5}],
    "gpt_oss": [{}, {"swiglu_limit": 0.5}],
    "hy_v3": [{}, {"mlp_bias": True}],
    "hy_v4": [{"swiglu_limit": 0.5}],
    "inkling2": [{"mlp_gate_softcap": 0.5, "mlp_up_softcap": 0.7}],
    "kolibri1": [{}, {"norm_topk_prob": True}],
    "laguna": [{}, {"moe_router_logit_softcapping": 0.7}],
    "lfm2_moe": [{}, {"use_expert_bias": False}, {"norm_topk_prob": False}],
    "longcat_flash": [{}, {"zero_expert_num": 0}, {"router_bias": True}],
    "minimax_m3_vl": [{}, {"swiglu_limit": 0.5}],
    "mistral4": [{}, {"norm_topk_prob": False}],
    "mixtral": [{}, {"hidden_act": "gelu"}],
    "muse_spark": [{"output_multiplier": 0.6}],
    "nemotron_h": [{}, {"moe_latent_size": 5}, {"moe_latent_size": 5, "mlp_bias": True}],
    "olmoe": [{}, {"norm_topk_prob": True}],
    "phimoe": [{}, {"router_jitter_noise": 0.4}],
    "qwen2_moe": [{}, {"norm_topk_prob": True}],
    "qwen3_moe": [{}, {"norm_topk_prob": True}],
    "step3p7": [{}, {"swiglu_limits": [0.0, 0.5], "swiglu_limits_shared": [0.0, 0.3]}, {"mlp_bias": True}],
    "switch_transformers": [{}, {"router_bias": True}],
}


class Beside(nn.Module):
    """Router, experts and what is next to them in a decoder layer, under that layer's names."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        if hasattr(self, "shared_mlp"):  # GraniteMoeShared
            return self.block_sparse_moe(hidden) + self.shared_mlp(hidden)
        hidden_TD = hidden.reshape(-1, hidden.shape[-1])  # Gemma-4
        _, weights_TK, ids_TK = self.router(hidden_TD)
        output_TD = self.experts(self.pre_feedforward_layernorm_2(hidden_TD), ids_TK, weights_TK)
        return self.post_feedforward_layernorm_2(output_TD.reshape(hidden.shape))


def tiny_config(name: str, top_k: int, changes: dict[str, Any]) -> Any:
    config = default_config(name)
    part = config.ffn_config if name == "dbrx" else config
    sizes = {**SIZES, **dict.fromkeys(EXPERTS, E), **dict.fromkeys(TOP_K, top_k)}
    if top_k == E:
        sizes["topk_group"] = 3
    else:
        sizes["topk_group"] = 2
    if name == "dbrx":
        config.d_model, part.ffn_hidden_size = D, F
        config.hidden_size = D
    if "moe_intermediate_size" not in vars(part) and "expert_ffn_hidden_size" not in vars(part):
        sizes["intermediate_size"] = F
    if name == "ernie4_5_vl_moe":
        sizes["moe_intermediate_size"] = [F, 5]
    for key, value in {**sizes, **changes}.items():
        if key in changes or key in vars(part) or key in getattr(part, "attribute_map", {}):
            setattr(part, key, value)
    return config


def make_block(name: str, config: Any, seed: int) -> nn.Module:
    modeling = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    if name in ("gemma4", "diffusion_gemma"):
        text = "Gemma4" if name == "gemma4" else "DiffusionGemma"
        norms = {
            f"{side}_feedforward_layernorm_2": getattr(modeling, f"{text}RMSNorm")(D, config.rms_norm_eps)
            for side in ("pre", "post")
        }
        parts = {
            each.lower() + ("s" if each == "Expert" else ""): getattr(modeling, f"{text}Text{cls}")(config)
            for each, cls in (("Router", "Router"), ("Expert", "Experts"))
        }
        block: nn.Module = Beside(**parts, **norms)
    elif name in ("granitemoeshared", "granitemoehybrid", "granitemoe_swa"):
        prefix = {"granitemoeshared": "Shared", "granitemoehybrid": "Hybrid", "granitemoe_swa": "SWA"}[name]
        classes = [getattr(modeling, f"GraniteMoe{prefix}{part}") for part in ("MoE", "MLP")]
        block = Beside(block_sparse_moe=classes[0](config), shared_mlp=classes[1](config))
    else:
        cls = getattr(modeling, CLASSES.get(name) or _only(modeling))
        extra: tuple[Any, ...] = ()
        if name in ("deepseek_v4", "step3p7"):
            extra = (1,)
        if name == "deepseek_v4":
            config.mlp_layer_types = ["moe", "moe"]
        block = cls(config, F) if name == "nllb_moe" else cls(config, *extra)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in block.state_dict(keep_vars=True).items():
            if tensor.is_floating_point():
                tensor.normal_(std=0.5, generator=generator)
                if "norm" in key and "proj" not in key and name != "muse_spark":
                    tensor += 1
    return block.eval()


def _only(modeling: Any) -> str:
    names = [
        each
        for each in vars(modeling)
        if re.search(ENDINGS, each)
        and getattr(modeling, each).__module__ == modeling.__name__
        and not re.search("Vision|Talker|MoA", each)
    ]
    assert len(names) == 1, names
    return names[0]


def seen_routing(block: nn.Module, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the block's router hands on: ids (T, K) and weights (T, K), where it hands on such a pair."""
    seen: dict[str, torch.Tensor] = {}

    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, tuple) and len(output) >= 3 and output[2].dtype == torch.int64:
            seen.update(weights=output[1].detach(), ids=output[2])

    hooks = [
        module.register_forward_hook(look)
        for key, module in block.named_modules()
        if re.search(r"(^|\.)(gate|router)$", key)
    ]
    with torch.no_grad():
        output_of(block, hidden)
    for hook in hooks:
        hook.remove()
    return seen


def output_of(block: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    output = block(hidden)
    return output[0] if isinstance(output, tuple) else output
