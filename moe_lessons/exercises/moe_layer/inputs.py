"""Random inputs that the exercises of this lesson share."""

import numpy as np

from moe_lessons.exercises.spec import Case, Plain


def routed_case(
    rng: np.random.Generator,
    n_tokens: int,
    d_model: int,
    d_expert: int,
    n_experts: int,
    top_k: int,
    *,
    only_expert: int | None = None,
) -> Case:
    """Tokens, their experts, their weights (which do not sum to 1), and the experts' matrices.

    Expert 1 is chosen by nobody where K leaves room for that, and expert 0 comes never first, so that a
    choice's number and its expert differ. ``only_expert`` sends all tokens there (K = 1).
    """
    open_to = [e for e in range(n_experts) if e != 1 or n_experts - 1 < top_k]
    ids = [rng.permutation(open_to)[:top_k] for _ in range(n_tokens)]
    ids = [row if row[0] != 0 else np.roll(row, 1) if top_k > 1 else row + 2 for row in ids]
    topk_ids_TK = np.array(ids, dtype=np.int64).reshape(n_tokens, top_k)
    if only_expert is not None:
        topk_ids_TK = np.full_like(topk_ids_TK, only_expert)
    args: dict[str, Plain] = {
        "hidden_TD": rng.standard_normal((n_tokens, d_model)).astype(np.float32),
        "topk_ids_TK": topk_ids_TK,
        "topk_weights_TK": rng.uniform(0.15, 0.75, (n_tokens, top_k)).astype(np.float32),
        "gate_up_E2FD": rng.standard_normal((n_experts, 2 * d_expert, d_model)).astype(np.float32),
        "down_EDF": rng.standard_normal((n_experts, d_model, d_expert)).astype(np.float32),
    }
    where = f", all on expert {only_expert}" if only_expert is not None else ""
    return Case(f"T={n_tokens}, D={d_model}, F={d_expert}, E={n_experts}, K={top_k}{where}", args)
