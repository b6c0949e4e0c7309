"""Entropies of several labels at once, in bits: what 12.beyond_the_token and 12.what_is_it are made of."""

import math

import torch

Tensor = torch.Tensor


def bits(*labels: Tensor) -> float:
    """Entropy of the labels taken together."""
    shares = torch.bincount(_together(*labels)).double() / len(labels[0])
    return torch.special.entr(shares).sum().item() / math.log(2)


def _together(*labels: Tensor) -> Tensor:
    """One number for each combination of labels."""
    key_N = torch.zeros_like(labels[0])
    for label_N in labels:
        key_N = key_N * (int(label_N.max()) + 1) + label_N
    return key_N


def shared(a_N: Tensor, b_N: Tensor) -> float:
    """Mutual information."""
    return bits(a_N) + bits(b_N) - bits(a_N, b_N)


def beyond(a_N: Tensor, b_N: Tensor, given_N: Tensor) -> float:
    """Mutual information of a and b for someone who knows the third."""
    return bits(a_N, given_N) + bits(b_N, given_N) - bits(a_N, b_N, given_N) - bits(given_N)


def miller(a_N: Tensor, b_N: Tensor) -> float:
    """What independent labels share by chance, to first order (Miller 1955)."""
    return miller_beyond(a_N, b_N, torch.zeros_like(a_N))


def miller_beyond(a_N: Tensor, b_N: Tensor, given_N: Tensor) -> float:
    """The same within each value of the third, weighted by how often it occurs."""
    free = (_kinds_in_each(given_N, a_N) - 1) * (_kinds_in_each(given_N, b_N) - 1)
    return free.sum().item() / (2 * len(a_N) * math.log(2))


def _kinds_in_each(given_N: Tensor, labels_N: Tensor) -> Tensor:
    """How many different labels occur beside each value that occurs: float64, shape (values,)."""
    n_given, n_labels = int(given_N.max()) + 1, int(labels_N.max()) + 1
    counts = torch.bincount(_together(given_N, labels_N), minlength=n_given * n_labels)
    kinds = (counts.view(n_given, n_labels) > 0).sum(dim=1)
    return kinds[kinds > 0].double()
