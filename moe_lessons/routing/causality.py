"""Does a router look ahead? Change the last tokens; nothing decided about earlier ones may change.

A language model that can see the future in this way scores well in training and fails when it writes, where
there is no future yet.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.routing.dense import Decision, dense_assignment, dense_weights
from moe_lessons.routing.soft import SoftSlots

Decide = Callable[[Tensor], Decision | Tensor]


class LeakRate(NamedTuple):
    """The share of trials in which some earlier token changed, and the share of earlier tokens that did."""

    trials: float
    tokens: float


def earlier_tokens_changed(
    decide: Decide, hidden_TD: Tensor, other_TD: Tensor, *, tolerance: float = 1e-6
) -> Tensor:
    """Compare what is decided about the tokens before the first one in which two inputs differ.

    Parameters
    ----------
    decide : callable
        Takes hidden states (T, D); returns a decision of any router, or a tensor with one row per token, such
        as which experts kept it. Called twice: noise must come from a generator seeded anew in each call.
    hidden_TD, other_TD : Tensor of shape (T, D)
    tolerance : float
        Weights may differ by rounding. Chosen experts are compared exactly.

    Returns
    -------
    bool Tensor of shape (t,)
        t is the number of equal tokens at the beginning. Any True is a leak.

    Raises
    ------
    ValueError
        If the inputs differ in shape, or a tensor from `decide` has not one row per token.

    Examples
    --------
    >>> before_TD, after_TD = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.0], [2.0], [9.0]])
    >>> earlier_tokens_changed(lambda hidden_TD: hidden_TD.cumsum(0), before_TD, after_TD)
    tensor([False, False])
    >>> earlier_tokens_changed(lambda hidden_TD: hidden_TD / hidden_TD.sum(0), before_TD, after_TD)
    tensor([True, True])
    """
    if hidden_TD.shape != other_TD.shape:
        shapes = f"{tuple(other_TD.shape)} but hidden_TD {tuple(hidden_TD.shape)}"
        raise ValueError(f"other_TD has shape {shapes}: give both the same")
    differs_T = (hidden_TD != other_TD).any(dim=1)
    n_earlier = int((differs_T.cumsum(0) == 0).sum())
    before_TX, after_TX = (_per_token(decide(each_TD)) for each_TD in (hidden_TD, other_TD))
    for decided_TX in (before_TX, after_TX):
        if len(decided_TX) != len(hidden_TD):
            rows = f"{len(decided_TX)} rows for {len(hidden_TD)} tokens"
            raise ValueError(f"decide returned {rows}: return one for each token")
    same_TX = torch.isclose(before_TX, after_TX, rtol=0, atol=tolerance, equal_nan=True)
    return ~same_TX[:n_earlier].all(dim=1)


def leak_rate(
    decide: Decide,
    *,
    n_tokens: int = 32,
    d_model: int = 16,
    n_last: int = 1,
    n_trials: int = 200,
    seed: int = 0,
) -> LeakRate:
    """Draw hidden states, draw the last ones anew, and count how often earlier decisions change.

    0 is what a causal router gives. Any other value proves a leak; 0 proves none, it only fails to find one.

    Parameters
    ----------
    decide : callable
        As in `earlier_tokens_changed`.
    n_tokens, d_model : int
        T and D of the hidden states, which are standard normal.
    n_last : int, 1 to T - 1
        How many tokens are drawn anew.
    n_trials, seed : int

    Returns
    -------
    LeakRate

    Raises
    ------
    ValueError
        If `n_last` leaves no earlier token, or `n_trials` is below 1.

    Examples
    --------
    >>> leak_rate(lambda hidden_TD: hidden_TD.argmax(1), n_trials=20)  # every token looks at itself
    LeakRate(trials=0.0, tokens=0.0)
    >>> leak_rate(lambda hidden_TD: hidden_TD - hidden_TD.mean(0), n_trials=20)  # and here at all
    LeakRate(trials=1.0, tokens=1.0)
    """
    if not 1 <= n_last < n_tokens:
        raise ValueError(f"n_last is {n_last} with {n_tokens} tokens: choose 1 to {n_tokens - 1}")
    if n_trials < 1:
        raise ValueError(f"n_trials is {n_trials}: make at least 1")
    generator = torch.Generator().manual_seed(seed)
    changed = []
    for _ in range(n_trials):
        hidden_TD = torch.randn(n_tokens, d_model, generator=generator)
        other_TD = hidden_TD.clone()
        other_TD[-n_last:] = torch.randn(n_last, d_model, generator=generator)
        changed.append(earlier_tokens_changed(decide, hidden_TD, other_TD))
    changed_NT = torch.stack(changed)
    return LeakRate(float(changed_NT.any(dim=1).double().mean()), float(changed_NT.double().mean()))


def _per_token(decision: Decision | Tensor) -> Tensor:
    """Everything decided about each token, as one row of numbers."""
    if isinstance(decision, Tensor):
        return decision.double().reshape(decision.shape[0], -1)
    if isinstance(decision, SoftSlots):  # its combine weights are causal; what the slots are made of is not
        parts = (decision.dispatch_TEP.flatten(1), decision.combine_TEP.flatten(1))
    else:
        parts = (dense_assignment(decision), dense_weights(decision))
    return torch.cat([part_TX.double() for part_TX in parts], dim=1)
