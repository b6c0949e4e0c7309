"""What the exercises of lesson 01 share: logits without near ties, one order of the chosen, one mistake."""

import numpy as np

from moe_lessons.exercises.spec import Case, Misconception, Outputs, Property


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


# By token and expert: after `by_expert` a choice's number is not the one in the learner's answer.
def _experts(case: Case, got: Outputs, want: Outputs) -> str | None:
    rows = zip(got["topk_ids_TK"].tolist(), want["topk_ids_TK"].tolist(), strict=True)
    for token, (there, expected) in enumerate(rows):
        if there != expected:
            return f"token {token} goes to {_listed(there)}, expected {_listed(expected)}"
    return None


def _listed(ids: list[int]) -> str:
    return f"expert{'' if len(ids) == 1 else 's'} {', '.join(map(str, ids))}"


def _weights(case: Case, got: Outputs, want: Outputs) -> str | None:
    got_TK, want_TK = got["topk_weights_TK"], want["topk_weights_TK"]
    differs_TK = ~np.isclose(got_TK, want_TK, rtol=1e-4, atol=1e-5)
    if not differs_TK.any():
        return None
    token, place = np.argwhere(differs_TK)[0]
    expert = got["topk_ids_TK"][token, place]
    return (
        f"for token {token}, expert {expert} has the weight {got_TK[token, place]:.5g}, expected "
        f"{want_TK[token, place]:.5g}; {differs_TK.sum()} of {differs_TK.size} weights differ"
    )


THE_RIGHT_CHOICE = (
    Property("each token's experts", _experts),
    Property("each expert's weight", _weights),
)


def _swapped(case: Case, got: Outputs, want: Outputs) -> bool:
    return got["topk_ids_TK"].dtype.kind == "f" and got["topk_weights_TK"].dtype.kind in "iu"


SWAPPED_RETURN = Misconception(
    "swapped_return",
    "Weights and ids are the wrong way round. `topk` returns values first and indices second; here the ids "
    "come first.",
    detects=_swapped,
    hint=2,
)
