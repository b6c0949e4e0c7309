"""Cases of 13.what_trains: parameters' names from seven codebases, and the plans."""

import re
from collections.abc import Sequence

import numpy as np

from moe_lessons.exercises.spec import Case, Plain

PLANS = ("all", "router frozen", "experts frozen", "only experts", "only router", "only the rest")
NAMES = (  # as Mixtral, Qwen, OLMoE, DeepSeek, gpt-oss, Switch and this course have them
    "model.embed_tokens.weight",
    "model.layers.0.self_attn.q_proj.weight",
    "model.layers.0.mlp.gate_proj.weight",
    "model.layers.0.mlp.down_proj.weight",
    "model.layers.1.self_attn.o_proj.weight",
    "model.layers.1.block_sparse_moe.gate.weight",
    "model.layers.1.block_sparse_moe.experts.0.w1.weight",
    "model.layers.1.block_sparse_moe.experts.7.w2.weight",
    "model.layers.2.mlp.gate.weight",
    "model.layers.2.mlp.experts.3.gate_proj.weight",
    "model.layers.2.mlp.experts.3.up_proj.weight",
    "model.layers.2.mlp.shared_expert.gate_proj.weight",
    "model.layers.2.mlp.shared_expert_gate.weight",
    "model.layers.3.mlp.gate.e_score_correction_bias",
    "model.layers.3.mlp.shared_experts.up_proj.weight",
    "model.layers.3.post_attention_layernorm.weight",
    "model.layers.4.mlp.router.weight",
    "model.layers.4.mlp.router.bias",
    "model.layers.4.mlp.experts.gate_up_proj",
    "model.layers.4.mlp.experts.down_proj_bias",
    "encoder.block.5.layer.1.mlp.router.classifier.weight",
    "encoder.block.5.layer.1.mlp.experts.expert_3.wi.weight",
    "blocks.0.moe.router.weight",
    "blocks.0.moe.experts.gate_up_proj",
    "blocks.0.moe_norm.weight",
    "model.norm.weight",
    "lm_head.weight",
)

ALONE = (  # a layer of this course and one of DeepSeek's, without a model around them
    "router.weight",
    "gate.weight",
    "experts.gate_up_proj",
    "experts.3.down_proj.weight",
    "shared_experts.gate_proj.weight",
)


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Each plan once, the names in another order and their layers moved by a few; then a layer by itself."""
    cases = []
    for plan in PLANS:
        names = _moved(int(rng.integers(0, 40)), [NAMES[i] for i in rng.permutation(len(NAMES))])
        args: dict[str, Plain] = {"names": "\n".join(names), "plan": plan}
        cases.append(Case(f"plan “{plan}”", args, edge=plan == "all"))
    alone: dict[str, Plain] = {"names": "\n".join(ALONE), "plan": "only the rest"}
    return [*cases, Case("plan “only the rest”, a layer by itself", alone, edge=True)]


def _moved(by: int, names: Sequence[str]) -> list[str]:
    return [re.sub(r"(?<=layers|blocks)\.\d+", lambda n: f".{int(n[0][1:]) + by}", name) for name in names]
