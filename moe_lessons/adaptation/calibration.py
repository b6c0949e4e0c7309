"""What each expert does on a text: how often it is chosen, how much it weighs, how loud it answers."""

from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.experts import SwiGLUExperts, swiglu
from moe_lessons.layer import MoELayer
from moe_lessons.model import MoETransformer
from moe_lessons.routing import Routing
from moe_lessons.routing.forced import forced, without

CRITERIA = ("frequency", "weight", "reap", "norm", "loss", "random")


class LayerInput(NamedTuple):
    """What one MoE layer was given: hidden states (T, D), and the routing that followed."""

    hidden_TD: Tensor
    routing: Routing


@torch.no_grad()
def layer_inputs(model: MoETransformer, tokens_BL: Tensor) -> list[LayerInput]:
    """Run a text through a model and catch what each MoE layer was given.

    Parameters
    ----------
    model : MoETransformer
    tokens_BL : Tensor of shape (B, L), int64

    Examples
    --------
    >>> from moe_lessons.config import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=2, d_model=8, n_heads=2, d_expert=8))
    >>> caught = layer_inputs(model, torch.tensor([[1, 2, 3]]))
    >>> len(caught), caught[0].hidden_TD.shape
    (2, torch.Size([3, 8]))
    """
    caught: list[LayerInput] = []

    def keep(module: MoELayer, given: tuple[Tensor, ...], output: tuple[Tensor, Routing]) -> None:
        caught.append(LayerInput(given[0].reshape(-1, given[0].shape[-1]), output[1]))

    hooks = [layer.register_forward_hook(keep) for layer in model.moe_layers]
    try:
        model(tokens_BL)
    finally:
        for hook in hooks:
            hook.remove()
    return caught


def reap(topk_ids_TK: Tensor, topk_weights_TK: Tensor, norms_TK: Tensor, n_experts: int) -> Tensor:
    """Mean over the tokens that an expert got of its weight times the norm of its answer; idle experts: 0.

    Parameters
    ----------
    topk_ids_TK, topk_weights_TK : Tensor of shape (T, K)
    norms_TK : Tensor of shape (T, K)
        Norm of what the k-th expert of a token answers.
    n_experts : int

    Returns
    -------
    Tensor of shape (E,), float64

    References
    ----------
    Lasby et al., "REAP the Experts", arXiv 2510.13999.

    Examples
    --------
    >>> ids, weights = torch.tensor([[0], [0], [2]]), torch.tensor([[1.0], [0.5], [1.0]])
    >>> reap(ids, weights, torch.tensor([[2.0], [2.0], [3.0]]), 3)
    tensor([1.5000, 0.0000, 3.0000], dtype=torch.float64)
    """
    loudness_TK = topk_weights_TK.double() * norms_TK.double()
    counts_E = _summed(topk_ids_TK, torch.ones_like(loudness_TK), n_experts)
    return _summed(topk_ids_TK, loudness_TK, n_experts) / counts_E.clamp_min(1)


def _summed(topk_ids_TK: Tensor, values_TK: Tensor, n_experts: int) -> Tensor:
    total_E = torch.zeros(n_experts, dtype=torch.float64, device=values_TK.device)
    return total_E.index_add_(0, topk_ids_TK.flatten(), values_TK.double().flatten())


@torch.no_grad()
def answer_norms(layer: MoELayer, caught: LayerInput) -> Tensor:
    """Return the norm of each chosen expert's answer, before its weight; shape (T, K)."""
    bank = layer.experts
    if not isinstance(bank, SwiGLUExperts):
        raise ValueError(f"layer has experts of kind {layer.spec.kind.name!r}: give one of SwiGLU experts")
    ids_TK = caught.routing.topk_ids_TK
    norms_TK = torch.zeros(ids_TK.shape, dtype=torch.float64, device=ids_TK.device)
    for expert in range(layer.spec.n_experts):
        tokens_N, slots_N = torch.where(ids_TK == expert)
        answers_ND = swiglu(caught.hidden_TD[tokens_N], bank.gate_up_proj[expert], bank.down_proj[expert])
        norms_TK[tokens_N, slots_N] = answers_ND.double().norm(dim=-1)
    return norms_TK


def saliency(
    model: MoETransformer,
    tokens_BL: Tensor,
    by: str = "frequency",
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Say how much each expert matters on a text; the most important has the largest number.

    Parameters
    ----------
    model : MoETransformer
    tokens_BL : Tensor of shape (B, L), int64
        The calibration text: it decides whose knowledge counts.
    by : str
        "frequency": how often it is chosen. "weight": the sum of its weights. "reap": the mean of weight
        times norm of its answer, over the tokens it got. "norm": the mean norm of its answer. "loss": by how
        many nats the loss rises without it, one forward pass an expert. "random": a number drawn.
    generator : torch.Generator, optional
        For "random".

    Returns
    -------
    Tensor of shape (layers, E), float64

    Raises
    ------
    ValueError
        If `by` is unknown.

    Examples
    --------
    >>> from moe_lessons.config import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=2, d_model=8, n_heads=2, d_expert=8, n_experts=4))
    >>> saliency(model, torch.tensor([[1, 2, 3]])).sum(dim=1)  # three tokens, two experts each
    tensor([6., 6.], dtype=torch.float64)
    """
    if by not in CRITERIA:
        raise ValueError(f"by is {by!r}: choose one of {', '.join(CRITERIA)}")
    layers, n_experts = model.moe_layers, model.config.n_experts
    if by == "random":
        return torch.rand(len(layers), n_experts, dtype=torch.float64, generator=generator)
    if by == "loss":
        return _losses_without(model, tokens_BL)
    return torch.stack(
        [
            _of_layer(layer, caught, by)
            for layer, caught in zip(layers, layer_inputs(model, tokens_BL), strict=True)
        ]
    )


def _of_layer(layer: MoELayer, caught: LayerInput, by: str) -> Tensor:
    _, ids_TK, weights_TK = caught.routing
    n_experts = layer.spec.n_experts
    if by == "frequency":
        return _summed(ids_TK, torch.ones_like(weights_TK), n_experts)
    if by == "weight":
        return _summed(ids_TK, weights_TK, n_experts)
    norms_TK = answer_norms(layer, caught)
    weights_TK = weights_TK if by == "reap" else torch.ones_like(weights_TK)
    return reap(ids_TK, weights_TK, norms_TK, n_experts)


@torch.no_grad()
def _losses_without(model: MoETransformer, tokens_BL: Tensor) -> Tensor:
    def loss() -> float:
        found = model(tokens_BL[:, :-1], tokens_BL[:, 1:]).loss
        assert found is not None
        return found.item()

    whole = loss()
    rises: list[list[float]] = []
    for layer in model.moe_layers:
        rises.append([])
        for expert in range(layer.spec.n_experts):
            with forced([layer], without(expert)):
                rises[-1].append(loss() - whole)
    return torch.tensor(rises, dtype=torch.float64)
