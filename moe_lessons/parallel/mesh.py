"""Which ranks share experts, and which ranks hold the same ones: a mesh of two dimensions."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from torch import distributed
from torch.distributed.device_mesh import DeviceMesh

REPLICA, EP = "replica", "ep"


def expert_mesh(n_ep: int, device_type: str = "cpu", timeout: timedelta | None = None) -> DeviceMesh:
    """Arrange all W ranks so that neighbours share the experts: rank = replica * n_ep + shard.

    Ranks of one replica exchange rows; ranks with the same shard hold the same experts and add up their
    gradients. All ranks must call this together.

    Parameters
    ----------
    n_ep : int
        How many ranks share one set of experts, a divisor of W.
    device_type : str
        "cpu" (gloo) or "cuda" (NCCL).
    timeout : timedelta, optional
        How long an exchange waits for a rank; by default what PyTorch has.

    Returns
    -------
    DeviceMesh
        Of shape (W / n_ep, n_ep), with dimensions "replica" and "ep".

    Raises
    ------
    ValueError
        If `n_ep` does not divide W.

    Examples
    --------
    >>> with alone():
    ...     expert_mesh(1).shape
    (1, 1)
    """
    size = distributed.get_world_size()
    check_ranks(n_ep, size)
    ranks_RG = [list(range(first, first + n_ep)) for first in range(0, size, n_ep)]
    ranks_GR = [list(column) for column in zip(*ranks_RG, strict=True)]
    # Groups of our own: those that DeviceMesh makes wait for half an hour, whatever the world's own wait is.
    replica, _ = distributed.new_subgroups_by_enumeration(ranks_GR, timeout=timeout)
    ep, _ = distributed.new_subgroups_by_enumeration(ranks_RG, timeout=timeout)
    return DeviceMesh.from_group([replica, ep], device_type, mesh=ranks_RG, mesh_dim_names=(REPLICA, EP))


def check_ranks(n_ep: int, size: int) -> None:
    """Refuse a number of ranks for each set of experts that does not divide all ranks.

    Examples
    --------
    >>> check_ranks(3, 4)
    Traceback (most recent call last):
        ...
    ValueError: ep_size=3 on 4 processes: choose 1, 2 or 4
    """
    if n_ep < 1 or size % n_ep:
        raise ValueError(f"ep_size={n_ep} on {size} processes: choose {listed(divisors(size))}")


def experts_each(n_experts: int, n_ranks: int) -> int:
    """How many experts each rank holds.

    Raises
    ------
    ValueError
        If the ranks cannot hold equally many.

    Examples
    --------
    >>> experts_each(8, 2)
    4
    >>> experts_each(8, 3)
    Traceback (most recent call last):
        ...
    ValueError: n_experts=8 on 3 ranks: choose 1, 2, 4 or 8 ranks, or n_experts=9
    """
    if n_experts % n_ranks:
        more = -(-n_experts // n_ranks) * n_ranks
        raise ValueError(
            f"n_experts={n_experts} on {n_ranks} ranks: choose {listed(divisors(n_experts))} ranks, "
            f"or n_experts={more}"
        )
    return n_experts // n_ranks


def divisors(number: int) -> list[int]:
    """All divisors, the least first.

    Examples
    --------
    >>> divisors(6)
    [1, 2, 3, 6]
    """
    return [n for n in range(1, number + 1) if number % n == 0]


def listed(numbers: list[int]) -> str:
    """Write numbers as a choice.

    Examples
    --------
    >>> listed([1, 2, 4]), listed([1])
    ('1, 2 or 4', '1')
    """
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last}" if others else last


@contextmanager
def alone() -> Iterator[DeviceMesh]:
    """Give a mesh of this process alone, to try an exchange without starting others.

    Examples
    --------
    >>> with alone() as mesh:
    ...     mesh.size()
    1
    """
    mine = not distributed.is_initialized()
    if mine:
        distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        group = distributed.new_group([distributed.get_rank()], use_local_synchronization=True)
        yield DeviceMesh.from_group(group, "cpu", mesh_dim_names=(EP,))
    finally:
        if mine:
            distributed.destroy_process_group()
