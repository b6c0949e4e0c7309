"""One reader per family: the fields of its config in, a `Model` out."""

from collections.abc import Callable

from moe_lessons.accounting.families import (
    deepseek,
    deepseek_v4,
    mistral,
    qwen,
    recent,
    single,
    switch,
    variants,
)
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
    "deepseek_v32": recent.deepseek_v32,
    "deepseek_v4": deepseek_v4.deepseek_v4,
    "dots1": variants.dots1,
    "flex_olmo": variants.flex_olmo,
    "granitemoe": variants.granitemoe,
    "glm4_moe_lite": deepseek.deepseek_v3,
    "glm_moe_dsa": recent.glm_moe_dsa,
    "longcat_flash": recent.longcat_flash,
    "minimax_m2": recent.minimax_m2,
    "mistral4": deepseek.deepseek_v3,
    "qwen3_5_moe_text": recent.qwen3_5_moe,
    "qwen3_next": recent.qwen3_next,
}
