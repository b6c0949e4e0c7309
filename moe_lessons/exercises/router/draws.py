"""What the exercises of lesson 01 share: logits without near ties, one order of the chosen, one mistake."""

import numpy as np

from moe_lessons.exercises.spec import Case, Misconception, Outputs


def spaced_logits(rng: np.random.Generator, n_tokens: int, n_experts: int, spread: float = 2.0) -> np.ndarray:
    """Logits ``[T, E]`` from -spread to spread, in every row well apart, in an order of its own.

    A top-k near a tie would depend on rounding, and so on the machine.
    """
    step = 2 * spread / max(n_experts - 1, 1)
    row = np.linspace(-spread, spread, n_experts)
    rows = rng.permuted(np.tile(row, (n_tokens, 1)), axis=1)
    return (rows + rng.uniform(-0.3, 0.3, rows.shape) * step).astype(np.float32)


def by_expert(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sort each token's choices by expert id: the order in which a gate lists them does not matter."""
    ids_TK, weights_TK = values["topk_ids_TK"], values["topk_weights_TK"]
    if ids_TK.shape != weights_TK.shape or ids_TK.ndim != 2:
        raise ValueError("ids and weights need one and the same shape [T, K]")
    order_TK = np.argsort(ids_TK, axis=-1, kind="stable")
    return {
        "topk_ids_TK": np.take_along_axis(ids_TK, order_TK, axis=-1),
        "topk_weights_TK": np.take_along_axis(weights_TK, order_TK, axis=-1),
    }


def _swapped(case: Case, got: Outputs, want: Outputs) -> bool:
    return got["topk_ids_TK"].dtype.kind == "f" and got["topk_weights_TK"].dtype.kind in "iu"


SWAPPED_RETURN = Misconception(
    "swapped_return",
    "Weights and ids are the wrong way round. `topk` returns values first and indices second; here the ids "
    "come first.",
    detects=_swapped,
    hint=2,
)
