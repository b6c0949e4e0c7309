"""Symmetric quantisation of a matrix, with a place for each mistake that one can make."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from moe_lessons.exercises.spec import Case

Tensor = torch.Tensor
Quantised = tuple[Tensor, Tensor, Tensor]
Rule = Callable[[Tensor, float], Tensor]


def reference(weight_FD: Tensor, bits: int, group: int) -> Quantised:
    """Round each group by its largest magnitude over the largest code."""
    return variant(weight_FD, bits, group)


def magnitude(weight_FGP: Tensor, top: float) -> Tensor:
    """What one step is worth: a group's largest magnitude over the largest code.

    Examples
    --------
    >>> magnitude(torch.tensor([[[1.0, -3.5]]]), 7)
    tensor([[0.5000]])
    """
    return weight_FGP.abs().amax(dim=-1) / top


def variant(
    weight_FD: Tensor,
    bits: int,
    group: int,
    scale: Rule = magnitude,
    rounding: Callable[[Tensor], Tensor] = torch.round,
    top_of: Callable[[int], float] = lambda bits: 2 ** (bits - 1) - 1,
    *,
    safe: bool = True,
    limit: bool = True,
    whole: bool = True,
    lowest: Callable[[int], float] = lambda bits: -(2 ** (bits - 1)),
) -> Quantised:
    """Quantise by groups; scale, rounding, largest code and limits are what mistakes change.

    Examples
    --------
    >>> codes_FD, scales_FG, _ = variant(torch.tensor([[7.0, -3.2]]), bits=4, group=2)
    >>> codes_FD.tolist(), scales_FG.tolist()
    ([[7, -3]], [[1.0]])
    """
    weight_FGP = weight_FD.unflatten(1, (-1, group))
    scales_FG = scale(weight_FGP, top_of(bits)).expand(weight_FGP.shape[:2]).contiguous()
    by_FG = torch.where(scales_FG > 0, scales_FG, 1.0) if safe else scales_FG
    codes_FGP = rounding(weight_FGP / by_FG.unsqueeze(-1))
    if limit:
        codes_FGP = codes_FGP.clamp(lowest(bits), 2 ** (bits - 1) - 1)
    weights_FD = (codes_FGP * scales_FG.unsqueeze(-1)).flatten(1)
    if whole:
        codes_FGP = codes_FGP.nan_to_num(0)
    return codes_FGP.flatten(1).long(), scales_FG, weights_FD


def of_whole_codes(weight_FD: Tensor, bits: int, group: int) -> Quantised:
    """0/0 made a whole number, and weights made of that: 0 again, times some huge code."""
    codes_FD, scales_FG, _ = variant(weight_FD, bits, group, safe=False, limit=False, whole=False)
    return codes_FD, scales_FG, codes_FD * scales_FG.repeat_interleave(group, dim=1)


def varied(**how: Any) -> Callable[..., Quantised]:
    """The answer with these changes of `variant`."""
    return lambda weight_FD, bits, group: variant(weight_FD, bits, group, **how)


def changed(change: Callable[[Quantised, int], Quantised]) -> Callable[..., Quantised]:
    """The right answer, changed afterwards; ``change`` also gets the bits."""
    return lambda weight_FD, bits, group: change(reference(weight_FD, bits, group), bits)


def asymmetric(weight_FD: Tensor, bits: int, group: int) -> Quantised:
    """Codes from 0 on, from the smallest weight of a group to the largest."""
    weight_FGP = weight_FD.unflatten(1, (-1, group))
    low_FG, high_FG = weight_FGP.amin(dim=-1), weight_FGP.amax(dim=-1)
    scales_FG = (high_FG - low_FG) / (2**bits - 1)
    by_FG = torch.where(scales_FG > 0, scales_FG, 1.0)
    codes_FGP = ((weight_FGP - low_FG.unsqueeze(-1)) / by_FG.unsqueeze(-1)).round()
    back_FGP = codes_FGP * scales_FG.unsqueeze(-1) + low_FG.unsqueeze(-1)
    return codes_FGP.flatten(1).long(), scales_FG, back_FGP.flatten(1)


def strided(weight_FD: Tensor, bits: int, group: int) -> Quantised:
    """Columns that lie D/group apart make a group."""
    dealt = weight_FD.unflatten(1, (group, -1)).transpose(1, 2).flatten(1)
    codes, scales, back = reference(dealt, bits, group)

    def undo(x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, group)).transpose(1, 2).flatten(1)

    return undo(codes), scales, undo(back)


def over_outputs(weight_FD: Tensor, bits: int, group: int) -> Quantised:
    """One scale for each input, over all outputs; the asked shape of scales is kept."""
    top = 2 ** (bits - 1) - 1
    scale_D = weight_FD.abs().amax(dim=0) / top
    by_D = torch.where(scale_D > 0, scale_D, 1.0)
    codes_FD = (weight_FD / by_D).round()
    return codes_FD.long(), reference(weight_FD, bits, group)[1], codes_FD * scale_D


def symmetric(bits: int) -> float:
    """The lowest code where codes are cut off at both ends alike.

    Examples
    --------
    >>> symmetric(4)
    -7
    """
    return 1 - 2 ** (bits - 1)


def half_range(x: Tensor, top: float) -> Tensor:
    """Half of the way from the smallest to the largest, over the largest code."""
    return (x.amax(dim=-1) - x.amin(dim=-1)) / 2 / top


def row_magnitude(x: Tensor, top: float) -> Tensor:
    """One scale for each row, whatever the group."""
    return (x.abs().amax(dim=(1, 2)) / top)[:, None]


def scaled(weight_FD: Tensor, bits: int, group: int) -> Tensor:
    """Weights in units of their scale, not rounded yet."""
    scales_FD = reference(weight_FD, bits, group)[1].repeat_interleave(group, dim=1)
    return weight_FD / torch.where(scales_FD > 0, scales_FD, 1.0)


def unclamped(weight_FD: Tensor, top: float, group: int) -> Quantised:
    """With any largest code, and none cut off."""
    weight_FGP = weight_FD.unflatten(1, (-1, group))
    scales_FG = magnitude(weight_FGP, top)
    by_FG = torch.where(scales_FG > 0, scales_FG, 1.0)
    codes_FGP = (weight_FGP / by_FG.unsqueeze(-1)).round()
    return codes_FGP.flatten(1).long(), scales_FG, (codes_FGP * scales_FG.unsqueeze(-1)).flatten(1)


def wide(weight_FD: Tensor, bits: int, group: int) -> Quantised:
    """All bits for the magnitude, and no limit."""
    return unclamped(weight_FD, 2**bits - 1, group)


def nonzero(scales: Tensor, other: float) -> Tensor:
    """Scales with another number where they are 0."""
    return torch.where(scales > 0, scales, other)


def divided(weight_FD: Tensor, bits: int, group: int) -> Tensor:
    """Codes over their scale, where they should be multiplied."""
    codes_FD, scales_FG, _ = reference(weight_FD, bits, group)
    return codes_FD / scales_FG.repeat_interleave(group, dim=1)


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Rows of very different size, the largest of each a negative number; a group of zeros."""
    sizes = ((8, 24, 4, 4), (6, 12, 8, 6), (5, 20, 3, 4), (10, 24, 4, 12), (7, 18, 5, 3))
    cases = [_case(rng, *size) for size in sizes]
    return [*cases, _case(rng, 4, 12, 4, 3, zeros=True)]


def _case(
    rng: np.random.Generator, n_out: int, n_in: int, bits: int, group: int, zeros: bool = False
) -> Case:
    while True:
        weight_FD = rng.normal(size=(n_out, n_in)) * np.exp(1.5 * rng.normal(size=(n_out, 1)))
        at = rng.integers(0, n_in, n_out)
        weight_FD[np.arange(n_out), at] = -1.3 * np.abs(weight_FD).max(axis=1)
        weight_FD = weight_FD.astype(np.float32)
        # Away from halves: two right ways to divide must not round to two codes.
        x = weight_FD.reshape(n_out, -1, group).astype(np.float64)
        codes = x / np.abs(x).max(axis=-1, keepdims=True) * (2 ** (bits - 1) - 1)
        if np.abs(np.abs(codes - np.floor(codes)) - 0.5).min() > 1e-4:
            break
    name = f"F={n_out}, D={n_in}, {bits} bits, groups of {group}"
    if zeros:
        weight_FD[1, :group] = 0
        name += ", one of them zeros"
    return Case(name, {"weight_FD": weight_FD, "bits": bits, "group": group}, edge=zeros)
