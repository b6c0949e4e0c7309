"""Batches that a step number determines, and windows to evaluate on."""

import hashlib
from functools import lru_cache

import torch
from torch import Tensor

MAX_EVALUATION_TOKENS = 2**20  # of more held-out text, windows at equal distances make up so many tokens


def as_tokens(text: bytes) -> Tensor:
    """Turn bytes into token ids.

    Returns
    -------
    Tensor, int64, shape (N,)

    Examples
    --------
    >>> as_tokens(b"MoE").tolist()
    [77, 111, 69]
    """
    return torch.frombuffer(bytearray(text), dtype=torch.uint8).long() if text else torch.empty(0).long()


def derived_seed(*parts: int | str) -> int:
    """Mix numbers and labels into one 63-bit seed, the same on every machine.

    Examples
    --------
    >>> derived_seed(0, "epoch", 1) == derived_seed(0, "epoch", 1) != derived_seed(0, "epoch", 2)
    True
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def training_batch(
    tokens_N: Tensor, *, batch_size: int, context_length: int, seed: int, step: int
) -> tuple[Tensor, Tensor]:
    """Draw the batch of one step: a pure function of seed and step, so a run can resume anywhere.

    Each epoch cuts the text into windows at a new random offset and visits them in a new random
    order, so every byte is seen about once an epoch.

    Parameters
    ----------
    tokens_N : Tensor, shape (N,)
        Whole numbers of any kind, such as those of a file mapped into memory.
    batch_size : int
        B, windows in a batch.
    context_length : int
        L, tokens in a window.
    seed, step : int
        What determines the batch.

    Returns
    -------
    inputs_BL, targets_BL : Tensor, int64, shape (B, L)
        The targets are the inputs' next tokens.

    Examples
    --------
    >>> inputs_BL, targets_BL = training_batch(
    ...     torch.arange(100), batch_size=2, context_length=4, seed=0, step=7)
    >>> bool((targets_BL == inputs_BL + 1).all())
    True
    """
    starts_B = window_starts(
        len(tokens_N), batch_size=batch_size, context_length=context_length, seed=seed, step=step
    )
    positions_BL = starts_B[:, None] + torch.arange(context_length)
    return tokens_N[positions_BL].long(), tokens_N[positions_BL + 1].long()


def window_starts(n_tokens: int, *, batch_size: int, context_length: int, seed: int, step: int) -> Tensor:
    """Return where the windows of `training_batch` begin, int64, shape (B,).

    Examples
    --------
    >>> settings = dict(batch_size=2, context_length=4, seed=0, step=7)
    >>> inputs_BL, _ = training_batch(torch.arange(100), **settings)
    >>> bool((inputs_BL[:, 0] == window_starts(100, **settings)).all())
    True
    """
    largest_offset = min(context_length, n_tokens - context_length)
    # One window fewer than fit without an offset, so that every epoch has the same number.
    n_windows = max(1, (n_tokens - largest_offset) // context_length)
    starts_B = torch.empty(batch_size, dtype=torch.long)
    epoch = -1
    for row, sample in enumerate(range(step * batch_size, (step + 1) * batch_size)):
        if sample // n_windows != epoch:
            epoch = sample // n_windows
            offset, order_W = _epoch(seed, epoch, largest_offset, n_windows)
        starts_B[row] = offset + order_W[sample % n_windows] * context_length
    return starts_B


@lru_cache(maxsize=2)  # one epoch has many steps, and a large corpus millions of windows
def _epoch(seed: int, epoch: int, largest_offset: int, n_windows: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(derived_seed(seed, "epoch", epoch))
    offset = torch.randint(largest_offset, (), generator=generator)
    return offset, torch.randperm(n_windows, generator=generator)


def evaluation_windows(
    tokens_M: Tensor, context_length: int, *, at_most: int | None = None
) -> tuple[Tensor, Tensor]:
    """Cut held-out tokens into windows side by side, from the start; a remainder is left out.

    Parameters
    ----------
    tokens_M : Tensor, shape (M,)
    context_length : int
        L.
    at_most : int, optional
        If there are more windows, take so many of them, at equal distances.

    Returns
    -------
    inputs_WL, targets_WL : Tensor, dtype of the tokens, shape (W, L)

    Examples
    --------
    >>> inputs_WL, targets_WL = evaluation_windows(torch.arange(10), 4)
    >>> inputs_WL.tolist(), targets_WL.tolist()
    ([[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    >>> evaluation_windows(torch.arange(101), 4, at_most=3)[0][:, 0].tolist()  # of 25 windows
    [0, 32, 64]
    """
    n_tokens = (len(tokens_M) - 1) // context_length * context_length
    inputs_WL = tokens_M[:n_tokens].view(-1, context_length)
    targets_WL = tokens_M[1 : n_tokens + 1].view(-1, context_length)
    if at_most is None or len(inputs_WL) <= at_most:
        return inputs_WL, targets_WL
    chosen = torch.arange(at_most) * len(inputs_WL) // at_most
    return inputs_WL[chosen], targets_WL[chosen]
