"""A router of one's own in the toy: any function from logits to ids and weights, or to a row of weights."""

from collections.abc import Callable

import torch
from torch import Tensor

from moe_lessons.routing.own import as_routing, name_of
from moe_lessons.toy.rules import Decision
from moe_lessons.toy.world import Batch
from moe_lessons.toy.zoo import Zoo


class OwnRouter(Zoo):
    """A function that routes one seed's tokens, called for one seed after the other.

    Parameters
    ----------
    router : callable
        (logits_TE, training) to ids and weights, both (T, K), or to weights (T, E) with 0 where an expert is
        not chosen. `training` is False where a token is decided about alone.

    Raises
    ------
    ValueError
        If it returns something else (when called).

    Examples
    --------
    >>> first_two = OwnRouter(lambda logits_TE, training: torch.tensor([[0.5, 0.5, 0.0]] * len(logits_TE)))
    >>> first_two(torch.zeros(1, 4, 3), None).load_SE
    tensor([[4, 4, 0]])
    """

    def __init__(self, router: Callable[[Tensor, bool], Tensor | tuple[Tensor, Tensor]]) -> None:
        self.router = router

    def __call__(self, logits_STE: Tensor, batch: Batch) -> Decision:
        """Route each seed's tokens and lay the weights out over the experts."""
        routed = [self._routed(logits_TE) for logits_TE in logits_STE]
        chosen, weights = zip(*routed, strict=True)
        return Decision(logits_STE, torch.stack(chosen), torch.stack(weights))

    def _routed(self, logits_TE: Tensor) -> tuple[Tensor, Tensor]:
        got = self.router(logits_TE, self.training)
        if isinstance(got, Tensor):
            if got.shape != logits_TE.shape:
                raise ValueError(
                    f"router {name_of(self.router)} returned weights of shape {tuple(got.shape)}: give "
                    f"{tuple(logits_TE.shape)}, 0 where an expert is not chosen"
                )
            return got != 0, got.to(logits_TE.dtype)
        _, ids_TK, weights_TK = as_routing(got, logits_TE, None, self.router)
        none_TE = torch.zeros_like(logits_TE)
        return (
            none_TE.bool().scatter(1, ids_TK, True),
            none_TE.scatter(1, ids_TK, weights_TK.to(logits_TE.dtype)),
        )
