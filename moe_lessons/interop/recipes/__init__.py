"""From a model's config to its MoE layer: for every model type of transformers 5.23 that has experts.

>>> config = {"model_type": "mixtral", "hidden_size": 8, "intermediate_size": 16, "hidden_act": "silu",
...           "num_local_experts": 4, "num_experts_per_tok": 2}
>>> layer_of(config).spec.describe()
'softmax, renormalised; swiglu'

`layer_from(block, config)` also takes the weights of a block of transformers. `RECIPES` has what is special
about each type, `REASONS` the types without a recipe, `table()` all of it, `scores()` the counts.
"""

from typing import Any

import torch
from torch import nn

from moe_lessons.interop.folders import InteropError
from moe_lessons.interop.recipes.families import REASONS, RECIPES, Recipe
from moe_lessons.interop.recipes.fields import Fields
from moe_lessons.interop.recipes.listing import Row, rows, scores, table
from moe_lessons.interop.recipes.weights import translate
from moe_lessons.layer import LayerSpec, MoELayer

__all__ = [
    "REASONS",
    "RECIPES",
    "Recipe",
    "Row",
    "layer_from",
    "layer_of",
    "recipe_for",
    "rows",
    "scores",
    "spec_of",
    "table",
    "translate",
]


def recipe_for(config: Any) -> Recipe:
    """Find the recipe of a config.

    Parameters
    ----------
    config : dict or config object of transformers
        With a `model_type`; of a model of several parts, the language model's is read.

    Raises
    ------
    InteropError
        If the type is unknown, or has no recipe: the message gives the reason.

    Examples
    --------
    >>> recipe_for({"model_type": "nllb-moe"}).models
    'NLLB-MoE'
    >>> recipe_for({"model_type": "zaya"})
    Traceback (most recent call last):
        ...
    moe_lessons.interop.folders.InteropError: model_type 'zaya' has no recipe: its router is an MLP ...
    """
    name = Fields(config).model_type
    if name in REASONS:
        raise InteropError(f"model_type {name!r} has no recipe: {REASONS[name]}")
    if name not in RECIPES:
        raise InteropError(f"model_type {name!r} has no recipe: choose one of {', '.join(RECIPES)}")
    return RECIPES[name]


def spec_of(config: Any) -> LayerSpec:
    """List the parts of the MoE layer that a config describes.

    Raises
    ------
    InteropError
        As `recipe_for`; also if the config leaves out what the layer depends on.

    Examples
    --------
    >>> spec_of({"model_type": "mixtral", "hidden_size": 8})
    Traceback (most recent call last):
        ...
    moe_lessons.interop.folders.InteropError: the config does not say moe_intermediate_size or ...
    """
    return recipe_for(config).spec(Fields(config))


def layer_of(config: Any, *, path: str = "auto", generator: torch.Generator | None = None) -> MoELayer:
    """Build the MoE layer that a config describes, with new weights.

    Parameters
    ----------
    config : dict or config object of transformers
    path, generator
        As in `MoELayer`.
    """
    return MoELayer.of(spec_of(config), path=path, generator=generator)


def layer_from(block: nn.Module, config: Any, *, path: str = "auto") -> MoELayer:
    """Build the MoE layer that computes what a block of transformers computes, with its weights.

    Parameters
    ----------
    block : Module
        The sparse block, whatever its family calls it. Of Gemma-4, and of Granite with shared experts, the
        decoder layer that holds router and experts.
    config : config object of transformers
        The model's, or its language model's.
    path : str

    Raises
    ------
    InteropError
        As `spec_of`; also if the block holds a tensor that the layer has no place for.

    Examples
    --------
    >>> from transformers import MixtralConfig
    >>> from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock
    >>> config = MixtralConfig(hidden_size=8, intermediate_size=16, num_local_experts=4)
    >>> layer_from(MixtralSparseMoeBlock(config), config).experts.down_proj.shape
    torch.Size([4, 8, 16])
    """
    recipe, spec = recipe_for(config), spec_of(config)
    layer = MoELayer.of(spec, path=path)
    tensors = translate(
        block.state_dict(), spec, layout=recipe.layout, inside=recipe.inside, ignored=recipe.ignored
    )
    layer.load_state_dict(tensors)
    return layer.train(block.training)
