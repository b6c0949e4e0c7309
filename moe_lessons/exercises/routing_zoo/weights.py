"""What the gates of lesson 06 share: the weights of a token's chosen experts sum to 1."""

import numpy as np

from moe_lessons.exercises.spec import Case, Outputs, Property


def _sums(case: Case, got: Outputs, want: Outputs) -> str | None:
    sums_T = got["topk_weights_TK"].sum(axis=-1)
    worst = int(np.abs(sums_T - 1).argmax())
    return f"token {worst}'s weights sum to {sums_T[worst]:.4g}" if abs(sums_T[worst] - 1) > 1e-3 else None


WEIGHTS_SUM_TO_ONE = Property("each token's weights sum to 1", _sums)
