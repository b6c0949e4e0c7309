"""Measures of a load: how evenly experts are used. Every function works along the last axis, E."""

import torch
from torch import Tensor


def load_shares(tokens_per_expert_E: Tensor) -> Tensor:
    """Divide each expert's rows by all routed rows.

    Parameters
    ----------
    tokens_per_expert_E : Tensor of shape (..., E)

    Returns
    -------
    Tensor of shape (..., E), summing to 1

    Examples
    --------
    >>> load_shares(torch.tensor([3, 1, 0, 0]))
    tensor([0.7500, 0.2500, 0.0000, 0.0000])
    """
    load_E = _floating(tokens_per_expert_E)
    return load_E / load_E.sum(dim=-1, keepdim=True)


def entropy(tokens_per_expert_E: Tensor) -> Tensor:
    """Shannon entropy of the load in nats: 0 when one expert takes everything, ln E when all share alike.

    Parameters
    ----------
    tokens_per_expert_E : Tensor of shape (..., E)

    Returns
    -------
    Tensor of shape (...)

    Examples
    --------
    >>> entropy(torch.tensor([5, 5, 0])).exp()  # ln 2
    tensor(2.)
    """
    shares_E = load_shares(tokens_per_expert_E)
    return -torch.xlogy(shares_E, shares_E).sum(dim=-1)


def effective_experts(tokens_per_expert_E: Tensor) -> Tensor:
    """Exponential of the load's entropy: how many equally loaded experts would be as spread out.

    Parameters
    ----------
    tokens_per_expert_E : Tensor of shape (..., E)

    Returns
    -------
    Tensor of shape (...), 1 to E

    References
    ----------
    Hill, Diversity and Evenness, Ecology 54 (1973): the diversity number of order 1.

    Examples
    --------
    >>> effective_experts(torch.tensor([7, 7, 0, 0]))
    tensor(2.)
    """
    return entropy(tokens_per_expert_E).exp()


def inverse_simpson_experts(tokens_per_expert_E: Tensor) -> Tensor:
    """E / (1 + CV²), which is 1 / (sum of squared shares): effective experts, heavy ones counting more.

    Parameters
    ----------
    tokens_per_expert_E : Tensor of shape (..., E)

    Returns
    -------
    Tensor of shape (...), 1 to E

    References
    ----------
    Hill, Diversity and Evenness, Ecology 54 (1973): the diversity number of order 2.

    Examples
    --------
    >>> inverse_simpson_experts(torch.tensor([3, 1]))  # 1 / (9/16 + 1/16)
    tensor(1.6000)
    """
    return 1 / load_shares(tokens_per_expert_E).square().sum(dim=-1)


def coefficient_of_variation(tokens_per_expert_E: Tensor) -> Tensor:
    """Standard deviation of the load (dividing by E) over its mean: 0 when balanced, sqrt(E - 1) at most.

    Parameters
    ----------
    tokens_per_expert_E : Tensor of shape (..., E)

    Returns
    -------
    Tensor of shape (...)

    References
    ----------
    Shazeer et al., arXiv 1701.06538, section 4.

    Examples
    --------
    >>> coefficient_of_variation(torch.tensor([3, 1]))  # 1 / 2
    tensor(0.5000)
    """
    load_E = _floating(tokens_per_expert_E)
    return load_E.std(dim=-1, correction=0) / load_E.mean(dim=-1)


def max_violation(tokens_per_expert_E: Tensor) -> Tensor:
    """MaxVio: how far the fullest expert exceeds the mean, as a fraction of the mean.

    Parameters
    ----------
    tokens_per_expert_E : Tensor of shape (..., E)

    Returns
    -------
    Tensor of shape (...), 0 to E - 1

    References
    ----------
    Wang et al., Auxiliary-Loss-Free Load Balancing, arXiv 2408.15664, section 4.1.

    Examples
    --------
    >>> max_violation(torch.tensor([6, 1, 1, 0]))  # 6 / 2 - 1
    tensor(2.)
    """
    load_E = _floating(tokens_per_expert_E)
    return load_E.amax(dim=-1) / load_E.mean(dim=-1) - 1


def max_over_mean(tokens_per_expert_E: Tensor) -> Tensor:
    """The fullest expert's load over the mean: how much longer than needed everybody waits for it.

    Parameters
    ----------
    tokens_per_expert_E : Tensor of shape (..., E)

    Returns
    -------
    Tensor of shape (...), 1 to E

    References
    ----------
    Shazeer et al., arXiv 1701.06538, table 6.

    Examples
    --------
    >>> max_over_mean(torch.tensor([6, 1, 1, 0]))  # 6 / 2
    tensor(3.)
    """
    return max_violation(tokens_per_expert_E) + 1


def dead_experts(tokens_per_expert_E: Tensor) -> Tensor:
    """Count the experts that received no row.

    Parameters
    ----------
    tokens_per_expert_E : Tensor of shape (..., E)

    Returns
    -------
    Tensor of shape (...), int64

    Examples
    --------
    >>> dead_experts(torch.tensor([6, 1, 1, 0]))
    tensor(1)
    """
    return (tokens_per_expert_E == 0).sum(dim=-1)


def drop_rate(tokens_per_expert_E: Tensor, kept_per_expert_E: Tensor) -> Tensor:
    """Share of the routed rows that no expert worked on, because it was full.

    Parameters
    ----------
    tokens_per_expert_E : Tensor of shape (..., E)
        Rows that the router sent.
    kept_per_expert_E : Tensor of shape (..., E)
        Those that found a place.

    Returns
    -------
    Tensor of shape (...), 0 to 1

    Examples
    --------
    >>> drop_rate(torch.tensor([6, 2]), torch.tensor([4, 2]))  # 2 of 8
    tensor(0.2500)
    """
    routed = _floating(tokens_per_expert_E).sum(dim=-1)
    return (routed - _floating(kept_per_expert_E).sum(dim=-1)) / routed


def routing_entropy(logits_TE: Tensor) -> Tensor:
    """Entropy in nats of each token's softmax over the experts, averaged over tokens.

    Low means sure of itself, ln E undecided. It says nothing about balance: a collapsed router is sure too.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> routing_entropy(torch.zeros(3, 4)).exp()  # ln 4
    tensor(4.)
    """
    log_probs_TE = _floating(logits_TE).log_softmax(dim=-1)
    return torch.special.entr(log_probs_TE.exp()).sum(dim=-1).mean()


def _floating(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
