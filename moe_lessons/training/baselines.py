"""What a model must beat: frequencies of tokens and of pairs of tokens, fitted on the training part.

Tokens are bytes unless `byte_lengths_V` says what they stand for. Scores are in bits per byte in any case, so
that they compare with a model's; with longer tokens the same baselines are harder to beat.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

N_BYTES = 256
_CHUNK = 2**22  # tokens that are looked at together: a mapped file need not fit into memory


def unigram_probabilities(train_N: Tensor, vocab_size: int = N_BYTES) -> Tensor:
    """Estimate how often each token occurs, with one imaginary occurrence of every one (add-one).

    Parameters
    ----------
    train_N : Tensor, shape (N,)
        Whole numbers of any kind.
    vocab_size : int
        V.

    Returns
    -------
    Tensor, float64, shape (V,)

    Examples
    --------
    >>> float(unigram_probabilities(torch.tensor([7, 7, 7, 9]))[7] * 260)
    4.0
    """
    counts_V = torch.ones(vocab_size, dtype=torch.float64)
    for chunk in train_N.split(_CHUNK):
        counts_V += torch.bincount(chunk.long(), minlength=vocab_size)
    return counts_V / counts_V.sum()


def unigram_bits_per_byte(
    train_N: Tensor, validation_M: Tensor, *, byte_lengths_V: Tensor | None = None
) -> float:
    """Mean bits to code a held-out byte by its token's frequency in the training part.

    Parameters
    ----------
    train_N, validation_M : Tensor, shapes (N,) and (M,)
    byte_lengths_V : Tensor, int64, shape (V,), optional
        Bytes that each token stands for; unless given, tokens are bytes.

    Returns
    -------
    float
        Bits per byte. If the training part is empty: 8, or log2(V) tokens per byte.

    Examples
    --------
    >>> unigram_bits_per_byte(torch.empty(0).long(), torch.tensor([1, 2, 3]))
    8.0
    >>> two_bytes_each = torch.full((4096,), 2)
    >>> unigram_bits_per_byte(torch.empty(0).long(), torch.tensor([1, 2, 3]), byte_lengths_V=two_bytes_each)
    6.0
    """
    vocab_size = N_BYTES if byte_lengths_V is None else len(byte_lengths_V)
    tokens_M = validation_M.long()
    bits_M = -unigram_probabilities(train_N, vocab_size).log2()[tokens_M]
    return bits_M.mean().item() / _bytes_per_token(tokens_M, byte_lengths_V)


def bigram_bits_per_byte(
    train_N: Tensor,
    validation_M: Tensor,
    *,
    strength: float = 16.0,
    byte_lengths_V: Tensor | None = None,
) -> float:
    """Mean bits to code a held-out byte given the token before its own.

    The pair counts lean on the unigram frequencies, ``(n_ab + strength * p_b) / (n_a + strength)``,
    which beats add-one on rare tokens and so makes a stronger baseline.

    Parameters
    ----------
    train_N, validation_M : Tensor, shapes (N,) and (M,)
    strength : float
        Imaginary occurrences of each preceding token, spread as the unigram frequencies.
    byte_lengths_V : Tensor, int64, shape (V,), optional
        Bytes that each token stands for; unless given, tokens are bytes.

    Returns
    -------
    float
        Bits per byte over the M - 1 tokens that have a predecessor.

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
    vocab_size = N_BYTES if byte_lengths_V is None else len(byte_lengths_V)
    tokens_M = validation_M.long()
    before_M, after_M = tokens_M[:-1], tokens_M[1:]
    # A table of all V * V pairs would be too large: count those that have to be coded.
    wanted_P, which_M = torch.unique(before_M * vocab_size + after_M, return_inverse=True)
    counts_P = torch.zeros(len(wanted_P), dtype=torch.float64)
    counts_V = torch.zeros(vocab_size, dtype=torch.float64)  # of each token as the first of a pair
    for before, after in _pairs(train_N):
        counts_V += torch.bincount(before, minlength=vocab_size)
        pairs = before * vocab_size + after
        places = torch.searchsorted(wanted_P, pairs).clamp_(max=len(wanted_P) - 1)
        counts_P += torch.bincount(places[wanted_P[places] == pairs], minlength=len(wanted_P))
    leaning_M = strength * unigram_probabilities(train_N, vocab_size)[after_M]
    probabilities_M = (counts_P[which_M] + leaning_M) / (counts_V[before_M] + strength)
    return -probabilities_M.log2().mean().item() / _bytes_per_token(after_M, byte_lengths_V)


def _pairs(train_N: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(train_N) - 1, _CHUNK):
        chunk = train_N[start : start + _CHUNK + 1].long()
        yield chunk[:-1], chunk[1:]


def _bytes_per_token(tokens_M: Tensor, byte_lengths_V: Tensor | None) -> float:
    if byte_lengths_V is None:
        return 1.0
    return byte_lengths_V[tokens_M].sum().item() / len(tokens_M)
