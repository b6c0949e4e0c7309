"""How the toy's tokens choose experts: a rule reads logits and says who is chosen, with which weight."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.routing import Routing
from moe_lessons.routing.own import as_routing
from moe_lessons.toy.world import Batch


class Decision(NamedTuple):
    """What a rule decided for all seeds: logits, who is chosen (bool), and the weights, all (S, T, E).

    A weight is 0 wherever nothing is chosen.
    """

    logits_STE: Tensor
    chosen_STE: Tensor
    weights_STE: Tensor

    @property
    def load_SE(self) -> Tensor:
        """Routed rows of each expert, int64."""
        return self.chosen_STE.sum(dim=1)


class Rule:
    """A routing rule for S seeds; subclasses choose, and may learn or keep something of their own."""

    def __call__(self, logits_STE: Tensor, batch: Batch) -> Decision:
        """Choose experts and weights."""
        raise NotImplementedError

    def parameters(self) -> Sequence[Tensor]:
        """List what the optimizer shall train besides the model."""
        return ()

    def after_step(self, decision: Decision) -> None:
        """Update what the rule keeps, such as a selection bias, once the optimizer has stepped."""


class TopK(Rule):
    """Each token takes the K experts with the largest scores.

    Parameters
    ----------
    top_k : int
    score : str
        "softmax" over all experts, or "sigmoid" of each.
    renormalize : bool
        Divide a token's K weights by their sum. At K = 1 the router then learns nothing from the task.

    Attributes
    ----------
    bias_SE : Tensor of shape (S, E) or None
        Added to the scores for selection alone; subclasses that steer it set it in `after_step`.

    Raises
    ------
    ValueError
        If `score` is unknown, or `top_k` is not between 1 and E (when called).

    Examples
    --------
    >>> logits_STE = torch.tensor([[[3.0, 1.0, 2.0]]]).log()
    >>> TopK(2)(logits_STE, None).weights_STE  # 3/6 and 2/6
    tensor([[[0.5000, 0.0000, 0.3333]]])
    >>> TopK(2, renormalize=True)(logits_STE, None).weights_STE
    tensor([[[0.6000, 0.0000, 0.4000]]])
    """

    def __init__(self, top_k: int, *, score: str = "softmax", renormalize: bool = False) -> None:
        if score not in ("softmax", "sigmoid"):
            raise ValueError(f"score is {score!r}: choose 'softmax' or 'sigmoid'")
        self.top_k, self.score, self.renormalize = top_k, score, renormalize
        self.bias_SE: Tensor | None = None

    def __call__(self, logits_STE: Tensor, batch: Batch) -> Decision:
        """Score, choose, weigh."""
        n_experts = logits_STE.shape[-1]
        if not 1 <= self.top_k <= n_experts:
            raise ValueError(f"top_k is {self.top_k} with {n_experts} experts: choose 1 to {n_experts}")
        scores_STE = logits_STE.softmax(dim=-1) if self.score == "softmax" else logits_STE.sigmoid()
        ranked_STE = scores_STE if self.bias_SE is None else scores_STE + self.bias_SE.unsqueeze(1)
        ids_STK = ranked_STE.topk(self.top_k, dim=-1).indices
        chosen_STE = torch.zeros_like(scores_STE, dtype=torch.bool).scatter_(-1, ids_STK, True)
        weights_STE = scores_STE * chosen_STE
        if self.renormalize:
            weights_STE = weights_STE / weights_STE.sum(dim=-1, keepdim=True)
        return Decision(logits_STE, chosen_STE, weights_STE)


class EachSeed(Rule):
    """Any gate of `moe_lessons.routing` or your own, applied to one seed after the other.

    Slower than a rule written for all seeds at once.

    Parameters
    ----------
    gate : callable
        Logits (T, E) to a `Routing`, or to ids and weights, both (T, K).

    Raises
    ------
    ValueError
        If it returns something else (when called).

    Examples
    --------
    >>> from moe_lessons.routing import topk_softmax
    >>> EachSeed(lambda logits_TE: topk_softmax(logits_TE, 1))(torch.eye(2).unsqueeze(0), None).chosen_STE
    tensor([[[ True, False],
             [False,  True]]])
    """

    def __init__(self, gate: Callable[[Tensor], Routing | tuple[Tensor, Tensor]]) -> None:
        self.gate = gate

    def __call__(self, logits_STE: Tensor, batch: Batch) -> Decision:
        """Route each seed's tokens and lay the weights out over the experts."""
        chosen_STE = torch.zeros_like(logits_STE, dtype=torch.bool)
        weights_STE = torch.zeros_like(logits_STE)
        for s, logits_TE in enumerate(logits_STE):
            _, ids_TK, weights_TK = as_routing(self.gate(logits_TE), logits_TE, None, self.gate)
            chosen_STE[s].scatter_(-1, ids_TK, True)
            weights_STE[s] = weights_STE[s].scatter(-1, ids_TK, weights_TK)
        return Decision(logits_STE, chosen_STE, weights_STE)


def load_balancing(decision: Decision) -> Tensor:
    """Switch's load-balancing loss for every seed: E * sum f P, 1 when the load is even.

    The same as `moe_lessons.balancing.load_balancing_loss(..., normalization="switch")` seed by seed, for
    rules that choose the same number of experts for every token.

    Parameters
    ----------
    decision : Decision

    Returns
    -------
    Tensor of shape (S,)

    Examples
    --------
    >>> logits_STE = torch.tensor([[[3.0, 1.0], [3.0, 1.0]]]).log()  # P = (3/4, 1/4), f = (1, 0)
    >>> load_balancing(TopK(1)(logits_STE, None))
    tensor([1.5000])
    """
    load_SE = decision.load_SE
    f_SE = load_SE / load_SE.sum(dim=-1, keepdim=True)
    P_SE = decision.logits_STE.softmax(dim=-1).mean(dim=1)
    return f_SE.shape[-1] * (f_SE * P_SE).sum(dim=-1)
