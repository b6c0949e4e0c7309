"""The experts by hand as two operators that PyTorch knows, for `torch.compile`.

How many rows an expert gets is known when the tokens are there, and no earlier. Code that reads it on the way
breaks a compiled graph in two, in every layer. An operator does not: the compiler knows what goes in and what
comes out, and calls it. Inside, nothing is compiled, and nothing needs to be: the time goes into products.
"""

from typing import Any

import torch
from torch import Tensor

from moe_lessons.dispatch.by_hand import fused_gradients, fused_output, lay_out
from moe_lessons.dispatch.rooms import BLOCK_ROWS


@torch.library.custom_op("moe_lessons::fused_forward", mutates_args=())
def fused_forward(
    hidden_TD: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    topk_ids_TK: Tensor,
    training: bool,
) -> tuple[Tensor, Tensor]:
    """Return the output (T, D), and if `training` the pre-activations: of the R rows, then zeros."""
    inputs = [hidden_TD, topk_weights_TK, gate_up_proj, down_proj]
    rooms = lay_out(inputs, topk_ids_TK, padded=False)
    output_TD, kept = fused_output(inputs, rooms, most_rows(topk_ids_TK, down_proj) if training else 0)
    kept[rooms.n_rows :].zero_()  # an operator returns the same for the same, unread rows too
    return output_TD, kept


@fused_forward.register_fake
def _(
    hidden_TD: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    topk_ids_TK: Tensor,
    training: bool,
) -> tuple[Tensor, Tensor]:
    n_rows = most_rows(topk_ids_TK, down_proj) if training else 0
    return torch.empty_like(hidden_TD), hidden_TD.new_empty(n_rows, gate_up_proj.shape[1])


def most_rows(topk_ids_TK: Tensor, down_proj: Tensor) -> int:
    """Return how many rows rooms in blocks can have at most; a graph's shapes must not depend on the load.

    Examples
    --------
    >>> most_rows(torch.zeros(25, 2), torch.zeros(4, 1, 1))  # loads 17, 17, 16, 0: blocks of 32, 32, 16 rows
    95
    """
    n_slots = topk_ids_TK.numel()
    return n_slots + (BLOCK_ROWS - 1) * min(len(down_proj), n_slots // BLOCK_ROWS)


@torch.library.custom_op("moe_lessons::fused_backward", mutates_args=())
def fused_backward(
    d_output_TD: Tensor,
    hidden_TD: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    topk_ids_TK: Tensor,
    kept_R2F: Tensor,
    wanted: list[bool],
) -> list[Tensor]:
    """Return the gradients that are wanted of the four inputs, and always that of the routing weights.

    The rooms are laid out anew: between operators travel tensors only.
    """
    inputs = [hidden_TD, topk_weights_TK, gate_up_proj, down_proj]
    rooms = lay_out(inputs, topk_ids_TK, padded=False)
    found = fused_gradients(inputs, kept_R2F, rooms, d_output_TD, tuple(wanted))
    return [gradient for gradient in found if gradient is not None]


@fused_backward.register_fake
def _(d_output_TD: Tensor, *rest: Any) -> list[Tensor]:
    *inputs, _, _, wanted = rest
    return [torch.empty_like(x) for i, x in enumerate(inputs) if i == 1 or wanted[i]]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:5], output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, d_output_TD: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    wants = ctx.needs_input_grad[:4]
    if d_output_TD is None:
        return (None,) * 6
    found = iter(fused_backward(d_output_TD, *ctx.saved_tensors, list(wants)))
    gradients = [next(found) if i == 1 or wants[i] else None for i in range(4)]
    return *gradients, None, None


fused_forward.register_autograd(_differentiate, setup_context=_save)
