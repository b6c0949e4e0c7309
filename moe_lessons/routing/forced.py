"""Interventions: a layer routes as it is told to, for a while. What breaks says what the routing was for.

A change takes a layer's logits and its own way to route them, and returns another `Routing`. `forced` puts it
in the place of the layers' gates and takes it out again, whatever happens in between.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from moe_lessons.routing.base import Routing
from moe_lessons.routing.gates import GATES
from moe_lessons.routing.own import as_routing

Route = Callable[[Tensor], Routing]
"""A layer's own way from logits (T, E) to a routing."""
Change = Callable[[Tensor, Route], Routing]


@contextmanager
def forced(layers: Iterable[Any], change: Change) -> Iterator[None]:
    """Route these layers by a change, as long as the `with` block lasts.

    Parameters
    ----------
    layers : iterable of MoELayer
    change : callable
        Takes logits (T, E) and the layer's own `Route`; may choose another number of experts.

    Examples
    --------
    >>> from moe_lessons.layer import MoELayer
    >>> layer = MoELayer(d_model=4, d_expert=4, n_experts=4, top_k=2)
    >>> hidden = torch.zeros(3, 4)
    >>> with forced([layer], ranks(0, 1, 2, 3)):
    ...     layer(hidden).routing.topk_ids_TK.shape
    torch.Size([3, 4])
    >>> layer(hidden).routing.topk_ids_TK.shape
    torch.Size([3, 2])
    """
    changed = [(layer, layer.gate, layer.top_k) for layer in layers]
    try:
        for layer, gate, top_k in changed:
            layer.gate, layer.top_k = _changed(gate, top_k, change), None  # None: any number of choices
        yield
    finally:
        for layer, gate, top_k in changed:
            layer.gate, layer.top_k = gate, top_k


def _changed(gate: Any, top_k: int, change: Change) -> Callable[..., Routing]:
    own = GATES[gate] if isinstance(gate, str) else gate

    def route(logits_TE: Tensor, _: Any, **inputs: Tensor) -> Routing:
        def as_it_was(logits_TE: Tensor) -> Routing:
            biased = dict(inputs)
            if "expert_bias_E" in inputs:  # where an expert is taken away, no bias may bring it back
                gone_E = logits_TE.isneginf().all(dim=0)
                biased["expert_bias_E"] = inputs["expert_bias_E"].masked_fill(gone_E, -torch.inf)
            return as_routing(own(logits_TE, top_k, **biased), logits_TE, top_k, own)

        return change(logits_TE, as_it_was)

    return route


def as_trained(logits_TE: Tensor, route: Route) -> Routing:
    """Change nothing."""
    return route(logits_TE)


def equal_weights(logits_TE: Tensor, route: Route) -> Routing:
    """Keep each token's experts and share the weight out evenly among them."""
    routing = route(logits_TE)
    mean_T1 = routing.topk_weights_TK.mean(dim=1, keepdim=True)
    return routing._replace(topk_weights_TK=mean_T1.expand_as(routing.topk_weights_TK))


def no_experts(logits_TE: Tensor, route: Route) -> Routing:
    """Give every expert weight 0: what is left is attention and the stream."""
    routing = route(logits_TE)
    return routing._replace(topk_weights_TK=torch.zeros_like(routing.topk_weights_TK))


def ranks(*chosen: int) -> Change:
    """Take the experts of these ranks by logit, 0 the best; weights are a softmax over their logits.

    Examples
    --------
    >>> logits = torch.tensor([[3.0, 1.0, 2.0]])
    >>> ranks(1)(logits, lambda logits: None)[1:]
    (tensor([[2]]), tensor([[1.]]))
    """

    def change(logits_TE: Tensor, route: Route) -> Routing:
        if not chosen or not 0 <= min(chosen) <= max(chosen) < logits_TE.shape[1]:
            raise ValueError(f"ranks are {chosen} with {logits_TE.shape[1]} experts: choose from 0 on")
        ids_TK = logits_TE.argsort(dim=1, descending=True, stable=True)[:, list(chosen)]
        return Routing(logits_TE, ids_TK, logits_TE.gather(1, ids_TK).softmax(dim=1))

    return change


