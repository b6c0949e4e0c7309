"""Do neighbours share an expert, do two routers choose alike? Each number beside what chance would give."""

from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.routing.base import check_ids


class Beside(NamedTuple):
    """A share that was found, and the share that chance gives at the same loads."""

    found: float
    by_chance: float


def locality(experts_WL: Tensor, lengths_W: Tensor | None = None) -> Beside:
    """How often a token has the same expert as the token before it in its window.

    Chance is the sum of the squared shares of the experts: 1/E only where the load is even.

    Parameters
    ----------
    experts_WL : integer Tensor of shape (W, L)
        One expert for each token of W windows; no pair is made of two windows.
    lengths_W : integer Tensor of shape (W,), optional
        Real tokens of each window, from its start; by default all L.

    Returns
    -------
    Beside

    Raises
    ------
    ValueError
        If the shapes do not fit, a length is not 1 to L, or no window has two tokens.

    References
    ----------
    Jiang et al., Mixtral of Experts, arXiv 2401.04088, table 5 (with 1/E as chance).

    Examples
    --------
    >>> locality(torch.tensor([[0, 0, 1], [1, 1, 1]]))  # 3 of 4 pairs; shares 1/3 and 2/3
    Beside(found=0.75, by_chance=0.5555555555555556)
    """
    if experts_WL.dim() != 2:
        raise ValueError(f"experts_WL has shape {tuple(experts_WL.shape)}: give (windows, length)")
    n_windows, length = experts_WL.shape
    if lengths_W is None:
        lengths_W = torch.full((n_windows,), length)
    if lengths_W.shape != (n_windows,):
        raise ValueError(f"lengths_W has shape {tuple(lengths_W.shape)}: give one length a window")
    if n_windows and not 1 <= int(lengths_W.min()) <= int(lengths_W.max()) <= length:
        ends = f"{int(lengths_W.min())} to {int(lengths_W.max())}"
        raise ValueError(f"lengths_W runs from {ends}: give 1 to {length}, the windows' length")
    real_WL = torch.arange(length) < lengths_W.unsqueeze(1)
    pairs = real_WL[:, 1:]
    if not bool(pairs.any()):
        raise ValueError("no window has two tokens: give longer ones")
    alike = (experts_WL[:, 1:] == experts_WL[:, :-1]) & pairs
    share_E = experts_WL[real_WL].unique(return_counts=True)[1].double() / real_WL.sum()
    return Beside((alike.sum() / pairs.sum()).item(), share_E.square().sum().item())


def set_overlap(first_TK: Tensor, second_TK: Tensor, n_experts: int) -> Beside:
    """How many of a token's K experts two routers have in common, as a share of K.

    Chance pairs each token's set by the one router with any token's by the other: sum_e a_e b_e / K, where a
    and b are the shares of tokens that choose expert e. It is K/E where both loads are even.

    Parameters
    ----------
    first_TK, second_TK : integer Tensor of shape (T, K)
        Different experts in each row, in any order: a router at two steps of training, say.
    n_experts : int

    Returns
    -------
    Beside

    Raises
    ------
    ValueError
        If the shapes differ, there is no token, or an id is not in 0..E-1.

    References
    ----------
    Muennighoff et al., OLMoE, arXiv 2409.02060, section 5.1 (router saturation, without chance).

    Examples
    --------
    >>> set_overlap(torch.tensor([[0, 1], [2, 3]]), torch.tensor([[1, 0], [2, 0]]), 4)
    Beside(found=0.75, by_chance=0.5)
    """
    if first_TK.dim() != 2 or first_TK.shape != second_TK.shape or not first_TK.numel():
        shapes = f"{tuple(first_TK.shape)}, second_TK {tuple(second_TK.shape)}"
        raise ValueError(f"first_TK has shape {shapes}: give both (T, K), for at least one token")
    top_k = first_TK.shape[1]
    first_TE, second_TE = _chosen(first_TK, n_experts), _chosen(second_TK, n_experts)
    shared = (first_TE * second_TE).sum(dim=1).mean() / top_k
    by_chance = (first_TE.mean(dim=0) * second_TE.mean(dim=0)).sum() / top_k
    return Beside(shared.item(), by_chance.item())


class Agreement(NamedTuple):
    """What two routers agree on: the share of tokens, and the expert of the second for each of the first."""

    share: float
    matching_E: Tensor


def agreement(first_N: Tensor, second_N: Tensor, n_experts: int) -> Agreement:
    """Match the experts of two routers one to one so that they agree on as many tokens as can be.

    Expert numbers mean nothing from one training run to the next. A matching finds likeness by chance too:
    compare with `agreement` after one of the two was shuffled.

    Parameters
    ----------
    first_N, second_N : integer Tensor of shape (N,)
    n_experts : int

    Returns
    -------
    Agreement

    Raises
    ------
    ValueError
        If the shapes differ, there is no token, or an id is not in 0..E-1.

    Examples
    --------
    >>> agreement(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 0, 1]), 2)
    Agreement(share=0.75, matching_E=tensor([1, 0]))
    """
    from scipy.optimize import linear_sum_assignment  # takes a moment to load, and few need it

    if first_N.dim() != 1 or first_N.shape != second_N.shape or not len(first_N):
        shapes = f"{tuple(first_N.shape)}, second_N {tuple(second_N.shape)}"
        raise ValueError(f"first_N has shape {shapes}: give one expert each for at least one token")
    for ids_N in (first_N, second_N):
        check_ids(ids_N, n_experts)
    pairs_N = first_N.long() * n_experts + second_N.long()
    together_EE = torch.bincount(pairs_N, minlength=n_experts**2).view(n_experts, n_experts)
    rows, columns = linear_sum_assignment(together_EE.numpy(), maximize=True)
    agreed = together_EE[rows, columns].sum().item()
    return Agreement(agreed / len(first_N), torch.from_numpy(columns))


def _chosen(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    """1 where a token chooses an expert: float64, shape (T, E)."""
    check_ids(topk_ids_TK, n_experts)
    chosen_TE = torch.zeros(len(topk_ids_TK), n_experts, dtype=torch.float64)
    return chosen_TE.scatter_(1, topk_ids_TK.long(), 1.0)
