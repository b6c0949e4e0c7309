"""One reader per family: the fields of its config in, a `Model` out."""

from collections.abc import Callable

from moe_lessons.accounting.families import deepseek, mistral, qwen, single, switch
from moe_lessons.accounting.fields import Fields
from moe_lessons.accounting.shapes import Model

FAMILIES: dict[str, Callable[[Fields], Model]] = {
    "llama": mistral.llama,
    "mistral": mistral.mistral,
    "mixtral": mistral.mixtral,
    "qwen2": qwen.qwen2,
    "qwen2_moe": qwen.qwen2_moe,
    "qwen3": qwen.qwen3,
    "qwen3_moe": qwen.qwen3_moe,
    "olmoe": single.olmoe,
    "dbrx": single.dbrx,
    "phimoe": single.phimoe,
    "gpt_oss": single.gpt_oss,
    "deepseek_v2": deepseek.deepseek_v2,
    "deepseek_v3": deepseek.deepseek_v3,
    "kimi_k2": deepseek.deepseek_v3,
    "glm4_moe": deepseek.glm4_moe,
    "llama4_text": single.llama4_text,
    "grok-1": single.grok_1,
    "switch_transformers": switch.switch_transformers,
}
