"""Soft MoE: no token is routed. Each expert works on slots, and a slot is an average of all tokens."""

from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.routing.base import checked_logits


class SoftSlots(NamedTuple):
    """How T tokens fill E experts' P slots each: logits, dispatch and combine weights, all (T, E, P)."""

    logits_TEP: Tensor
    dispatch_TEP: Tensor
    combine_TEP: Tensor


def soft_slots(logits_TEP: Tensor) -> SoftSlots:
    """Softmax over tokens says what each slot is made of, softmax over slots what each token gets back.

    slots = D^T x with D = softmax(logits) over t; output = C f(slots) with C = softmax(logits) over (e, p).
    Every expert computes P rows whatever the tokens are, and everything is differentiable.

    Not causal: a slot is an average over all tokens, later ones included, so no decoder can use it as it is.

    Parameters
    ----------
    logits_TEP : Tensor of shape (T, E, P)
        Token t against the parameters of slot p of expert e.

    Raises
    ------
    ValueError
        If `logits_TEP` is not 3-D, has no slot, or holds NaN (looked for on the CPU only).

    References
    ----------
    Puigcerver et al., arXiv 2308.00951, section 2.1.

    Examples
    --------
    >>> logits_TEP = torch.tensor([[[3.0], [1.0]], [[1.0], [1.0]]]).log()  # 2 tokens, 2 experts, 1 slot each
    >>> slots = soft_slots(logits_TEP)
    >>> slots.dispatch_TEP[:, 0, 0]  # what slot 0 is made of: 3/4 of token 0, 1/4 of token 1
    tensor([0.7500, 0.2500])
    >>> slots.combine_TEP[0, :, 0]  # token 0 gets 3/4 of expert 0's slot and 1/4 of expert 1's
    tensor([0.7500, 0.2500])
    """
    if logits_TEP.dim() != 3 or 0 in logits_TEP.shape[1:]:
        raise ValueError(f"logits_TEP has shape {tuple(logits_TEP.shape)}: give (T, E, P), at least one slot")
    n_slots = logits_TEP.shape[1:]
    logits_TS = checked_logits(logits_TEP.flatten(1), name="logits_TEP")
    dispatch_TS, combine_TS = logits_TS.softmax(dim=0), logits_TS.softmax(dim=1)
    return SoftSlots(*(each_TS.unflatten(1, n_slots) for each_TS in (logits_TS, dispatch_TS, combine_TS)))


def fill_slots(hidden_TD: Tensor, slots: SoftSlots) -> Tensor:
    """Average the tokens into what each expert reads, shape (E, P, D).

    Parameters
    ----------
    hidden_TD : Tensor of shape (T, D)
    slots : SoftSlots

    Examples
    --------
    >>> fill_slots(torch.tensor([[4.0], [8.0]]), soft_slots(torch.zeros(2, 1, 1)))
    tensor([[[6.]]])
    """
    return torch.einsum("tep,td->epd", slots.dispatch_TEP.to(hidden_TD.dtype), hidden_TD)


def empty_slots(results_EPD: Tensor, slots: SoftSlots) -> Tensor:
    """Average what the experts made of their slots into each token's output, shape (T, D).

    Parameters
    ----------
    results_EPD : Tensor of shape (E, P, D)
    slots : SoftSlots

    Examples
    --------
    >>> empty_slots(torch.tensor([[[4.0]], [[8.0]]]), soft_slots(torch.zeros(1, 2, 1)))
    tensor([[6.]])
    """
    return torch.einsum("tep,epd->td", slots.combine_TEP.to(results_EPD.dtype), results_EPD)
