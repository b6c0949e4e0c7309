"""Random routings that the exercises of this lesson share: some experts are asked far too often."""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def crowded_ids(rng: np.random.Generator, n_tokens: int, n_experts: int, top_k: int) -> Ids:
    """Ids (T, K) of different experts per token, low ids more often, in no order within a token."""
    appeal_E = 1.5 ** -np.arange(n_experts, dtype=float)
    noise_TE = rng.gumbel(size=(n_tokens, n_experts))
    ids_TK = np.argsort(-(np.log(appeal_E) + noise_TE), axis=1)[:, :top_k]
    return rng.permuted(ids_TK, axis=1).astype(np.int64)


def queue_positions(ids_TK: Ids) -> Ids:
    """Position of each slot in its expert's queue, token after token, from 0."""
    waiting: dict[int, int] = {}
    positions = []
    for expert in ids_TK.ravel().tolist():
        positions.append(waiting.get(expert, 0))
        waiting[expert] = positions[-1] + 1
    return np.array(positions, dtype=np.int64).reshape(ids_TK.shape)
