"""A rule with a bias, made of one function that routes a batch and moves the bias for the next."""

from collections.abc import Callable

import torch
from torch import Tensor

from moe_lessons.routing.own import as_routing, name_of
from moe_lessons.toy.rules import Decision, EachSeed, Rule
from moe_lessons.toy.world import Batch


class BiasStep(Rule):
    """Route with a bias that steers the choice, and take the next step's bias from the same function.

    Parameters
    ----------
    step : callable
        (logits_TE, expert_bias_E, top_k, rate) to ids (T, K), weights (T, K) and the next bias (E,), as
        exercise 06.bias_step asks for; called for one seed after the other.
    top_k : int
    rate : float

    Attributes
    ----------
    bias_SE : Tensor of shape (S, E) or None
        None before the first step.

    Raises
    ------
    ValueError
        If `step` returns something else (when called).

    Examples
    --------
    >>> def drift(logits_TE, expert_bias_E, top_k, rate):
    ...     weights_TK, ids_TK = (logits_TE + expert_bias_E).topk(top_k)
    ...     return ids_TK, weights_TK, expert_bias_E + rate
    >>> rule = BiasStep(drift, 1, rate=0.5)
    >>> rule.after_step(rule(torch.zeros(1, 3, 2), None))
    >>> rule.bias_SE
    tensor([[0.5000, 0.5000]])
    """

    def __init__(
        self, step: Callable[..., tuple[Tensor, Tensor, Tensor]], top_k: int, *, rate: float
    ) -> None:
        self.step, self.top_k, self.rate = step, top_k, rate
        self.bias_SE: Tensor | None = None
        self._next_SE: Tensor | None = None

    def __call__(self, logits_STE: Tensor, batch: Batch) -> Decision:
        """Route each seed's tokens; the bias moves after the step."""
        n_seeds, _, n_experts = logits_STE.shape
        bias_SE = torch.zeros(n_seeds, n_experts) if self.bias_SE is None else self.bias_SE
        stepped = [self._step(*each) for each in zip(logits_STE, bias_SE, strict=True)]
        routed = iter(stepped)
        decision = EachSeed(lambda logits_TE: next(routed)[:2])(logits_STE, batch)
        self._next_SE = torch.stack([new_bias_E for _, _, new_bias_E in stepped])
        return decision

    def after_step(self, decision: Decision) -> None:
        """Take over the bias that the step has made."""
        self.bias_SE = self._next_SE

    def _step(self, logits_TE: Tensor, bias_E: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        *routed, new_bias_E = self.step(logits_TE, bias_E, self.top_k, self.rate)
        _, ids_TK, weights_TK = as_routing(routed, logits_TE, self.top_k, self.step)
        if new_bias_E.shape != bias_E.shape:
            raise ValueError(
                f"step {name_of(self.step)} returned a bias of shape {tuple(new_bias_E.shape)}: "
                f"give ({len(bias_E)},), one number per expert"
            )
        return ids_TK, weights_TK, new_bias_E.detach()
