"""What a model costs: parameters, FLOPs and bytes in closed form, from a name or a config.json.

>>> from moe_lessons.accounting import count, describe
>>> count(describe("DeepSeek-V3")).total
671026404352
"""

from moe_lessons.accounting.catalogue import Published, find_published, published
from moe_lessons.accounting.coverage import expert_coverage
from moe_lessons.accounting.describing import describe, from_config
from moe_lessons.accounting.families import FAMILIES
from moe_lessons.accounting.fields import ConfigError
from moe_lessons.accounting.flops import Flops, decode_flops, prefill_flops, training_flops
from moe_lessons.accounting.memory import (
    decode_read_bytes,
    kv_cache_bytes,
    kv_cache_bytes_per_token,
    weight_bytes,
)
from moe_lessons.accounting.parameters import COMPONENTS, Parameters, count
from moe_lessons.accounting.reporting import Setting, report
from moe_lessons.accounting.resident import ResidentBytes, kept_bytes_per_token, resident_bytes
from moe_lessons.accounting.shapes import Attention, Dense, Layer, Matrix, Model, MoE
from moe_lessons.accounting.training import TrainingBytes, activation_bytes_per_token, training_bytes

__all__ = [
    "COMPONENTS",
    "FAMILIES",
    "Attention",
    "ConfigError",
    "Dense",
    "Flops",
    "Layer",
    "Matrix",
    "MoE",
    "Model",
    "Parameters",
    "Published",
    "ResidentBytes",
    "Setting",
    "TrainingBytes",
    "activation_bytes_per_token",
    "count",
    "decode_flops",
    "decode_read_bytes",
    "describe",
    "expert_coverage",
    "find_published",
    "from_config",
    "kept_bytes_per_token",
    "kv_cache_bytes",
    "kv_cache_bytes_per_token",
    "prefill_flops",
    "published",
    "report",
    "resident_bytes",
    "training_bytes",
    "training_flops",
    "weight_bytes",
]