def without(expert: int) -> Change:
    """Take one expert away: whoever chose it gets the next best in its place.

    Examples
    --------
    >>> logits = torch.tensor([[3.0, 1.0, 2.0]])
    >>> without(0)(logits, lambda logits: GATES["topk_softmax"](logits, 1)).topk_ids_TK
    tensor([[2]])
    """

    def change(logits_TE: Tensor, route: Route) -> Routing:
        if not 0 <= expert < logits_TE.shape[1]:
            raise ValueError(f"expert is {expert} with {logits_TE.shape[1]} experts: choose one from 0 on")
        gone_E = torch.arange(logits_TE.shape[1], device=logits_TE.device) == expert
        routing = route(logits_TE.masked_fill(gone_E, -torch.inf))
        if bool((routing.topk_ids_TK == expert).any()):
            raise ValueError(f"every token needs all experts: expert {expert} cannot be taken away")
        return routing._replace(logits_TE=logits_TE)

    return change


def renumbered(order_E: Sequence[int] | Tensor) -> Change:
    """Send what was for expert e to expert ``order_E[e]``, with its weight.

    Examples
    --------
    >>> logits = torch.tensor([[3.0, 1.0, 2.0]])
    >>> renumbered([1, 2, 0])(logits, lambda logits: GATES["topk_softmax"](logits, 2)).topk_ids_TK
    tensor([[1, 0]])
    """
    order = torch.as_tensor(order_E)

    def change(logits_TE: Tensor, route: Route) -> Routing:
        if sorted(order.tolist()) != list(range(logits_TE.shape[1])):
            raise ValueError(f"order_E is {order.tolist()}: give each of {logits_TE.shape[1]} experts once")
        routing = route(logits_TE)
        return routing._replace(topk_ids_TK=order.to(logits_TE.device)[routing.topk_ids_TK])

    return change


def exchanged(order_T: Tensor) -> Change:
    """Give token t the experts and the weights of token ``order_T[t]``.

    Examples
    --------
    >>> logits = torch.tensor([[3.0, 1.0], [0.0, 2.0]])
    >>> exchanged(torch.tensor([1, 0]))(logits, lambda logits: GATES["topk_softmax"](logits, 1)).topk_ids_TK
    tensor([[1],
            [0]])
    """

    def change(logits_TE: Tensor, route: Route) -> Routing:
        if order_T.shape != (len(logits_TE),):
            raise ValueError(f"order_T has shape {tuple(order_T.shape)}: give ({len(logits_TE)},)")
        routing = route(logits_TE)
        ids_TK, weights_TK = routing.topk_ids_TK[order_T], routing.topk_weights_TK[order_T]
        return Routing(logits_TE, ids_TK, weights_TK)

    return change


def given(topk_ids_TK: Tensor, topk_weights_TK: Tensor | None = None) -> Change:
    """Use these experts; the weights, unless given too, are a softmax over their logits of the moment.

    Parameters
    ----------
    topk_ids_TK : integer Tensor of shape (T, K), or (1, K) or (K,) for the same experts for all tokens
    topk_weights_TK : Tensor of shape (T, K), optional

    Examples
    --------
    >>> logits = torch.tensor([[3.0, 1.0, 1.0], [0.0, 2.0, 2.0]])
    >>> given(torch.tensor([1, 2]))(logits, lambda logits: None)[1:]
    (tensor([[1, 2],
            [1, 2]]), tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]]))
    """

    def change(logits_TE: Tensor, route: Route) -> Routing:
        ids_TK = topk_ids_TK.expand(len(logits_TE), topk_ids_TK.shape[-1])
        weights_TK = (
            logits_TE.gather(1, ids_TK).softmax(dim=1) if topk_weights_TK is None else topk_weights_TK
        )
        if weights_TK.shape != ids_TK.shape:
            raise ValueError(
                f"topk_weights_TK has shape {tuple(weights_TK.shape)}: give {tuple(ids_TK.shape)}"
            )
        return Routing(logits_TE, ids_TK, weights_TK)

    return change
