"""Sinkhorn: scale rows and columns of exp(logits) in turn until each token and expert has its share."""

import math

import torch
from torch import Tensor

from moe_lessons.routing.base import Routing, checked_logits, traced


def sinkhorn_plan(logits_TE: Tensor, *, n_iterations: int = 100, tolerance: float = 1e-4) -> Tensor:
    """Find the plan with rows that sum to 1 and columns that sum to T / E, nearest to exp(logits).

    plan[t, e] = u[t] exp(logits[t, e]) v[e], with u and v found by scaling rows and columns in turn.
    It maximises sum(plan * logits) + entropy(plan): an assignment with soft edges. Computed with logarithms,
    so logits of any size stay finite. Gradients flow through the iterations.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    n_iterations : int, at least 1
        The most that are made; each scales the rows, then the columns. Larger logits need more.
    tolerance : float
        Stop once every row's sum is this near to 1. Columns are exact after each iteration. 0 makes all
        iterations and does not look, which spares a GPU the wait.

    Returns
    -------
    Tensor of shape (T, E)
        The logarithm of the plan: some entries would underflow to 0.

    Raises
    ------
    ValueError
        If `logits_TE` is not 2-D or holds NaN, `n_iterations` is below 1, or there is no plan because a token
        or an expert has infinite logits only (looked for on the CPU only).

    References
    ----------
    Cuturi, arXiv 1306.0895, algorithm 1; Clark et al., arXiv 2202.01169 (S-BASE).

    Examples
    --------
    >>> logits_TE = torch.tensor([[4.0, 2.0], [2.0, 1.0]]).log()  # both rows prefer expert 0, equally
    >>> sinkhorn_plan(logits_TE).exp()
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    log_plan_TE = checked_logits(logits_TE)
    if n_iterations < 1:
        raise ValueError(f"n_iterations is {n_iterations}: make at least 1")
    n_tokens, n_experts = log_plan_TE.shape
    if n_tokens == 0:
        return log_plan_TE
    for _ in range(n_iterations):
        log_plan_TE = log_plan_TE.log_softmax(dim=1)
        log_plan_TE = log_plan_TE.log_softmax(dim=0) + math.log(n_tokens / n_experts)
        if tolerance and bool(((log_plan_TE.exp().sum(dim=1) - 1).abs() <= tolerance).all()):
            break
    if log_plan_TE.device.type == "cpu" and not traced() and bool(log_plan_TE.isnan().any()):
        raise ValueError("logits_TE leaves no plan: every token and every expert needs a finite logit")
    return log_plan_TE


def sinkhorn_topk(
    logits_TE: Tensor,
    top_k: int,
    *,
    training: bool = True,
    n_iterations: int = 100,
    tolerance: float = 1e-4,
) -> Routing:
    """Choose each token's top-k of the Sinkhorn plan; weigh them by the router's own scores.

    The weights are the sigmoid of the logit for k = 1, else the softmax over all experts, not renormalised,
    as in Megatron-LM; the plan gets no gradient. The plan is balanced, its top-k only nearly so.

    Not causal in training: each column is scaled by what all tokens ask for. In evaluation the logits choose,
    which is causal, not balanced, and not what the model was trained with.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    top_k : int, 1 to E
    training : bool
    n_iterations, tolerance
        As in `sinkhorn_plan`.

    References
    ----------
    Megatron-LM, megatron/core/transformer/moe/router.py, `sinkhorn_load_balancing`.

    Examples
    --------
    >>> logits_TE = torch.tensor([[2.0, 0.0], [1.0, 0.0]])  # token 1 is the one who loses less
    >>> sinkhorn_topk(logits_TE, 1).topk_ids_TK.T, sinkhorn_topk(logits_TE, 1, training=False).topk_ids_TK.T
    (tensor([[0, 1]]), tensor([[0, 0]]))
    """
    logits_TE = checked_logits(logits_TE, top_k)
    selection_TE = logits_TE
    if training:
        with torch.no_grad():
            selection_TE = sinkhorn_plan(logits_TE, n_iterations=n_iterations, tolerance=tolerance)
    topk_ids_TK = selection_TE.topk(top_k, dim=-1).indices
    scores_TE = logits_TE.sigmoid() if top_k == 1 else logits_TE.softmax(dim=-1)
    return Routing(logits_TE, topk_ids_TK, scores_TE.gather(-1, topk_ids_TK))
