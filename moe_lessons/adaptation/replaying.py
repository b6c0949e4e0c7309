"""Rollout and training pass disagree about experts: how often, what of it, and how replaying repairs it.

The engine that samples and the one that trains compute the same model with other rounding. Where two router
logits are close, another expert is chosen, and the probabilities that a policy gradient divides jump.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from moe_lessons.layer import MoELayer
from moe_lessons.model import MoETransformer
from moe_lessons.routing import Routing
from moe_lessons.routing.forced import Change, Route, forced

REPLAYED_GATES = ("topk_softmax", "softmax_topk", "softmax_topk_renorm")


@contextmanager
def recorded(model: MoETransformer) -> Iterator[list[Routing]]:
    """Record how each layer routes while the `with` block lasts: prompt and generated tokens alike.

    Yields
    ------
    list of Routing
        Filled when the block ends, one per layer, with a row for each token in order. Of one text at a time:
        rows of several forward passes are put one behind the other.

    Examples
    --------
    >>> from moe_lessons.config import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=2, d_model=8, n_heads=2, d_expert=8)).eval()
    >>> caches = model.new_caches()
    >>> with recorded(model) as routings, torch.no_grad():
    ...     for part in ([[1, 2, 3]], [[4]]):
    ...         output = model(torch.tensor(part), caches=caches)
    >>> len(routings), routings[0].topk_ids_TK.shape
    (2, torch.Size([4, 2]))
    """
    layers = model.moe_layers
    parts: list[list[Routing]] = [[] for _ in layers]
    hooks = [
        layer.register_forward_hook(lambda module, given, output, mine=mine: mine.append(output[1]))
        for layer, mine in zip(layers, parts, strict=True)
    ]
    routings: list[Routing] = []
    try:
        yield routings
    finally:
        for hook in hooks:
            hook.remove()
    for mine in parts:
        columns = zip(*mine, strict=True)
        routings.append(Routing(*(torch.cat([one.detach() for one in column]) for column in columns)))


def replayed_weights(logits_TE: Tensor, topk_ids_TK: Tensor, gate: str = "topk_softmax") -> Tensor:
    """Weigh experts chosen elsewhere by the logits of now, so that the gradient reaches the router.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    topk_ids_TK : integer Tensor of shape (T, K)
    gate : str
        One of `REPLAYED_GATES`.

    Returns
    -------
    Tensor of shape (T, K)

    Raises
    ------
    ValueError
        If the gate is another, or ids and logits do not fit together.

    References
    ----------
    Ma et al., "Stabilizing MoE Reinforcement Learning by Aligning Training and Inference Routers",
    arXiv 2510.11370.

    Examples
    --------
    >>> replayed_weights(torch.tensor([[3.0, 1.0, 1.0]]), torch.tensor([[1, 2]]))
    tensor([[0.5000, 0.5000]])
    """
    n_tokens, n_experts = logits_TE.shape
    if topk_ids_TK.dim() != 2 or len(topk_ids_TK) != n_tokens:
        raise ValueError(
            f"topk_ids_TK has shape {tuple(topk_ids_TK.shape)}: give a row for each of {n_tokens} tokens"
        )
    if topk_ids_TK.numel() and not 0 <= int(topk_ids_TK.min()) <= int(topk_ids_TK.max()) < n_experts:
        raise ValueError(
            f"topk_ids_TK runs from {int(topk_ids_TK.min())} to {int(topk_ids_TK.max())} with "
            f"{n_experts} experts: replay ids of this model"
        )
    if gate not in REPLAYED_GATES:
        raise ValueError(f"gate is {gate!r}: replay knows {', '.join(REPLAYED_GATES)}")
    if gate == "softmax_topk":
        return logits_TE.softmax(dim=-1).gather(1, topk_ids_TK)
    return logits_TE.gather(1, topk_ids_TK).softmax(dim=-1)


def _replaying(layer: MoELayer, routing: Routing, weights: bool) -> Change:
    gate = layer.gate

    def change(logits_TE: Tensor, route: Route) -> Routing:
        ids_TK = routing.topk_ids_TK
        now_TK = replayed_weights(logits_TE, ids_TK, gate)  # type: ignore[arg-type]
        if not weights:
            return Routing(logits_TE, ids_TK, now_TK)
        # A layer multiplies by `routed_scale` after its gate, and what was recorded has it already.
        return Routing(logits_TE, ids_TK, (routing.topk_weights_TK / layer.spec.routed_scale).to(now_TK))

    return change


@contextmanager
def replay(model: MoETransformer, routings: Sequence[Routing], *, weights: bool = False) -> Iterator[None]:
    """Send every token to the experts that it had in the rollout, as long as the `with` block lasts.

    Parameters
    ----------
    model : MoETransformer
    routings : sequence of Routing
        From `recorded`, or a `ModelOutput`'s: one per layer, for the same tokens in the same order.
    weights : bool
        Also take the weights of the rollout, which no gradient goes through. Otherwise they are made of the
        logits of now.

    Raises
    ------
    ValueError
        If layers, tokens or ids do not fit, or the gate is none of `REPLAYED_GATES`.

    Examples
    --------
    >>> from moe_lessons.adaptation.comparing import changed_sets
    >>> from moe_lessons.config import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=2, d_model=8, n_heads=2, d_expert=8))
    >>> tokens = torch.tensor([[1, 2, 3]])
    >>> rollout = narrowed(model)(tokens)
    >>> with replay(model, rollout.routings):
    ...     trained = model(tokens)
    >>> bool(changed_sets(trained.routings, rollout.routings).any())
    False
    """
    layers = model.moe_layers
    if len(routings) != len(layers):
        raise ValueError(
            f"routings has {len(routings)} layers: give one for each of {len(layers)} with experts"
        )
    changes = [_replaying(layer, routing, weights) for layer, routing in zip(layers, routings, strict=True)]
    with forced_each(layers, changes):
        yield


@contextmanager
def forced_each(layers: Sequence[MoELayer], changes: Sequence[Change]) -> Iterator[None]:
    """Route each layer by a change of its own."""
    if not layers:
        yield
        return
    with forced(layers[:1], changes[0]), forced_each(layers[1:], changes[1:]):
        yield


@contextmanager
def perturbed(
    model: MoETransformer, size: float, *, generator: torch.Generator | None = None
) -> Iterator[None]:
    """Add normal noise to every router's logits, as long as the `with` block lasts.

    Parameters
    ----------
    model : MoETransformer
    size : float
        Its standard deviation, in the logits' units.
    generator : torch.Generator, optional

    Examples
    --------
    >>> from moe_lessons.adaptation.comparing import changed_sets
    >>> from moe_lessons.config import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=1, d_model=8, n_heads=2, d_expert=8))
    >>> tokens = torch.tensor([[1, 2, 3]])
    >>> with perturbed(model, 100.0):
    ...     other = model(tokens).routings
    >>> changed_sets(model(tokens).routings, other).shape
    torch.Size([1, 3])
    """

    def change(logits_TE: Tensor, route: Route) -> Routing:
        noise_TE = torch.randn(logits_TE.shape, generator=generator).to(logits_TE)
        return route(logits_TE + size * noise_TE)

    with forced(model.moe_layers, change):
        yield


def narrowed(model: MoETransformer, dtype: torch.dtype = torch.bfloat16) -> MoETransformer:
    """Return the model as a sampling engine holds it: weights and stream in `dtype`, routers in fp32.

    Examples
    --------
    >>> from moe_lessons.config import ModelConfig
    >>> narrow = narrowed(MoETransformer(ModelConfig(n_layers=1, d_model=8, n_heads=2, d_expert=8)))
    >>> narrow.head.weight.dtype, narrow.moe_layers[0].router.weight.dtype
    (torch.bfloat16, torch.float32)
    """
    return copy.deepcopy(model).to(dtype)
