"""Experts shared by a batch: a token may fill up its choice only from what others load anyway."""

from collections.abc import Callable

import torch
from torch import Tensor

from moe_lessons.routing import Routing


def batch_aware(k0: int, steps: Callable[[int], Tensor] | None = None) -> Callable[[Tensor, int], Routing]:
    """Make a gate that keeps each token's best `k0` experts and takes the rest of its K from the batch's.

    The batch's are the best `k0` of all its tokens together. If these are fewer than K, a token takes the
    best of the others too. So what a token gets depends on who else is in the batch: the same text may
    get another answer, and one user can find out something about another.

    Parameters
    ----------
    k0 : int
        1 to K. K of them are the usual gate.
    steps : callable, optional
        From the number T of tokens to the step that each belongs to, shape (T,): whole windows can be
        evaluated as if position after position were decoded. By default all tokens are one step.

    Returns
    -------
    callable
        A gate for `MoELayer`: of (logits_TE, top_k).

    References
    ----------
    "Opportunistic Expert Activation", arXiv:2511.02237.

    Examples
    --------
    >>> logits_TE = torch.tensor([[3.0, 2.0, 0.0, 1.0], [0.0, 0.1, 3.0, 2.9]])
    >>> batch_aware(1)(logits_TE, 2).topk_ids_TK  # the best are 0 and 2: each takes the other's as second
    tensor([[0, 2],
            [2, 0]])
    """
    if k0 < 1:
        raise ValueError(f"k0={k0}: choose 1 or more")

    def gate(logits_TE: Tensor, top_k: int) -> Routing:
        if k0 > top_k:
            raise ValueError(f"k0={k0}: choose 1 to top_k={top_k}")
        step_T = torch.zeros(len(logits_TE), dtype=torch.long) if steps is None else steps(len(logits_TE))
        n_steps = int(step_T.max()) + 1 if len(step_T) else 0
        best_TE = torch.zeros_like(logits_TE).scatter_(1, logits_TE.topk(k0).indices, 1.0)
        loaded_SE = torch.zeros(n_steps, logits_TE.shape[1]).index_add_(0, step_T, best_TE.float()) > 0
        spread = logits_TE.max() - logits_TE.min() + 1 if logits_TE.numel() else 0
        ids_TK = torch.where(loaded_SE[step_T], logits_TE, logits_TE - spread).topk(top_k).indices
        return Routing(logits_TE, ids_TK, logits_TE.gather(1, ids_TK).softmax(-1))

    return gate


def positions(window: int) -> Callable[[int], Tensor]:
    """Number the steps of whole windows that are decoded side by side: a token's position in its window.

    Examples
    --------
    >>> positions(3)(6)
    tensor([0, 1, 2, 0, 1, 2])
    """
    return lambda n_tokens: torch.arange(n_tokens) % window
