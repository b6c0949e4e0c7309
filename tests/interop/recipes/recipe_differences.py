"""A layer beside its block: outputs and gradients. Run as a program it prints the table of all families."""

import contextlib
import io
from typing import Any

import torch
from recipe_blocks import VARIANTS, E, make_block, output_of, tiny_config
from torch import nn

from moe_lessons.interop.recipes import RECIPES, layer_from, translate
from moe_lessons.layer import MoELayer

# transformers' block is not the definition; see test_definitions.
NOT_ITS_BLOCK = {"nllb_moe"}


def pair(name: str, top_k: int, changes: dict[str, Any], seed: int = 0) -> tuple[nn.Module, MoELayer]:
    config = tiny_config(name, top_k, changes)
    block = make_block(name, config, seed)
    return block, layer_from(block, config)


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    ours, theirs = ours.detach().double(), theirs.detach().double()
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-30))


def differences(
    name: str, block: nn.Module, layer: MoELayer, shape: tuple[int, int], seed: int = 1
) -> tuple[float, float]:
    """Return the relative differences in the output and, the largest of all, in a gradient.

    A gradient that is nothing but rounding (a router's, where K = 1 weights are always 1) is held against a
    tenth of the largest.
    """
    width = layer.spec.d_model
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(*shape, width, generator=generator)
    upstream = torch.randn(*shape, width, generator=generator)
    theirs, ours = drawn.clone().requires_grad_(), drawn.clone().requires_grad_()
    expected = output_of(block, theirs).reshape(drawn.shape)
    output = layer(ours).hidden
    block.zero_grad(), layer.zero_grad()
    expected.backward(upstream)
    output.backward(upstream)
    recipe = RECIPES[name]
    gradients = {
        key: torch.zeros_like(value) if value.grad is None else value.grad
        for key, value in block.state_dict(keep_vars=True).items()
        if value.is_floating_point()
    }
    options = {"layout": recipe.layout, "inside": recipe.inside, "ignored": recipe.ignored}
    translated = translate(gradients, layer.spec, **options, values=False)
    largest = max(float(gradient.norm()) for gradient in [theirs.grad, *translated.values()])
    errors = [float((ours.grad - theirs.grad).norm()) / max(float(theirs.grad.norm()), 0.1 * largest)]
    for key, parameter in layer.named_parameters():
        mine = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        scale = max(float(translated[key].norm()), 0.1 * largest)
        errors.append(float((mine - translated[key]).norm()) / scale)
    return relative_error(output, expected), max(errors)


def top_ks(name: str) -> list[int]:
    """K that the family's code can do: one, some, all."""
    # LongCat's loses an axis where K is 1.
    only = {"switch_transformers": [1], "nllb_moe": [2], "phimoe": [2], "longcat_flash": [2, E]}
    return only.get(name, [1, 2, E])


def worst(name: str) -> tuple[float, float]:
    found = []
    for changes in VARIANTS.get(name, [{}]):
        for top_k in top_ks(name):
            block, layer = pair(name, top_k, changes)
            found += [differences(name, block, layer, shape) for shape in ((1, 1), (3, 7))]
    return max(output for output, _ in found), max(gradient for _, gradient in found)


def main() -> None:
    print(f"{'family':<24}{'output':>10}{'gradient':>10}  what is special")
    for name, recipe in RECIPES.items():
        if name in NOT_ITS_BLOCK:
            print(f"{name:<24}{'-':>10}{'-':>10}  {recipe.special}")
            continue
        with contextlib.redirect_stderr(io.StringIO()):
            output, gradient = worst(name)
        print(f"{name:<24}{output:>10.0e}{gradient:>10.0e}  {recipe.special}", flush=True)


if __name__ == "__main__":
    main()
