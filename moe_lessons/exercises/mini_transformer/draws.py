"""What the exercises of lesson 10 share: inputs whose top-k does not hang on rounding."""

import numpy as np


def spaced_logits(rng: np.random.Generator, n_tokens: int, n_experts: int) -> np.ndarray:
    """Router logits ``[T, E]``, in every row well apart and in an order of its own."""
    step = 4 / max(n_experts - 1, 1)
    rows = rng.permuted(np.tile(np.linspace(-2, 2, n_experts), (n_tokens, 1)), axis=1)
    return (rows + rng.uniform(-0.3, 0.3, rows.shape) * step).astype(np.float32)


def smallest_gap(logits_TE: np.ndarray) -> float:
    """The least distance between two experts' logits for one token."""
    return float(np.diff(np.sort(logits_TE, axis=-1), axis=-1).min())
