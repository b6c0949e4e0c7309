"""Placing experts on ranks, on plain lists: what `placement` does for tensors, also where PyTorch is not.

Greedy, as in DeepSeek's expert-parallel load balancer (EPLB), github.com/deepseek-ai/EPLB.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple


class Places(NamedTuple):
    """What is in each slot, where the slot is, and in how many slots each expert is; slots by their ranks."""

    expert_of_slot: list[int]
    rank_of_slot: list[int]
    copies_E: list[int]


def replicate(loads: Sequence[float], n_slots: int) -> list[int]:
    """Give every expert a slot, and each further slot to the expert whose copies have the most to do.

    Raises
    ------
    ValueError
        If there are fewer slots than experts.

    Examples
    --------
    >>> replicate([90.0, 20.0, 10.0], 5)  # 90 -> 45 -> 30 each
    [3, 1, 1]
    """
    if n_slots < len(loads):
        raise ValueError(f"n_slots={n_slots} for {len(loads)} experts: give a slot to each at least")
    copies = [1] * len(loads)
    busiest = [(-load, expert) for expert, load in enumerate(loads)]
    heapq.heapify(busiest)
    for _ in range(n_slots - len(loads)):
        _, expert = busiest[0]
        copies[expert] += 1
        heapq.heapreplace(busiest, (-loads[expert] / copies[expert], expert))
    return copies


def pack(loads: Sequence[float], n_ranks: int) -> list[int]:
    """Put equally many items on every rank: the heaviest first, onto the least loaded rank with room.

    Raises
    ------
    ValueError
        If the ranks cannot have equally many items.

    Examples
    --------
    >>> pack([5.0, 1.0, 4.0, 2.0], 2)  # 5 + 1 and 4 + 2
    [0, 0, 1, 1]
    """
    if n_ranks < 1 or len(loads) % n_ranks:
        raise ValueError(f"n_ranks={n_ranks} does not divide {len(loads)} slots: choose a divisor")
    room = [len(loads) // n_ranks] * n_ranks
    rank_S = [0] * len(loads)
    least = [(0.0, rank) for rank in range(n_ranks)]
    for item in sorted(range(len(loads)), key=lambda item: -loads[item]):
        total, rank = heapq.heappop(least)
        rank_S[item] = rank
        room[rank] -= 1
        if room[rank]:
            heapq.heappush(least, (total + loads[item], rank))
    return rank_S


def plan(
    loads: Sequence[float], n_ranks: int, n_slots: int, *, n_groups: int = 1, n_nodes: int = 1
) -> Places:
    """Copy hot experts and place all copies, on ranks alone or on nodes first.

    Raises
    ------
    ValueError
        If something does not divide, or there are fewer slots than experts.

    Examples
    --------
    >>> plan([90.0, 20.0, 10.0], n_ranks=2, n_slots=4)  # two copies of 45
    Places(expert_of_slot=[0, 1, 0, 2], rank_of_slot=[0, 0, 1, 1], copies_E=[2, 1, 1])
    """
    if n_groups < 1 or len(loads) % n_groups:
        raise ValueError(f"n_groups={n_groups} does not divide {len(loads)} experts: choose a divisor")
    for name, count in (("n_groups", n_groups), ("n_ranks", n_ranks), ("n_slots", n_slots)):
        if n_nodes < 1 or count % n_nodes:
            raise ValueError(f"n_nodes={n_nodes} does not divide {name}={count}: choose a divisor")
    group_size, per_node = len(loads) // n_groups, n_ranks // n_nodes
    groups = [sum(loads[g * group_size : (g + 1) * group_size]) for g in range(n_groups)]
    node_of_group = pack(groups, n_nodes)
    slots: list[tuple[int, int]] = []  # (rank, expert)
    copies_E = [0] * len(loads)
    for node in range(n_nodes):
        mine = [e for e in range(len(loads)) if node_of_group[e // group_size] == node]
        copies = replicate([loads[e] for e in mine], n_slots // n_nodes)
        inside = [e for e, n in zip(mine, copies, strict=True) for _ in range(n)]
        for e, n in zip(mine, copies, strict=True):
            copies_E[e] = n
        ranks = pack([loads[e] / copies_E[e] for e in inside], per_node)
        slots += [(node * per_node + r, e) for r, e in zip(ranks, inside, strict=True)]
    slots.sort()
    return Places([e for _, e in slots], [r for r, _ in slots], copies_E)


def rank_load(places: Places, loads: Sequence[float]) -> list[float]:
    """Add up what each rank has to do when this load meets a placement; copies share evenly.

    Examples
    --------
    >>> rank_load(plan([90.0, 20.0, 10.0], n_ranks=2, n_slots=4), [20.0, 90.0, 10.0])
    [100.0, 20.0]
    """
    load_G = [0.0] * (max(places.rank_of_slot) + 1)
    for expert, rank in zip(places.expert_of_slot, places.rank_of_slot, strict=True):
        load_G[rank] += loads[expert] / places.copies_E[expert]
    return load_G
