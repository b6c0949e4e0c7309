"""Which experts are chosen together, beside what loads alone give; when a text has used all experts."""

import torch
from torch import Tensor

from moe_lessons.routing import tokens_per_expert

ROUNDS = 300


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

    x_a x_b, where the x are such that every expert is in as many pairs as it was, (K - 1) n_a. Experts that
    are busy are often chosen together for that reason alone: only the ratio of the two says more. The product
    n_a n_b itself would be wrong, because no expert is paired with itself: one that is in every choice would
    seem to seek out all others.

    Returns
    -------
    Tensor of shape (E, E), float64
        The diagonal is 0.

    References
    ----------
    Goodman, The Analysis of Cross-Classified Data: Independence, Quasi-Independence, and Interactions in
    Contingency Tables with or without Missing Entries, J. Am. Stat. Assoc. 63 (1968).

    Examples
    --------
    >>> expected_coactivation(torch.tensor([[0, 1], [2, 3], [0, 1], [2, 3]]), 4)[0]
    tensor([0.0000, 0.6667, 0.6667, 0.6667], dtype=torch.float64)
    """
    n_pairs_E = tokens_per_expert(topk_ids_TK, n_experts).double() * (topk_ids_TK.shape[1] - 1)
    x_E = n_pairs_E / n_pairs_E.sum().clamp_min(1.0).sqrt()
    for _ in range(ROUNDS):
        # Half a step in the exponent: a whole one swings to and fro where few experts hold most pairs.
        others_E = (x_E.sum() - x_E).clamp_min(1e-12)
        x_E = (x_E * n_pairs_E / others_E).sqrt()
    return (x_E[:, None] * x_E[None, :]).fill_diagonal_(0)


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
