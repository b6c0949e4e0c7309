"""What a model must beat: byte frequencies and byte pairs, fitted on the training part."""

import torch
from torch import Tensor

N_BYTES = 256


def unigram_probabilities(train_N: Tensor) -> Tensor:
    """Estimate how often each byte occurs, with one imaginary occurrence of every byte (add-one).

    Parameters
    ----------
    train_N : Tensor, int64, shape (N,)

    Returns
    -------
    Tensor, float64, shape (256,)

    Examples
    --------
    >>> float(unigram_probabilities(torch.tensor([7, 7, 7, 9]))[7] * 260)
    4.0
    """
    counts_V = torch.bincount(train_N, minlength=N_BYTES).double() + 1
    return counts_V / counts_V.sum()


def unigram_bits_per_byte(train_N: Tensor, validation_M: Tensor) -> float:
    """Mean bits to code a held-out byte by its frequency in the training part.

    Parameters
    ----------
    train_N, validation_M : Tensor, int64, shapes (N,) and (M,)

    Returns
    -------
    float
        Bits per byte; 8 if the training part is empty.

    Examples
    --------
    >>> unigram_bits_per_byte(torch.empty(0).long(), torch.tensor([1, 2, 3]))
    8.0
    """
    return -unigram_probabilities(train_N).log2()[validation_M].mean().item()


def bigram_bits_per_byte(train_N: Tensor, validation_M: Tensor, *, strength: float = 16.0) -> float:
    """Mean bits to code a held-out byte given the byte before it.

    The pair counts lean on the unigram frequencies, ``(n_ab + strength * p_b) / (n_a + strength)``,
    which beats add-one on rare bytes and so makes a stronger baseline.

    Parameters
    ----------
    train_N, validation_M : Tensor, int64, shapes (N,) and (M,)
    strength : float
        Imaginary occurrences of each preceding byte, spread as the unigram frequencies.

    Returns
    -------
    float
        Bits per byte over the M - 1 bytes that have a predecessor.

    References
    ----------
    Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling",
    arXiv:cmp-lg/9606011, section 2.

    Examples
    --------
    >>> alternating = torch.tensor([65, 66] * 500)
    >>> bigram_bits_per_byte(alternating, alternating) < 0.1
    True
    """
    pair_ids = train_N[:-1] * N_BYTES + train_N[1:]
    counts_VV = torch.bincount(pair_ids, minlength=N_BYTES**2).double().view(N_BYTES, N_BYTES)
    smoothed_VV = counts_VV + strength * unigram_probabilities(train_N)
    probabilities_VV = smoothed_VV / (counts_VV.sum(1, keepdim=True) + strength)
    return -probabilities_VV[validation_M[:-1], validation_M[1:]].log2().mean().item()
