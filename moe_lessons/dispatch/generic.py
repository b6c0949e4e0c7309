"""The path for every other kind of expert, and for experts that compute nothing."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from moe_lessons.dispatch.arguments import compute_dtype
from moe_lessons.dispatch.plan import combine, gather_slots, permutation_plan

NULLS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda rows_SD: rows_SD,
    "zero": lambda rows_SD: torch.zeros_like(rows_SD),
}


def moe_generic(
    hidden_TD: Tensor,
    topk_ids_TK: Tensor,
    topk_weights_TK: Tensor,
    run: Callable[[Sequence[Tensor]], list[Tensor]],
    n_experts: int,
    *,
    n_null_experts: int = 0,
    null: str = "identity",
) -> Tensor:
    """Sort rows by expert, hand each expert its own, and sum each token's results, whatever an expert is.

    What `moe_unbind` does, with the experts as a function.

    Parameters
    ----------
    hidden_TD : Tensor of shape (T, D)
    topk_ids_TK : integer Tensor of shape (T, K)
        Ids from `n_experts` on are null experts.
    topk_weights_TK : Tensor of shape (T, K)
    run : callable
        From E tensors of rows, (N, D) each, to E tensors of results.
    n_experts : int
        E, those that compute.
    n_null_experts : int
        How many ids after E stand for experts without weights.
    null : str
        What such an expert returns: a key of `NULLS`, its input or zero.

    Returns
    -------
    Tensor of shape (T, D), dtype of `hidden_TD`

    Raises
    ------
    ValueError
        If an id is out of range, or `null` is unknown.

    References
    ----------
    Null experts: LongCat-Flash, arXiv 2509.01322, section 2.1 (zero-computation experts).

    Examples
    --------
    >>> hidden_TD, ids_TK = torch.tensor([[3.0]]), torch.tensor([[0, 1]])
    >>> double = lambda groups: [2 * rows for rows in groups]
    >>> weights_TK = torch.tensor([[10.0, 1.0]])
    >>> moe_generic(hidden_TD, ids_TK, weights_TK, double, 1, n_null_experts=1)  # 10 * 6 + 3
    tensor([[63.]])
    """
    if null not in NULLS:
        raise ValueError(f"null is {null!r}: choose one of {', '.join(NULLS)}")
    plan = permutation_plan(topk_ids_TK, n_experts + n_null_experts)
    rows_SD = gather_slots(hidden_TD.to(compute_dtype(hidden_TD)), plan, topk_ids_TK.shape[1])
    groups = rows_SD.split(plan.tokens_per_expert_E.tolist())
    results = [*run(groups[:n_experts]), *map(NULLS[null], groups[n_experts:])]
    return combine(torch.cat(results), topk_weights_TK, plan).to(hidden_TD.dtype)
