"""Experts on several devices, simulated: who holds what, the bytes that travel, and a model of the time.

G ranks each hold some of the experts and some of the tokens. A layer's forward has two exchanges: *dispatch*
brings each routed row to the rank of its expert, *combine* brings the results back. Nothing here
communicates: a byte matrix [from rank, to rank] and two numbers of a network show what decides the time.
"""

import torch
from torch import Tensor


def contiguous_placement(count: int, n_ranks: int) -> Tensor:
    """Place neighbours together: the first count / G on rank 0, and so on.

    Parameters
    ----------
    count : int
        How many experts, or tokens, to place.
    n_ranks : int
        G, a divisor of ``count``.

    Returns
    -------
    int64 Tensor of shape (count,)
        The rank of each.

    Raises
    ------
    ValueError
        If the ranks cannot have equally many.

    Examples
    --------
    >>> contiguous_placement(6, 3)
    tensor([0, 0, 1, 1, 2, 2])
    """
    if n_ranks < 1 or count % n_ranks:
        raise ValueError(f"n_ranks={n_ranks} does not divide {count}: choose a divisor")
    return torch.arange(count) // (count // n_ranks)


def dispatch_bytes(
    topk_ids_TK: Tensor,
    rank_of_token_T: Tensor,
    rank_of_expert_E: Tensor,
    row_bytes: int,
    *,
    once_per_rank: bool = False,
) -> Tensor:
    """Count what each rank sends to each other when rows go to their experts; combine sends it back.

    Parameters
    ----------
    topk_ids_TK : integer Tensor of shape (T, K)
    rank_of_token_T : integer Tensor of shape (T,)
    rank_of_expert_E : integer Tensor of shape (E,)
    row_bytes : int
        Bytes of one row, D times bytes per element.
    once_per_rank : bool
        Send a token once to a rank that holds several of its experts, rather than once for each.

    Returns
    -------
    int64 Tensor of shape (G, G)
        Bytes from rank (row) to rank (column). The diagonal stays on its rank and needs no network.

    Raises
    ------
    ValueError
        If there are not as many token ranks as rows of ids.

    References
    ----------
    Lepikhin et al., arXiv 2006.16668, section 3.3.

    Examples
    --------
    >>> ids_TK = torch.tensor([[0, 1], [2, 3]])  # both tokens live on rank 1
    >>> ranks_E = contiguous_placement(4, 2)
    >>> dispatch_bytes(ids_TK, torch.tensor([1, 1]), ranks_E, row_bytes=10)
    tensor([[ 0,  0],
            [20, 20]])
    >>> dispatch_bytes(ids_TK, torch.tensor([1, 1]), ranks_E, row_bytes=10, once_per_rank=True)
    tensor([[ 0,  0],
            [10, 10]])
    """
    if rank_of_token_T.shape != topk_ids_TK.shape[:1]:
        raise ValueError(
            f"rank_of_token_T has shape {tuple(rank_of_token_T.shape)}: "
            f"give one rank for each of {len(topk_ids_TK)} tokens"
        )
    n_ranks = 1 + max(
        int(ranks.max()) if ranks.numel() else 0 for ranks in (rank_of_token_T, rank_of_expert_E)
    )
    rows_TG = torch.zeros(len(topk_ids_TK), n_ranks, dtype=torch.int64)
    goes_to_TK = rank_of_expert_E[topk_ids_TK]
    rows_TG.scatter_add_(1, goes_to_TK, torch.ones_like(goes_to_TK))
    if once_per_rank:
        rows_TG.clamp_(max=1)
    return (
        torch.zeros(n_ranks, n_ranks, dtype=torch.int64).index_add_(0, rank_of_token_T, rows_TG) * row_bytes
    )


def exchange_us(bytes_GG: Tensor, latency_us: float, gigabytes_per_s: float) -> Tensor:
    """Time each rank needs for one exchange: a latency for each partner, then bytes over bandwidth.

    The alpha-beta model, with sending and receiving at once: alpha * partners + max(sent, received) / beta.
    Congestion on the way and overlap with arithmetic are left out.

    Parameters
    ----------
    bytes_GG : Tensor of shape (G, G)
        From rank (row) to rank (column); the diagonal is free.
    latency_us : float
        Alpha, microseconds for each partner a rank sends to or hears from, whichever are more.
    gigabytes_per_s : float
        Beta, of one rank's link in each direction, in 10**9 bytes per second.

    Returns
    -------
    float64 Tensor of shape (G,), microseconds

    Raises
    ------
    ValueError
        If the matrix is not square, or a number of the network is out of range.

    References
    ----------
    Hockney, The communication challenge for MPP, Parallel Computing 20 (1994).

    Examples
    --------
    >>> bytes_GG = torch.tensor([[500, 3000], [1000, 500]])
    >>> exchange_us(bytes_GG, latency_us=2.0, gigabytes_per_s=1.0)  # 2 us, and 3000 bytes at 1 byte per ns
    tensor([5., 5.], dtype=torch.float64)
    """
    if bytes_GG.dim() != 2 or bytes_GG.shape[0] != bytes_GG.shape[1]:
        raise ValueError(f"bytes_GG has shape {tuple(bytes_GG.shape)}: give a square matrix")
    if latency_us < 0 or not gigabytes_per_s > 0:
        raise ValueError(
            f"latency_us={latency_us}, gigabytes_per_s={gigabytes_per_s}: give at least 0 and more than 0"
        )
    abroad_GG = bytes_GG.to(torch.float64)
    abroad_GG = abroad_GG - torch.diag(abroad_GG.diagonal())
    sent_G, received_G = abroad_GG.sum(dim=1), abroad_GG.sum(dim=0)
    partners_G = torch.maximum((abroad_GG > 0).sum(dim=1), (abroad_GG > 0).sum(dim=0))
    return latency_us * partners_G + torch.maximum(sent_G, received_G) / (1e3 * gigabytes_per_s)


def step_us(compute_us_G: Tensor, exchanges_us_G: list[Tensor]) -> Tensor:
    """Time of a layer in which all ranks wait for the slowest, in arithmetic and in each exchange.

    Parameters
    ----------
    compute_us_G : Tensor of shape (G,)
    exchanges_us_G : list of Tensor of shape (G,)
        Dispatch and combine, as `exchange_us` gives them.

    Returns
    -------
    Tensor of shape (), microseconds

    Examples
    --------
    >>> step_us(torch.tensor([10.0, 30.0]), [torch.tensor([5.0, 1.0])])  # 30 + 5
    tensor(35.)
    """
    return torch.stack([phase_G.max() for phase_G in (compute_us_G, *exchanges_us_G)]).sum()
