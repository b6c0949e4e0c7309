"""Requests in steps: who runs when, with a place for each mistake that one can make."""

from collections.abc import Callable

import torch

Tensor = torch.Tensor
Choose = Callable[[list[int], Tensor, Tensor], int]


def stepped(
    arrival_N: Tensor, length_N: Tensor, n_slots: int, choose: Choose = lambda waiting, a, n: waiting[0]
) -> Tensor:
    """Step for step: whoever waits gets a free slot, first come first served.

    Examples
    --------
    >>> stepped(torch.tensor([0, 0, 1]), torch.tensor([3, 1, 2]), 2).tolist()
    [3, 1, 3]
    """
    n = len(arrival_N)
    finish_N = torch.zeros(n, dtype=torch.long)
    waiting: list[int] = []
    running: dict[int, int] = {}
    step = arrived = 0
    while arrived < n or waiting or running:
        while arrived < n and arrival_N[arrived] <= step:
            waiting.append(arrived)
            arrived += 1
        while waiting and len(running) < n_slots:
            request = choose(waiting, arrival_N, length_N)
            waiting.remove(request)
            running[request] = int(length_N[request])
        step += 1
        for request in list(running):
            running[request] -= 1
            if running[request] == 0:
                finish_N[request] = step
                del running[request]
    return finish_N


def slotted(arrival_N: Tensor, length_N: Tensor, n_slots: int, pause: int = 0) -> Tensor:
    """The same by a list of the steps at which slots are free; `pause` steps pass before one is used again.

    Examples
    --------
    >>> slotted(torch.tensor([0, 0, 1]), torch.tensor([3, 1, 2]), 2).tolist()
    [3, 1, 3]
    """
    free, finish = [0] * n_slots, []
    for arrival, length in zip(arrival_N.tolist(), length_N.tolist(), strict=True):
        slot = free.index(min(free))
        finish.append(max(free[slot], arrival) + length)
        free[slot] = finish[-1] + pause
    return torch.tensor(finish)


def batched(arrival_N: Tensor, length_N: Tensor, n_slots: int, full: bool = False) -> Tensor:
    """Whole batches: the next begins when the longest of this one is done; `full` waits for all slots.

    Examples
    --------
    >>> batched(torch.tensor([0, 0, 1]), torch.tensor([3, 1, 2]), 2).tolist()
    [3, 1, 5]
    """
    n = len(arrival_N)
    finish_N = torch.zeros(n, dtype=torch.long)
    now = first = 0
    while first < n:
        now = max(now, int(arrival_N[first]))
        last = first
        while last < n and last - first < n_slots and (full or arrival_N[last] <= now):
            last += 1
        if full:
            now = max(now, int(arrival_N[last - 1]))
        finish_N[first:last] = now + length_N[first:last]
        now = int(finish_N[first:last].max())
        first = last
    return finish_N


def fixed(arrival_N: Tensor, length_N: Tensor, n_slots: int) -> Tensor:
    """Request i waits for slot i mod n_slots, whichever else is free.

    Examples
    --------
    >>> fixed(torch.tensor([0, 0, 1]), torch.tensor([3, 1, 2]), 2).tolist()
    [3, 1, 5]
    """
    free, finish = [0] * n_slots, []
    for i, (arrival, length) in enumerate(zip(arrival_N.tolist(), length_N.tolist(), strict=True)):
        free[i % n_slots] = max(free[i % n_slots], arrival) + length
        finish.append(free[i % n_slots])
    return torch.tensor(finish)


def in_order(arrival_N: Tensor, length_N: Tensor, n_slots: int) -> Tensor:
    """A finished request keeps its slot until all before it are finished.

    Examples
    --------
    >>> in_order(torch.tensor([0, 0, 1]), torch.tensor([3, 1, 2]), 2).tolist()
    [3, 1, 5]
    """
    finish: list[int] = []
    for i, (arrival, length) in enumerate(zip(arrival_N.tolist(), length_N.tolist(), strict=True)):
        free = max(finish[: i - n_slots + 1], default=0) if i >= n_slots else 0
        finish.append(max(free, arrival) + length)
    return torch.tensor(finish)
