"""Sums and means over tokens: with padding left out, sequence by sequence, over ranks."""

from typing import NamedTuple

import torch
from torch import Tensor, distributed


class Groups(NamedTuple):
    """T tokens cut into G groups of `length`: values summed per group (G, E), real tokens per group (G,)."""

    number: int
    length: int
    sums_GE: Tensor
    n_tokens_G: Tensor


def tokens_by_group(values_TE: Tensor, mask_T: Tensor | None, n_groups: int) -> Groups:
    """Sum values over the real tokens of each of G equally long, contiguous groups.

    Examples
    --------
    >>> groups = tokens_by_group(torch.tensor([[1.0], [2.0], [4.0], [8.0]]), torch.tensor([1, 1, 0, 1]), 2)
    >>> groups.sums_GE.tolist(), groups.n_tokens_G.tolist()
    ([[3.0], [8.0]], [2, 1])
    """
    n_tokens, length = values_TE.shape[0], values_TE.shape[0] // n_groups
    mask_T = real_tokens(values_TE, mask_T)
    sums_GE = without_padding(values_TE, mask_T).unflatten(0, (n_groups, length)).sum(dim=1)
    if mask_T is None:
        mask_T = torch.ones(n_tokens, dtype=torch.bool, device=values_TE.device)
    return Groups(n_groups, length, sums_GE, mask_T.unflatten(0, (n_groups, length)).sum(dim=1))


def mean_over_tokens(values_T: Tensor, mask_T: Tensor | None) -> Tensor:
    """Average over the real tokens; 0 when there are none.

    Examples
    --------
    >>> mean_over_tokens(torch.tensor([1.0, 3.0, 100.0]), torch.tensor([True, True, False]))
    tensor(2.)
    """
    groups = tokens_by_group(values_T.unsqueeze(1), mask_T, 1)
    return groups.sums_GE[0, 0] / groups.n_tokens_G[0].clamp_min(1)


def without_padding(values_TE: Tensor, mask_T: Tensor | None) -> Tensor:
    """Put 0 in the rows of padding, whatever stands there: 0 times infinity would not be 0.

    Examples
    --------
    >>> without_padding(torch.tensor([[1.0], [torch.inf]]), torch.tensor([True, False])).flatten()
    tensor([1., 0.])
    """
    real_T = real_tokens(values_TE, mask_T)
    return values_TE if real_T is None else values_TE.masked_fill(~real_T.unsqueeze(1), 0)


def real_tokens(values_T: Tensor, mask_T: Tensor | None) -> Tensor | None:
    """Check a mask against its tokens and return it as bool."""
    if mask_T is None:
        return None
    if mask_T.shape != values_T.shape[:1]:
        raise ValueError(
            f"mask_T has shape {tuple(mask_T.shape)}: give one entry per token, ({values_T.shape[0]},)"
        )
    return mask_T.bool()


def world_size() -> int:
    """Count the ranks of `torch.distributed`; 1 where it was not initialised."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


def sum_over_ranks(*counts: Tensor) -> tuple[Tensor, ...]:
    """Add up integer tensors over all ranks, in one message."""
    if world_size() == 1:
        return counts
    message = torch.cat([tensor.reshape(-1) for tensor in counts])
    distributed.all_reduce(message)
    sums = message.split([tensor.numel() for tensor in counts])
    return tuple(total.view_as(tensor) for total, tensor in zip(sums, counts, strict=True))
