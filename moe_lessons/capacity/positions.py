"""Each slot's position in its expert's queue, counted from 0: three ways that agree.

All take the expert ids of slots in the order of service, and return how many earlier slots asked for the same
expert. Shapes depend on S and E alone.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def positions_loop(expert_ids_S: Tensor, n_experts: int) -> Tensor:
    """Serve one slot after the other: slow, and the definition of the other two.

    Parameters
    ----------
    expert_ids_S : integer Tensor of shape (S,)
        Expert ids, 0 to E - 1, in the order of service.
    n_experts : int

    Returns
    -------
    Tensor of shape (S,), int64

    Examples
    --------
    >>> positions_loop(torch.tensor([2, 0, 2, 2, 0]), n_experts=3)
    tensor([0, 0, 1, 2, 1])
    """
    waiting = [0] * n_experts
    positions = []
    for expert in expert_ids_S.tolist():
        positions.append(waiting[expert])
        waiting[expert] += 1
    return torch.tensor(positions, dtype=torch.int64, device=expert_ids_S.device)


def positions_one_hot(expert_ids_S: Tensor, n_experts: int) -> Tensor:
    """Running count down each column of a one-hot table: the published way, with S * E numbers in memory.

    Parameters and returns are those of `positions_loop`.

    References
    ----------
    Switch Transformer, arXiv 2101.03961, appendix F (there counted from 1).

    Examples
    --------
    >>> positions_one_hot(torch.tensor([2, 0, 2, 2, 0]), n_experts=3)
    tensor([0, 0, 1, 2, 1])
    """
    ids_S = expert_ids_S.long()
    arrived_SE = F.one_hot(ids_S, n_experts).cumsum(dim=0)
    return arrived_SE.gather(1, ids_S.unsqueeze(1)).squeeze(1) - 1


def positions_sorted(expert_ids_S: Tensor, n_experts: int) -> Tensor:
    """Sort slots by expert, keeping their order; a position is the distance to the start of its group.

    Memory grows with S + E instead of S * E. Parameters and returns are those of `positions_loop`.

    Examples
    --------
    >>> positions_sorted(torch.tensor([2, 0, 2, 2, 0]), n_experts=3)
    tensor([0, 0, 1, 2, 1])
    """
    ids_S = expert_ids_S.long()
    # A radix sort takes time in proportion to the width of the key.
    narrow = torch.uint8 if n_experts <= 256 else torch.int32
    order_S = ids_S.to(narrow).sort(stable=True).indices
    counts_E = torch.zeros(n_experts, dtype=torch.int64, device=ids_S.device)
    counts_E.scatter_add_(0, ids_S, torch.ones_like(ids_S))
    starts_E = counts_E.cumsum(0) - counts_E
    ranks_S = torch.empty_like(ids_S)
    ranks_S[order_S] = torch.arange(len(ids_S), device=ids_S.device)
    return ranks_S - starts_E[ids_S]
