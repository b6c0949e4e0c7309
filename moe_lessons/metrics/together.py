"""Which experts are chosen together, beside what loads alone give; when a text has used all experts."""

import torch
from torch import Tensor

from moe_lessons.routing import tokens_per_expert


def coactivation(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    """Count the tokens that choose both of two experts.

    Parameters
    ----------
    topk_ids_TK : integer Tensor of shape (T, K)
        Different experts in each row.
    n_experts : int

    Returns
    -------
    Tensor of shape (E, E), int64
        Symmetric; the diagonal holds each expert's tokens.

    Examples
    --------
    >>> coactivation(torch.tensor([[0, 1], [0, 2], [1, 0]]), 3)
    tensor([[3, 2, 1],
            [2, 2, 0],
            [1, 0, 1]])
    """
    chosen_TE = torch.zeros(len(topk_ids_TK), n_experts, dtype=torch.float64)
    chosen_TE.scatter_(1, topk_ids_TK.long(), 1.0)
    return (chosen_TE.T @ chosen_TE).round().long()


def expected_coactivation(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    """What `coactivation` would be, off the diagonal, if experts of these loads were paired by chance.

    n_a n_b, scaled so that all pairs add up to the T K (K - 1) that were chosen. Experts that are busy are
    often chosen together for that reason alone: only the ratio of the two says more.

    Returns
    -------
    Tensor of shape (E, E), float64
        The diagonal is 0.

    Examples
    --------
    >>> expected_coactivation(torch.tensor([[0, 1], [2, 3], [0, 1], [2, 3]]), 4)[0]
    tensor([0.0000, 0.6667, 0.6667, 0.6667], dtype=torch.float64)
    """
    loads_E = tokens_per_expert(topk_ids_TK, n_experts).double()
    pairs_EE = loads_E[:, None] * loads_E[None, :]
    pairs_EE.fill_diagonal_(0)
    n_tokens, top_k = topk_ids_TK.shape
    total = pairs_EE.sum()
    return pairs_EE * (n_tokens * top_k * (top_k - 1) / total) if total else pairs_EE


def tokens_until_all(topk_ids_TK: Tensor, generator: torch.Generator, n_orders: int = 20) -> float:
    """Tokens of this text, in random order, until every expert that it ever uses has been chosen once.

    The mean over `n_orders` orders. Beside it stands the coupon collector's E (1 - (1 - K / E)^B), which
    takes all experts for equally likely and tokens for strangers to each other.

    Examples
    --------
    >>> tokens_until_all(torch.tensor([[0], [1]]), torch.Generator().manual_seed(0))
    2.0
    """
    used = topk_ids_TK.unique()
    found = []
    for _ in range(n_orders):
        rows = topk_ids_TK[torch.randperm(len(topk_ids_TK), generator=generator)]
        flat = rows.reshape(-1)
        order = torch.arange(len(flat)) // rows.shape[1]
        first = torch.full((int(used.max()) + 1,), len(rows))
        first.scatter_reduce_(0, flat.long(), order, "amin")
        found.append(float(first[used.long()].max() + 1))
    return sum(found) / len(found)
