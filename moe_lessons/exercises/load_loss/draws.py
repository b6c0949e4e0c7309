"""What the exercises of lesson 05 share: lopsided logits without near ties, who is chosen, the weights."""

import numpy as np
import torch
from torch import Tensor


def lopsided_logits(
    rng: np.random.Generator, *shape: int, lean: float = 1.0, spread: float = 1.5
) -> np.ndarray:
    """Logits whose last axis is the experts: well apart in every row, later experts ahead more often.

    A top-k near a tie would depend on rounding, and an even load would hide mistakes.
    """
    n_experts = shape[-1]
    keys = rng.gumbel(size=shape) + lean * np.linspace(-1, 1, n_experts)
    ranks = keys.argsort(axis=-1).argsort(axis=-1)
    step = 2 * spread / max(n_experts - 1, 1)
    return (step * (ranks + rng.uniform(-0.3, 0.3, shape)) - spread).astype(np.float32)


def best_ids(logits: np.ndarray, top_k: int) -> np.ndarray:
    """Ids of each row's top k, the best first."""
    return np.argsort(-logits, axis=-1)[..., :top_k].copy()


def chosen(logits: Tensor, top_k: int) -> Tensor:
    """One where an expert is among its token's top k, else zero."""
    return torch.zeros_like(logits).scatter(-1, logits.topk(top_k, dim=-1).indices, 1.0)


def kept_weights(logits: Tensor, top_k: int) -> Tensor:
    """The gate's weights: a softmax over the chosen k alone, zero elsewhere."""
    return logits.masked_fill(chosen(logits, top_k) == 0, -torch.inf).softmax(dim=-1)
