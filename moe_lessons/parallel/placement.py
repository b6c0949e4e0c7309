"""Which expert lives on which rank: packed by load, copied where it is hot, or together with its friends.

A rank has *slots*, each of which holds one expert. `replicate` says how many copies each expert gets, `pack`
puts what is in the slots onto ranks, `plan` does both, for one level of machines or two. All three are
greedy, as in DeepSeek's expert-parallel load balancer (EPLB). A plan is made from one load and meets another:
`rank_load` says how it fares. The steps themselves stand in `greedy`, on lists.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.parallel import greedy


class Placement(NamedTuple):
    """What is in each slot, and where the slot is.

    Attributes
    ----------
    expert_of_slot, rank_of_slot : int64 Tensor of shape (S,)
        Slots in the order of their ranks.
    copies_E : int64 Tensor of shape (E,)
        In how many slots each expert is; its rows are shared out evenly among them.
    """

    expert_of_slot: Tensor
    rank_of_slot: Tensor
    copies_E: Tensor

    @property
    def n_ranks(self) -> int:
        """G, the number of ranks."""
        return int(self.rank_of_slot.max()) + 1


def replicate(load_E: Tensor | Sequence[float], n_slots: int) -> Tensor:
    """Give every expert a slot, and each further slot to the expert whose copies have the most to do.

    Parameters
    ----------
    load_E : Tensor of shape (E,) or sequence of float
        Rows of each expert, in any unit.
    n_slots : int
        At least E.

    Returns
    -------
    int64 Tensor of shape (E,)
        Copies of each; they sum to ``n_slots``. Of equally busy experts the first is copied.

    Raises
    ------
    ValueError
        If there are fewer slots than experts, or a load is negative or no number.

    References
    ----------
    DeepSeek-V3, arXiv 2412.19437, section 3.4; github.com/deepseek-ai/EPLB, `replicate_experts`.

    Examples
    --------
    >>> replicate([90.0, 20.0, 10.0], 5)  # 90 -> 45 -> 30 each
    tensor([3, 1, 1])
    """
    return torch.tensor(greedy.replicate(_checked(load_E), n_slots))


def pack(load_S: Tensor | Sequence[float], n_ranks: int) -> Tensor:
    """Put equally many items on every rank: the heaviest first, onto the least loaded rank with room.

    Parameters
    ----------
    load_S : Tensor of shape (S,) or sequence of float
        What each item weighs.
    n_ranks : int
        G, a divisor of S.

    Returns
    -------
    int64 Tensor of shape (S,)
        The rank of each item.

    Raises
    ------
    ValueError
        If the ranks cannot have equally many items, or a load is negative or no number.

    References
    ----------
    github.com/deepseek-ai/EPLB, `balanced_packing`.

    Examples
    --------
    >>> pack([5.0, 1.0, 4.0, 2.0], 2)  # 5 + 1 and 4 + 2
    tensor([0, 0, 1, 1])
    """
    return torch.tensor(greedy.pack(_checked(load_S), n_ranks), dtype=torch.int64)


def plan(
    load_E: Tensor | Sequence[float],
    n_ranks: int,
    n_slots: int | None = None,
    *,
    n_groups: int | None = None,
    n_nodes: int = 1,
) -> Placement:
    """Copy hot experts and place all copies, on ranks alone or on nodes first.

    With `n_groups`, neighbouring experts form groups that stay on one node, as node-limited routing wants
    it: groups are packed onto nodes, then each node copies and packs its own experts.

    Parameters
    ----------
    load_E : Tensor of shape (E,) or sequence of float
    n_ranks : int
        G, a divisor of ``n_slots``.
    n_slots : int, optional
        Places on all ranks together; E by default, which leaves no room for copies.
    n_groups, n_nodes : int
        `n_groups` divides E; `n_nodes` divides `n_groups`, `n_ranks` and `n_slots`.

    Returns
    -------
    Placement

    Raises
    ------
    ValueError
        If something does not divide, or there are fewer slots than experts.

    References
    ----------
    github.com/deepseek-ai/EPLB, `rebalance_experts`: its hierarchical and its global policy.

    Examples
    --------
    >>> found = plan([90.0, 20.0, 10.0], n_ranks=2, n_slots=4)  # two copies of 45
    >>> found.copies_E.tolist(), found.expert_of_slot.tolist(), found.rank_of_slot.tolist()
    ([2, 1, 1], [0, 1, 0, 2], [0, 0, 1, 1])
    """
    loads = _checked(load_E)
    n_slots = len(loads) if n_slots is None else n_slots
    n_groups = n_nodes if n_groups is None else n_groups
    found = greedy.plan(loads, n_ranks, n_slots, n_groups=n_groups, n_nodes=n_nodes)
    return Placement(*map(torch.tensor, found))


def rank_load(placement: Placement, load_E: Tensor | Sequence[float]) -> Tensor:
    """Add up what each rank has to do when this load meets a placement; copies share evenly.

    Parameters
    ----------
    placement : Placement
    load_E : Tensor of shape (E,) or sequence of float
        Not necessarily the load that the placement was planned for.

    Returns
    -------
    float64 Tensor of shape (G,)

    Raises
    ------
    ValueError
        If the load is of another number of experts.

    Examples
    --------
    >>> found = plan([90.0, 20.0, 10.0], n_ranks=2, n_slots=4)
    >>> rank_load(found, [90.0, 20.0, 10.0]), rank_load(found, [20.0, 90.0, 10.0])
    (tensor([65., 55.], dtype=torch.float64), tensor([100.,  20.], dtype=torch.float64))
    """
    load_E = torch.as_tensor(load_E, dtype=torch.float64)
    if load_E.shape != placement.copies_E.shape:
        raise ValueError(
            f"load_E has shape {tuple(load_E.shape)}: give ({len(placement.copies_E)},), a load per expert"
        )
    share_S = (load_E / placement.copies_E)[placement.expert_of_slot]
    return torch.zeros(placement.n_ranks, dtype=torch.float64).index_add_(0, placement.rank_of_slot, share_S)


def by_coactivation(topk_ids_NK: Tensor, n_experts: int, n_nodes: int) -> Tensor:
    """Put experts that are chosen together onto the same node, greedily.

    A node begins with the expert that is chosen most often together with all that are left, and takes the
    best company for those it has until it is full.

    Parameters
    ----------
    topk_ids_NK : integer Tensor of shape (N, K)
        What N tokens chose.
    n_experts, n_nodes : int
        `n_nodes` divides E.

    Returns
    -------
    int64 Tensor of shape (E,)
        The node of each expert.

    Raises
    ------
    ValueError
        If `n_nodes` does not divide `n_experts`.

    Examples
    --------
    >>> ids_NK = torch.tensor([[0, 3], [0, 3], [1, 2]])
    >>> by_coactivation(ids_NK, 4, 2)
    tensor([0, 1, 1, 0])
    """
    if n_nodes < 1 or n_experts % n_nodes:
        raise ValueError(f"n_nodes={n_nodes} does not divide {n_experts} experts: choose a divisor")
    chosen_NE = torch.zeros(len(topk_ids_NK), n_experts).scatter_(1, topk_ids_NK.long(), 1.0)
    together_EE = (chosen_NE.T @ chosen_NE).fill_diagonal_(0)
    node_E = torch.full((n_experts,), -1)
    for node in range(n_nodes):
        company_E = together_EE[:, node_E < 0].sum(dim=1)
        for _ in range(n_experts // n_nodes):
            best = int(company_E.masked_fill(node_E >= 0, -1.0).argmax())
            node_E[best] = node
            company_E = together_EE[:, node_E == node].sum(dim=1)
    return node_E


def nodes_per_token(topk_ids_TK: Tensor, node_of_expert_E: Tensor) -> float:
    """Count the nodes that a token's experts are on, the mean over all tokens.

    Parameters
    ----------
    topk_ids_TK : integer Tensor of shape (T, K)
    node_of_expert_E : integer Tensor of shape (E,)

    Raises
    ------
    ValueError
        If there is no token.

    Examples
    --------
    >>> nodes_per_token(torch.tensor([[0, 1], [0, 2]]), torch.tensor([0, 0, 1]))
    1.5
    """
    if not len(topk_ids_TK):
        raise ValueError("topk_ids_TK holds no token: give one at least")
    node_TK = node_of_expert_E[topk_ids_TK.long()]
    met_TN = torch.zeros(len(node_TK), int(node_of_expert_E.max()) + 1).scatter_(1, node_TK, 1.0)
    return float(met_TN.sum(dim=1).mean())


def _checked(loads: Tensor | Sequence[float]) -> list[float]:
    listed = torch.as_tensor(loads, dtype=torch.float64).tolist()
    if not all(0 <= load < float("inf") for load in listed):
        raise ValueError("the load holds a negative or infinite number or NaN: give rows of each expert")
    return listed
