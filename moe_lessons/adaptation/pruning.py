"""Taking experts out of a model, with their rows of the router."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from moe_lessons.adaptation.calibration import saliency
from moe_lessons.adaptation.rebuilding import with_weights
from moe_lessons.config import ModelConfig
from moe_lessons.model import MoETransformer

ROUTER_ROWS = ("router.weight", "router.expert_bias_E")


def best(saliency_LE: Tensor, keep: int) -> list[list[int]]:
    """Choose the experts to keep in each layer, listed in order of their numbers.

    Where two are equally important, the one with the lower number stays.

    Parameters
    ----------
    saliency_LE : Tensor of shape (layers, E)
    keep : int
        How many of each layer.

    Raises
    ------
    ValueError
        If `keep` is not 1 to E.

    Examples
    --------
    >>> best(torch.tensor([[5.0, 1.0, 7.0], [0.0, 0.0, 0.0]]), 2)
    [[0, 2], [0, 1]]
    """
    n_experts = saliency_LE.shape[1]
    if not 1 <= keep <= n_experts:
        raise ValueError(f"keep is {keep} with {n_experts} experts: choose 1 to {n_experts}")
    order_LE = saliency_LE.argsort(dim=1, descending=True, stable=True)
    return [sorted(row[:keep].tolist()) for row in order_LE]


def check_kept(kept: Sequence[Sequence[int]], n_layers: int, n_experts: int, top_k: int) -> int:
    """Refuse a choice that leaves no model; return how many experts a layer keeps.

    Examples
    --------
    >>> check_kept([[0, 2], [1, 3]], n_layers=2, n_experts=4, top_k=2)
    2
    >>> check_kept([[0], [1]], n_layers=2, n_experts=4, top_k=2)
    Traceback (most recent call last):
    ValueError: keep has 1 expert a layer: a token gets top_k=2, choose at least 2
    """
    if len(kept) != n_layers:
        raise ValueError(
            f"keep lists {len(kept)} layers: give one list for each of {n_layers} layers with experts"
        )
    sizes = {len(row) for row in kept}
    if len(sizes) != 1:
        raise ValueError(f"keep has {sorted(sizes)} experts by layer: keep equally many in each")
    for layer, row in enumerate(kept):
        if len(set(row)) != len(row):
            raise ValueError(f"keep names an expert of layer {layer} twice: {list(row)}; name each once")
        if row and not 0 <= min(row) <= max(row) < n_experts:
            raise ValueError(f"keep has {list(row)} in layer {layer}: choose from 0 to {n_experts - 1}")
    (size,) = sizes
    if size < top_k:
        experts = "expert" if size == 1 else "experts"
        raise ValueError(
            f"keep has {size} {experts} a layer: a token gets top_k={top_k}, choose at least {top_k}"
        )
    return size


def keep_experts(model: MoETransformer, kept: Sequence[Sequence[int]]) -> MoETransformer:
    """Return a model with these experts only, and with their rows of the router only.

    A token whose experts are gone gets the next best of those that stay, which is what the old model would
    give it if the logits of the others were minus infinity. Nothing is trained.

    Parameters
    ----------
    model : MoETransformer
    kept : list of list of int
        For each layer with experts, those that stay; equally many in each, at least K.

    Returns
    -------
    MoETransformer
        In evaluation mode.

    Raises
    ------
    ValueError
        If the numbers are not experts, repeat themselves, or are fewer than K.

    Examples
    --------
    >>> from moe_lessons.model import parameter_counts
    >>> model = MoETransformer(ModelConfig(n_layers=2, d_model=8, n_heads=2, d_expert=8, n_experts=4))
    >>> pruned = keep_experts(model, [[0, 3], [1, 2]])
    >>> pruned.config.n_experts, parameter_counts(model)[0] - parameter_counts(pruned)[0]
    (2, 800)
    """
    old = model.config
    size = check_kept(kept, old.n_moe_layers, old.n_experts, old.top_k)
    config = replace(old, n_experts=size, d_dense=old.d_feed_forward)
    return with_weights(config, _kept(model.state_dict(), old, kept))


def _kept(
    state: Mapping[str, Tensor], config: ModelConfig, kept: Sequence[Sequence[int]]
) -> dict[str, Tensor]:
    new = dict(state)
    layers = filter(config.has_experts, range(config.n_layers))
    for layer, row in zip(layers, kept, strict=True):
        moe = f"blocks.{layer}.moe."
        for part in ("experts.gate_up_proj", "experts.down_proj", *ROUTER_ROWS):
            if (name := moe + part) in state:
                new[name] = state[name][list(row)]
    return new


def prune(
    model: MoETransformer,
    keep: int,
    *,
    by: str = "frequency",
    tokens_BL: Tensor,
    generator: torch.Generator | None = None,
) -> MoETransformer:
    """Keep the most important experts of each layer; see `saliency` for `by`, `keep_experts` for the rest.

    `moe_lessons.adaptation.fine_tune` trains what is left.

    Examples
    --------
    >>> model = MoETransformer(ModelConfig(n_layers=2, d_model=8, n_heads=2, d_expert=8, n_experts=4))
    >>> prune(model, 3, by="reap", tokens_BL=torch.tensor([[1, 2, 3]])).config.n_experts
    3
    """
    config = model.config
    if keep < config.top_k:
        check_kept(
            [range(max(keep, 0))] * config.n_moe_layers, config.n_moe_layers, config.n_experts, config.top_k
        )
    return keep_experts(model, best(saliency(model, tokens_BL, by, generator=generator), keep))
