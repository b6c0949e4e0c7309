"""One check of drafted tokens, with a place for each mistake that one can make."""

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor
Answer = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]


def drawn(weights_V: Tensor, u: float, normalised: bool = True, further: int = 0) -> int:
    """The first token up to which the weights, made to sum to 1, add up to u or more.

    Examples
    --------
    >>> drawn(torch.tensor([1.0, 0.0, 3.0]), 0.3)
    2
    """
    sums_V = weights_V.double().cumsum(0)
    if normalised:
        sums_V = sums_V / sums_V[-1]
    return max(0, min(int((sums_V < u).sum()) + further, len(weights_V) - 1))


def reaching(sums_to_V: Tensor, u: float) -> int:
    """The first token at which sums as they are reach u; token 0, as `argmax` says, if none does.

    Examples
    --------
    >>> reaching(torch.tensor([0.0, 0.1, 0.2]), 0.25), reaching(torch.tensor([0.0, 0.1, 0.2]), 0.5)
    (2, 0)
    """
    return int((sums_to_V.double().cumsum(0) >= u).int().argmax())


def keeps(p_V: Tensor, q_V: Tensor, token: int, u: Tensor) -> bool:
    """Whether the target keeps a drafted token."""
    return bool(u * q_V[token] <= p_V[token])


def missing(p_V: Tensor, q_V: Tensor) -> Tensor:
    """What the target gives a token above what the draft gave it."""
    return (p_V - q_V).clamp_min(0)


def checked(
    p_HV: Tensor,
    q_GV: Tensor,
    drafted_G: Tensor,
    u_G: Tensor,
    u_last: float,
    *,
    accept: Callable[[Tensor, Tensor, int, Tensor], bool] = keeps,
    residual: Callable[[Tensor, Tensor], Tensor] = missing,
    bonus: Callable[[Tensor, Tensor], Tensor | None] = lambda p_V, q_V: p_V,
    redraw: Callable[[Tensor, float], int] = drawn,
    normalised: bool = True,
    stop: bool = True,
    keep_rejected: bool = False,
    replace: bool = True,
    one_more: bool = False,
    behind: int = -1,
) -> Tensor:
    """Tokens that are left of a draft, and the one that the target adds; ``behind`` fills up to G + 1.

    ``accept`` to ``behind`` are what mistakes change: the rule, the distribution after a rejection, the one
    after a whole draft (None for no bonus), how a token is drawn, whether the residual is brought to sum 1,
    whether the first rejection ends it, whether the rejected token stays, whether it is replaced, whether a
    bonus follows even then.

    Examples
    --------
    >>> p, q = torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([[1.0, 0.0]])
    >>> checked(p, q, torch.tensor([0]), torch.tensor([0.9]), 0.5).tolist()
    [1, -1]
    """
    out: list[int] = []
    for g in range(len(drafted_G)):
        token = int(drafted_G[g])
        if accept(p_HV[g], q_GV[g], token, u_G[g]):
            out.append(token)
            continue
        if keep_rejected:
            out.append(token)
        if replace:
            left_V = residual(p_HV[g], q_GV[g])
            out.append(redraw(left_V, u_last) if normalised else drawn(left_V, u_last, False))
        if one_more:
            out.append(redraw(p_HV[g + 1], u_last))
        if stop:
            break
    else:
        last_V = bonus(p_HV[-1], q_GV[-1])
        if last_V is not None and len(out) == len(drafted_G):
            out.append(redraw(last_V, u_last))
    return torch.tensor((out + [behind] * len(p_HV))[: len(p_HV)])


def varied(**how: Any) -> Answer:
    """The answer with these changes."""
    return lambda p, q, drafted, u, u_last: checked(p, q, drafted, u, u_last, **how)


def all_kept(p_HV: Tensor, q_GV: Tensor, drafted_G: Tensor, u_G: Tensor) -> Tensor:
    """For each drafted token by itself, whether it would be kept.

    Examples
    --------
    >>> p, q = torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([[1.0, 0.0]])
    >>> all_kept(p, q, torch.tensor([0]), torch.tensor([0.9])).tolist()
    [False]
    """
    each = range(len(drafted_G))
    return torch.tensor([keeps(p_HV[g], q_GV[g], int(drafted_G[g]), u_G[g]) for g in each])


def counted(p_HV: Tensor, q_GV: Tensor, drafted_G: Tensor, u_G: Tensor, u_last: float) -> Tensor:
    """The mistake of taking as many as would be kept anywhere."""
    n, n_drafted = int(all_kept(p_HV, q_GV, drafted_G, u_G).sum()), len(drafted_G)
    left_V = missing(p_HV[n], q_GV[n]) if n < n_drafted else p_HV[n]
    tokens = [*drafted_G[:n].tolist(), drawn(left_V, u_last)]
    return torch.tensor(tokens + [-1] * (n_drafted - n))


def other_row(row: Callable[[int, int], int], plain: bool = False) -> Answer:
    """The mistake of taking what is missing, or just p, from another place's distributions."""

    def answer(p_HV: Tensor, q_GV: Tensor, drafted_G: Tensor, u_G: Tensor, u_last: float) -> Tensor:
        tokens_H = checked(p_HV, q_GV, drafted_G, u_G, u_last)
        n = int(all_kept(p_HV, q_GV, drafted_G, u_G).long().cumprod(0).sum())
        if n < len(drafted_G):
            at = row(n, len(p_HV) - 1)
            left_V = missing(p_HV[at], q_GV[at]) if at < len(q_GV) and not plain else p_HV[at]
            tokens_H[n] = drawn(left_V, u_last)
        return tokens_H

    return answer


def redrawn_with_own(p_HV: Tensor, q_GV: Tensor, drafted_G: Tensor, u_G: Tensor, u_last: float) -> Tensor:
    """The mistake of drawing with the chance that rejected."""
    tokens_H = checked(p_HV, q_GV, drafted_G, u_G, u_last)
    n = int(all_kept(p_HV, q_GV, drafted_G, u_G).long().cumprod(0).sum())
    if n < len(drafted_G):
        tokens_H[n] = drawn(missing(p_HV[n], q_GV[n]), float(u_G[n]))
    return tokens_H


def shifted(p_HV: Tensor, q_GV: Tensor, drafted_G: Tensor, u_G: Tensor, u_last: float) -> Tensor:
    """The mistake of deciding by the next place's row, and of drawing from the right one."""
    kept_G = all_kept(p_HV[1:], q_GV, drafted_G, u_G)
    n = int(kept_G.long().cumprod(0).sum())
    left_V = missing(p_HV[n], q_GV[n]) if n < len(drafted_G) else p_HV[n]
    return torch.tensor([*drafted_G[:n].tolist(), drawn(left_V, u_last)] + [-1] * (len(drafted_G) - n))


def multiplied(p_HV: Tensor, q_GV: Tensor, drafted_G: Tensor, u_G: Tensor, u_last: float) -> Tensor:
    """The mistake of deciding by the product of the ratios so far."""
    at = torch.arange(len(drafted_G))
    so_far_G = (p_HV[at, drafted_G] / q_GV[at, drafted_G]).cumprod(0)
    n = int((u_G <= so_far_G).long().cumprod(0).sum())
    left_V = missing(p_HV[n], q_GV[n]) if n < len(drafted_G) else p_HV[n]
    return torch.tensor([*drafted_G[:n].tolist(), drawn(left_V, u_last)] + [-1] * (len(drafted_G) - n))
