"""What 07.dispatch_combine is tried on: batches in which some tokens lose a choice, some all of them."""

from collections.abc import Sequence

import numpy as np

from moe_lessons.exercises.capacity.draws import Ids, crowded_ids, queue_positions
from moe_lessons.exercises.spec import Case, Plain


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Tokens that lose one choice, all of them, none; K = 1; a capacity that holds everybody; no token."""
    sizes = [(9, 4, 3, 2, 3), (11, 5, 3, 3, 4), (8, 3, 4, 1, 2)]
    cases = [_case(rng, crowded(rng, t, e, k, c), d, e, c) for t, e, d, k, c in sizes]
    roomy = crowded_ids(rng, 5, 4, 2)
    return [*cases, _case(rng, roomy, 3, 4, 5), _case(rng, roomy[:0], 3, 4, 2)]


def crowded(rng: np.random.Generator, n_tokens: int, n_experts: int, top_k: int, capacity: int) -> Ids:
    """Draw until some token loses everything, some other a part of it, and the last expert one of its "
    "rows."""
    while True:
        ids_TK = crowded_ids(rng, n_tokens, n_experts, top_k)
        kept_TK = queue_positions(ids_TK) < capacity
        lost_T = (~kept_TK).sum(axis=1)
        some = top_k == 1 or ((lost_T > 0) & (lost_T < top_k) & kept_TK[:, 0]).any()
        if some and (lost_T == top_k).any():
            return ids_TK


def _case(rng: np.random.Generator, ids_TK: Ids, d_model: int, n_experts: int, capacity: int) -> Case:
    n_tokens, top_k = ids_TK.shape
    args: dict[str, Plain] = {
        "hidden_TD": rng.standard_normal((n_tokens, d_model)).astype(np.float32),
        "topk_ids_TK": ids_TK,
        "topk_weights_TK": rng.uniform(0.15, 0.75, (n_tokens, top_k)).astype(np.float32),
        "positions_TK": queue_positions(ids_TK),
        "capacity": capacity,
        "experts_EDD": rng.standard_normal((n_experts, d_model, d_model)).astype(np.float32),
    }
    return Case(f"T={n_tokens}, E={n_experts}, K={top_k}, C={capacity}", args)
