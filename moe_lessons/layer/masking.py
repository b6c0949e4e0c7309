"""Padding: tokens that a mask leaves out are routed nowhere."""

import torch
from torch import Tensor

from moe_lessons.routing import Routing
from moe_lessons.routing.base import NOWHERE


def real_tokens(mask: Tensor, hidden: Tensor) -> Tensor:
    """Return the positions, in the flattened tokens, that a mask marks True.

    Raises
    ------
    ValueError
        If the mask is not boolean, or has not one entry per token.

    Examples
    --------
    >>> real_tokens(torch.tensor([[True, False], [True, True]]), torch.zeros(2, 2, 8))
    tensor([0, 2, 3])
    """
    if mask.shape != hidden.shape[:-1]:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}: give one entry per token, {tuple(hidden.shape[:-1])}"
        )
    if mask.dtype is not torch.bool:
        raise ValueError(f"mask is {mask.dtype}: give booleans, True for real tokens (mask.bool())")
    return mask.reshape(-1).nonzero().squeeze(1)


def put_back(rows_NX: Tensor, kept_N: Tensor, n_tokens: int, fill: float = 0.0) -> Tensor:
    """Lay N rows out over T tokens, with `fill` where there is none.

    Examples
    --------
    >>> put_back(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 2]), 3).flatten()
    tensor([1., 0., 2.])
    """
    empty_TX = rows_NX.new_full((n_tokens, *rows_NX.shape[1:]), fill)
    return empty_TX.index_copy(0, kept_N, rows_NX)


def routed_nowhere(routing: Routing, kept_N: Tensor, n_tokens: int) -> Routing:
    """Lay a routing out over all T tokens: those left out have the id -1, weight 0 and logits 0.

    `tokens_per_expert` and what stands on it leave the id -1 out.
    """
    logits_NE, ids_NK, weights_NK = routing
    return Routing(
        put_back(logits_NE, kept_N, n_tokens),
        put_back(ids_NK, kept_N, n_tokens, NOWHERE),
        put_back(weights_NK, kept_N, n_tokens),
    )
