"""The kernels in order: forward and backward of the SwiGLU MoE as two operators that PyTorch knows.

They are `torch.library` operators, so `torch.compile` takes them as they are, without a graph break, and
autograd sees one node. Between forward and backward only the tokens, the weights, the pre-activations and the
plan are kept: neither gathered tokens nor activations nor any expert's output.
"""

from typing import Any

import torch
from torch import Tensor

from moe_lessons.kernels.combine import combine
from moe_lessons.kernels.plan import Plan, block_limit, make_plan
from moe_lessons.kernels.pre_gradient import pre_gradient
from moe_lessons.kernels.product import product
from moe_lessons.kernels.tiles import Tiles, tiles_for
from moe_lessons.kernels.up import up
from moe_lessons.kernels.weight_gradient import weight_gradient


def forward(
    hidden_TD: Tensor,
    topk_ids_TK: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    tiles: Tiles,
    training: bool,
) -> tuple[Tensor, Tensor, Plan]:
    """Run kernels 1 to 4: return the output (T, D), the pre-activations if `training`, and the plan.

    Takes contiguous tensors of one dtype (ids and weights have their own) and reads no value on the host.
    """
    plan = make_plan(topk_ids_TK, down_proj.shape[0], tiles.rows)
    act_SF, pre_S2F = up(hidden_TD, gate_up_proj, plan, tiles.up, store_pre=training)
    results_SD = product(act_SF, down_proj, plan, tiles.down)
    return combine(results_SD, topk_weights_TK, plan), pre_S2F, plan


def backward(
    grad_TD: Tensor,
    hidden_TD: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    pre_S2F: Tensor,
    plan: Plan,
    tiles: Tiles,
    needs: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run kernels 5, 3, 4 and 6: the gradients of hidden, weights, gate_up_proj and down_proj.

    `needs` says which of hidden, gate_up_proj and down_proj want theirs; the others get an empty tensor.
    """
    d_pre_S2F, weighted_act_SF, d_weights_TK = pre_gradient(
        grad_TD, down_proj, topk_weights_TK, pre_S2F, plan, tiles.pre_gradient
    )
    d_hidden_TD, d_gate_up, d_down = _room((hidden_TD, gate_up_proj, down_proj), needs)
    if needs[0]:
        d_results_SD = product(d_pre_S2F, gate_up_proj.mT, plan, tiles.hidden_gradient)
        d_hidden_TD = combine(d_results_SD, None, plan)
    if needs[1]:
        weight_gradient(hidden_TD, d_pre_S2F, plan, tiles.weight_gradient, out_EMN=d_gate_up.mT)
    if needs[2]:
        weight_gradient(grad_TD, weighted_act_SF, plan, tiles.weight_gradient, out_EMN=d_down)
    return d_hidden_TD, d_weights_TK.to(topk_weights_TK.dtype), d_gate_up, d_down


def _room(tensors: tuple[Tensor, ...], needs: list[bool]) -> list[Tensor]:
    pairs = zip(tensors, needs, strict=True)
    return [torch.empty_like(tensor) if need else tensor.new_empty(0) for tensor, need in pairs]


def _tiles(hidden_TD: Tensor, slots_TK: Tensor, down_proj: Tensor) -> Tiles:
    on_gpu = hidden_TD.device.type == "cuda"
    capability = torch.cuda.get_device_capability(hidden_TD.device) if on_gpu else None
    n_experts, *widths = down_proj.shape
    aligned = all(width * hidden_TD.itemsize % 16 == 0 for width in widths)
    return tiles_for(capability, hidden_TD.itemsize, slots_TK.numel() / n_experts, aligned)


@torch.library.custom_op("moe_lessons::moe_forward", mutates_args=())
def moe_forward(
    hidden_TD: Tensor,
    topk_ids_TK: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Operator around `forward`: output, pre-activations, and the plan's four tensors."""
    tiles = _tiles(hidden_TD, topk_ids_TK, down_proj)
    with torch.cuda.device_of(hidden_TD):  # Triton launches on the current device
        output_TD, pre_S2F, plan = forward(
            hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj, tiles, training
        )
    return output_TD, pre_S2F, plan.slots_S, plan.rows_S, plan.ends_E, plan.blocks_G2


@moe_forward.register_fake
def _(
    hidden_TD: Tensor,
    topk_ids_TK: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    n_experts, twice, _ = gate_up_proj.shape
    n_rows = topk_ids_TK.numel()
    n_blocks = block_limit(n_rows, n_experts, _tiles(hidden_TD, topk_ids_TK, down_proj).rows)
    slots_S = topk_ids_TK.new_empty(n_rows, dtype=torch.int64)
    return (
        torch.empty_like(hidden_TD),
        hidden_TD.new_empty(n_rows if training else 0, twice),
        slots_S,
        torch.empty_like(slots_S),
        slots_S.new_empty(n_experts, dtype=torch.int32),
        slots_S.new_empty(n_blocks, 2, dtype=torch.int32),
    )


@torch.library.custom_op("moe_lessons::moe_backward", mutates_args=())
def moe_backward(
    grad_TD: Tensor,
    hidden_TD: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    pre_S2F: Tensor,
    slots_S: Tensor,
    rows_S: Tensor,
    ends_E: Tensor,
    blocks_G2: Tensor,
    needs: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Operator around `backward`."""
    tiles = _tiles(hidden_TD, topk_weights_TK, down_proj)
    plan = Plan(slots_S, rows_S, ends_E, blocks_G2, topk_weights_TK.shape[1])
    inputs = (hidden_TD, topk_weights_TK, gate_up_proj, down_proj, pre_S2F)
    with torch.cuda.device_of(hidden_TD):
        return backward(grad_TD.contiguous(), *inputs, plan, tiles, needs)


@moe_backward.register_fake
def _(
    grad_TD: Tensor,
    hidden_TD: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    *plan_and_needs: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    d_hidden_TD, d_gate_up, d_down = _room((hidden_TD, gate_up_proj, down_proj), plan_and_needs[-1])
    return d_hidden_TD, torch.empty_like(topk_weights_TK), d_gate_up, d_down


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    hidden_TD, _, topk_weights_TK, gate_up_proj, down_proj, _ = inputs
    ctx.save_for_backward(hidden_TD, topk_weights_TK, gate_up_proj, down_proj, *output[1:])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grad_TD: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if grad_TD is None:
        return (None,) * 6
    wants = ctx.needs_input_grad  # hidden, ids, weights, gate_up, down, training
    gradients = moe_backward(grad_TD, *ctx.saved_tensors, [wants[0], wants[3], wants[4]])
    inputs = dict(zip((0, 2, 3, 4), gradients, strict=True))
    return tuple(inputs[i] if wants[i] else None for i in range(6))


moe_forward.register_autograd(_differentiate, setup_context=_save)
