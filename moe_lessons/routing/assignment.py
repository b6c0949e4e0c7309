"""Balanced assignment: one expert per token, the same number of tokens per expert, the best total score."""

import numpy as np
import torch
from torch import Tensor

from moe_lessons.routing.base import Routing, checked_logits, weigh


def base_assignment(logits_TE: Tensor, *, training: bool = True) -> Routing:
    """Give every expert T / E tokens so that the sum of the chosen logits is as large as it can be (BASE).

    Maximise the sum over t of logits[t, a_t], each expert being chosen T / E times. If E does not divide T,
    each gets T / E rounded down or up. The weight is the sigmoid of the chosen logit.

    scipy solves it on the CPU, whatever the device, with T^2 numbers of memory and up to O(T^3) steps.

    Not causal in training: moving one token moves others. In evaluation each token goes to its best expert,
    which is causal but not balanced, and not what the model was trained with.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    training : bool

    Returns
    -------
    Routing
        With K = 1.

    Raises
    ------
    ValueError
        If `logits_TE` is not 2-D or not finite.

    References
    ----------
    Lewis et al., BASE layers, arXiv 2103.16716, section 3; fairseq, modules/base_layer.py.

    Examples
    --------
    >>> logits_TE = torch.tensor([[5.0, 4.0], [3.0, 0.0]])  # both prefer expert 0; 4 + 3 beats 5 + 0
    >>> base_assignment(logits_TE).topk_ids_TK.T
    tensor([[1, 0]])
    >>> base_assignment(logits_TE, training=False).topk_ids_TK.T
    tensor([[0, 0]])
    """
    logits_TE = _finite(logits_TE)
    if training:
        expert_ids_T = torch.from_numpy(_best_total(logits_TE.detach().double().cpu().numpy()))
    else:
        expert_ids_T = logits_TE.argmax(dim=-1)
    topk_ids_TK = expert_ids_T.to(logits_TE.device).unsqueeze(1)
    return weigh(logits_TE, logits_TE.sigmoid(), topk_ids_TK, renormalize=False, scale=1.0)


def greedy_assignment(logits_TE: Tensor) -> Routing:
    """Take the largest logit whose token is free and whose expert has room, again and again.

    At most T / E (rounded up) tokens per expert. Each step is the best there is, the sum need not be.
    Deferred acceptance, which computes it, gives the same: every token asks its best expert, an expert
    keeps the highest it was offered, and who is turned away asks the next. Not causal.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)

    Returns
    -------
    Routing
        With K = 1; weights as in `base_assignment`.

    Raises
    ------
    ValueError
        If `logits_TE` is not 2-D or not finite.

    References
    ----------
    Gale and Shapley, American Mathematical Monthly 69 (1962), for the procedure.

    Examples
    --------
    >>> logits_TE = torch.tensor([[5.0, 4.0], [3.0, 0.0]])  # the 5 is taken first: 5 + 0
    >>> greedy_assignment(logits_TE).topk_ids_TK.T
    tensor([[0, 1]])
    """
    logits_TE = _finite(logits_TE)
    n_tokens, n_experts = logits_TE.shape
    capacity = -(-n_tokens // n_experts)
    open_TE = logits_TE.detach().clone()
    while n_tokens:
        asked_TE = torch.zeros_like(open_TE, dtype=torch.bool)
        asked_TE.scatter_(1, open_TE.argmax(dim=-1, keepdim=True), True)
        offers_TE = open_TE.masked_fill(~asked_TE, -torch.inf)
        order_TE = offers_TE.argsort(dim=0, descending=True, stable=True)
        refused_TE = torch.zeros_like(asked_TE).scatter_(0, order_TE[capacity:], True) & asked_TE
        if not refused_TE.any():
            break
        open_TE = open_TE.masked_fill(refused_TE, -torch.inf)
    topk_ids_TK = open_TE.argmax(dim=-1, keepdim=True)
    return weigh(logits_TE, logits_TE.sigmoid(), topk_ids_TK, renormalize=False, scale=1.0)


def _best_total(scores_TE: np.ndarray) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment  # takes a moment to load, and few need it

    n_tokens, n_experts = scores_TE.shape
    capacity = -(-n_tokens // n_experts)
    # One column per place. Rows without a token fill what is left, at most one place per expert, so that no
    # expert gets two tokens less than another.
    places = np.repeat(scores_TE, capacity, axis=1)
    n_empty = n_experts * capacity - n_tokens
    empty = np.full((n_empty, n_experts, capacity), -np.inf)
    empty[:, :, -1:] = 0.0
    places = np.concatenate([places, empty.reshape(n_empty, n_experts * capacity)])
    columns = linear_sum_assignment(places, maximize=True)[1]
    return columns[:n_tokens] // max(1, capacity)


def _finite(logits_TE: Tensor) -> Tensor:
    logits_TE = checked_logits(logits_TE)
    if not bool(logits_TE.isfinite().all()):
        raise ValueError("logits_TE holds infinite values: a sum of scores needs finite ones")
    return logits_TE
