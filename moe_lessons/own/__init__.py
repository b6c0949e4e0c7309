"""A transformer of the learner's own parts: the model, its training, its text, its way to where Mixtral runs.

The weights lie in the package's `MoETransformer`, the arithmetic is the parts': with all of them the
package's, it is the package's model, step by step.

>>> from moe_lessons.own import OwnTransformer, Parts
>>> from moe_lessons.config import ModelConfig
>>> config = ModelConfig(n_layers=1, d_model=8, n_heads=2, n_kv_heads=1, n_experts=4, top_k=2, d_expert=8)
>>> OwnTransformer(Parts.published(), config)(torch.zeros(1, 3, dtype=torch.int64)).logits_BLV.shape
torch.Size([1, 3, 256])
"""

from moe_lessons.lazy import lazy

_EXPORTS = {
    "OwnTransformer": "model",
    "Parts": "parts",
    "evaluate_own": "training",
    "export_own": "leaving",
    "parts_card": "card",
    "polish_head": "training",
    "train_own": "training",
    "write_own": "writing",
}

__all__ = sorted(_EXPORTS)

__getattr__, __dir__ = lazy(__name__, _EXPORTS)
