"""Cases of 13.prune: layers that lose experts, in which each wrong choice and order shows."""

from collections.abc import Sequence

import numpy as np

from moe_lessons.exercises.spec import Case, Plain

SHAPES = ((6, 3, 5, 3), (5, 4, 3, 2), (8, 2, 4, 5), (4, 3, 2, 4))  # E, D, P, kept


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Three layers that lose experts, and one that keeps all."""
    return [_case(rng, *sizes) for sizes in SHAPES]


def _case(rng: np.random.Generator, n_experts: int, d_model: int, n_params: int, n_keep: int) -> Case:
    while True:
        saliency_E = rng.permutation(n_experts) + rng.uniform(0.2, 0.8, n_experts)
        best = np.argsort(-saliency_E)[:n_keep]
        # The kept ones are neither the first nor sorted by score, so that each order shows.
        if n_keep == n_experts or (
            max(best) >= n_keep and (np.diff(best) < 0).any() and best[0] != min(best)
        ):
            break
    # Each expert is a token's first and another's second choice, so that no number is unused.
    first = rng.permutation(np.tile(np.arange(n_experts), 2))
    second = (first + rng.integers(1, n_experts, len(first))) % n_experts
    args: dict[str, Plain] = {
        "router_ED": rng.standard_normal((n_experts, d_model)).astype(np.float32),
        "bias_E": rng.standard_normal(n_experts).astype(np.float32),
        "experts_EP": rng.standard_normal((n_experts, n_params)).astype(np.float32),
        "saliency_E": saliency_E.astype(np.float32),
        "n_keep": n_keep,
        "topk_ids_TK": np.stack([first, second], axis=1).astype(np.int64),
    }
    return Case(f"keep {n_keep} of {n_experts}", args, edge=n_keep == n_experts)
