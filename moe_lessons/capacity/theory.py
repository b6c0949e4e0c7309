"""How many rows a random router drops: exact expectations, no sampling.

Tokens choose independently, expert e with probability p_e, so the number of rows that ask for expert e is
binomial(T, p_e). Counts of different experts depend on each other; the expectation of a sum does not care.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def expected_overflow(n_tokens: int, reach_E: Tensor) -> Tensor:
    """Expected number of rows beyond the capacity, E[max(0, n - C)], for every expert and every capacity.

    Parameters
    ----------
    n_tokens : int
        T.
    reach_E : Tensor of shape (E,)
        Probability that a token has expert e among its K; they sum to K. Uniform routing: K / E each.

    Returns
    -------
    Tensor of shape (E, T + 1), float64
        Column C is for capacity C; column 0 holds the mean loads, the last column zeros.

    Raises
    ------
    ValueError
        If `n_tokens` is negative or a probability lies outside 0..1.

    Examples
    --------
    >>> expected_overflow(2, torch.tensor([0.5]))  # n is 0, 1, 1 or 2: mean 1, and 1 over once in four
    tensor([[1.0000, 0.2500, 0.0000]], dtype=torch.float64)
    """
    reach_E = reach_E.double()
    if n_tokens < 0 or not bool(((reach_E >= 0) & (reach_E <= 1)).all()):
        raise ValueError(
            f"{n_tokens} tokens, reach_E {reach_E.tolist()}: give 0 or more and probabilities 0..1"
        )
    counts_N = torch.arange(n_tokens + 1, dtype=torch.float64, device=reach_E.device)
    total = torch.tensor(float(n_tokens), dtype=torch.float64, device=reach_E.device)
    ways_N = torch.lgamma(total + 1) - torch.lgamma(counts_N + 1) - torch.lgamma(total - counts_N + 1)
    p_E1 = reach_E.unsqueeze(1)
    # xlogy(0, 0) is 0, so that p = 0 and p = 1 need no case of their own.
    pmf_EN = (ways_N + torch.xlogy(counts_N, p_E1) + torch.special.xlog1py(total - counts_N, -p_E1)).exp()
    # E[max(0, n - C)] is the sum of P(n > j) over all j >= C.
    above_EN = F.pad(_sum_from_here(pmf_EN)[:, 1:], (0, 1))
    return _sum_from_here(above_EN)


def expected_drop_rate(n_tokens: int, reach_E: Tensor, capacity: int) -> float:
    """Expected share of the T * K routed rows that find no place, in 0..1.

    Parameters
    ----------
    n_tokens : int
        At least 1.
    reach_E : Tensor of shape (E,)
        As in `expected_overflow`; its sum is K.
    capacity : int

    Raises
    ------
    ValueError
        If `n_tokens` is below 1 or `capacity` is negative.

    Examples
    --------
    >>> uniform_E = torch.full((8,), 1 / 8)  # K = 1
    >>> round(expected_drop_rate(64, uniform_E, capacity=8), 3)
    0.131
    """
    if n_tokens < 1 or capacity < 0:
        raise ValueError(f"{n_tokens} tokens, capacity {capacity}: give at least 1 token and 0 places")
    overflow_E = expected_overflow(n_tokens, reach_E)[:, min(capacity, n_tokens)]
    return float(overflow_E.sum() / (n_tokens * reach_E.double().sum()))


def expected_padding(n_tokens: int, reach_E: Tensor, capacity: int) -> float:
    """Expected share of the E * C places that nobody takes, in 0..1.

    Follows from the drop rate d: T * K * (1 - d) rows are kept, and every kept row fills a place. Where
    E * C = T * K the two shares are equal: for every row refused somewhere, a place stays empty elsewhere.

    Examples
    --------
    >>> uniform_E = torch.full((8,), 1 / 8)
    >>> round(expected_padding(64, uniform_E, capacity=8), 3), round(expected_padding(64, uniform_E, 16), 3)
    (0.131, 0.5)
    """
    if capacity < 1:
        raise ValueError(f"capacity is {capacity}: a share of the places needs 1 or more")
    rows = n_tokens * float(reach_E.double().sum())
    return 1 - rows * (1 - expected_drop_rate(n_tokens, reach_E, capacity)) / (len(reach_E) * capacity)


def _sum_from_here(values_EN: Tensor) -> Tensor:
    """Sum of each entry and all later ones, added from the end: the tail's small ones come first."""
    return values_EN.flip(1).cumsum(1).flip(1)
