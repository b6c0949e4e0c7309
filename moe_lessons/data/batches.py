"""Batches that a step number determines, and windows to evaluate on."""

import hashlib

import torch
from torch import Tensor


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
    tokens_N : Tensor, int64, shape (N,)
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
    return tokens_N[positions_BL], tokens_N[positions_BL + 1]


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
            generator = torch.Generator().manual_seed(derived_seed(seed, "epoch", epoch))
            offset = torch.randint(largest_offset, (), generator=generator)
            order_W = torch.randperm(n_windows, generator=generator)
        starts_B[row] = offset + order_W[sample % n_windows] * context_length
    return starts_B


def evaluation_windows(tokens_M: Tensor, context_length: int) -> tuple[Tensor, Tensor]:
    """Cut held-out tokens into windows side by side, from the start; a remainder is left out.

    Returns
    -------
    inputs_WL, targets_WL : Tensor, int64, shape (W, L)

    Examples
    --------
    >>> inputs_WL, targets_WL = evaluation_windows(torch.arange(10), 4)
    >>> inputs_WL.tolist(), targets_WL.tolist()
    ([[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    """
    n_tokens = (len(tokens_M) - 1) // context_length * context_length
    return (
        tokens_M[:n_tokens].view(-1, context_length),
        tokens_M[1 : n_tokens + 1].view(-1, context_length),
    )
