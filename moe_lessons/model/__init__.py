"""The mini transformer: `transformer` stacks `attention` and MoE layers, `generation` lets it write
tokens and `writing` text.

>>> from moe_lessons.model import MoETransformer, ModelConfig
>>> config = ModelConfig(n_layers=1, d_model=8, n_heads=2, n_kv_heads=1, n_experts=4, top_k=2, d_expert=8)
>>> MoETransformer(config)(torch.zeros(1, 3, dtype=torch.int64)).logits_BLV.shape
torch.Size([1, 3, 256])
"""

from moe_lessons.config import ModelConfig
from moe_lessons.model.attention import Attention, KVCache
from moe_lessons.model.generation import generate, generate_batch
from moe_lessons.model.transformer import (
    Block,
    DenseBlock,
    ModelOutput,
    MoETransformer,
    parameter_counts,
)
from moe_lessons.model.writing import write_on

__all__ = [
    "Attention",
    "Block",
    "DenseBlock",
    "KVCache",
    "MoETransformer",
    "ModelConfig",
    "ModelOutput",
    "generate",
    "generate_batch",
    "parameter_counts",
    "write_on",
]
