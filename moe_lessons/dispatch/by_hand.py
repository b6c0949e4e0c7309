"""The experts as one autograd Function: it keeps inputs and pre-activations, and recomputes the rest.

For a row x of expert e with routing weight w, and `combine` adding up w * y over a token's rows:

    [g, u] = x @ gate_up_e.T        a = silu(g) * u        y = a @ down_e.T

With dy the gradient of the token's output, the backward needs neither a nor y from the forward:

    da = dy @ down_e                dw = da . a            d_down_e    = (w dy).T @ a
    du = da * silu(g)               dg = da * u * silu'(g)
    dx = w [dg, du] @ gate_up_e                            d_gate_up_e = [dg, du].T @ (w x)

w rides along with the two gathers of dy and x and with the last sum, which pass over the rows anyway.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.dispatch.loops import moe_unbind
from moe_lessons.dispatch.plan import Plan, permutation_plan, weighted_sum
from moe_lessons.dispatch.products import prepares_code, product
from moe_lessons.dispatch.rooms import Piece, Rooms, equal, in_blocks, make_rooms, tight

aten = torch.ops.aten


def lay_out(inputs: list[Tensor], topk_ids_TK: Tensor, *, padded: bool, plan: Plan | None = None) -> Rooms:
    """Lay out the rooms of hidden (T, D), routing weights, and both projections."""
    hidden_TD, _, _, down_proj = inputs
    n_experts, d_model, d_expert = down_proj.shape
    row_bytes = (2 * d_model + 3 * d_expert) * hidden_TD.itemsize
    plan = plan or permutation_plan(topk_ids_TK, n_experts)
    sizes = equal if padded else in_blocks if prepares_code(hidden_TD.dtype, hidden_TD.device) else tight
    return make_rooms(plan, topk_ids_TK, sizes(plan.tokens_per_expert_E), row_bytes, batched=padded)


class FusedExperts(torch.autograd.Function):
    """The formulas above as one step of autograd."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        """Return the output (T, D) for hidden, routing weights, both projections, expert ids and rooms."""
        *inputs, topk_ids_TK, ctx.rooms = arguments
        output_TD, kept_R2F = fused_output(inputs, ctx.rooms, ctx.rooms.n_rows)
        ctx.save_for_backward(*inputs, topk_ids_TK, kept_R2F)
        return output_TD

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the first four arguments."""
        *inputs, topk_ids_TK, kept_R2F = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled():  # create_graph=True: these gradients are to be differentiated again
            return *differentiable_gradients(inputs, topk_ids_TK, d_outputs[0], wanted), None, None
        return *fused_gradients(inputs, kept_R2F, ctx.rooms, d_outputs[0], wanted), None, None


def fused_output(inputs: list[Tensor], rooms: Rooms, n_kept: int) -> tuple[Tensor, Tensor]:
    """Return the output (T, D), and `n_kept` rows of pre-activations: none, or at least the rooms' R."""
    # embedding_bag prepares for a backward wherever an input requires one, and takes three times as long.
    hidden_TD, topk_weights_TK, gate_up_proj, down_proj = (tensor.detach() for tensor in inputs)
    d_model, d_expert = down_proj.shape[1:]
    to_hidden, to_output = experts_of(gate_up_proj.mT, rooms), experts_of(down_proj.mT, rooms)
    results_RD = hidden_TD.new_empty(rooms.n_rows, d_model)
    kept_R2F = hidden_TD.new_empty(n_kept, 2 * d_expert)
    for piece in rooms.pieces:
        n_rows = piece.rows.stop - piece.rows.start
        gate_up_N2F = kept_R2F[piece.rows] if n_kept else kept_R2F.new_empty(n_rows, 2 * d_expert)
        through_experts(piece, rooms.gather(hidden_TD, piece), to_hidden, gate_up_N2F)
        gate_NF, up_NF = gate_up_N2F.chunk(2, dim=1)
        activation_NF = F.silu(gate_NF).mul_(up_NF)
        through_experts(piece, activation_NF, to_output, results_RD[piece.rows])
    return weighted_sum(results_RD, rooms.rows_TK, topk_weights_TK), kept_R2F


def fused_gradients(
    inputs: list[Tensor], kept_R2F: Tensor, rooms: Rooms, d_output_TD: Tensor, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """Walk through the pieces again, from the output's gradient to those of the inputs that are wanted."""
    hidden_TD, topk_weights_TK, gate_up_proj, down_proj = (tensor.detach() for tensor in inputs)
    d_output_TD = d_output_TD.detach().contiguous()
    weights_TK = topk_weights_TK.to(hidden_TD.dtype)
    want_hidden, _, want_gate_up, want_down = wanted
    from_hidden, from_output = experts_of(gate_up_proj, rooms), experts_of(down_proj, rooms)
    d_gate_up_proj, d_down_proj = empty_gradient(gate_up_proj, rooms), empty_gradient(down_proj, rooms)
    d_gate_up, d_down = experts_of(d_gate_up_proj, rooms), experts_of(d_down_proj, rooms)
    d_rows_RD = hidden_TD.new_empty(rooms.n_rows, hidden_TD.shape[1])
    d_weights_R = topk_weights_TK.new_empty(rooms.n_rows)
    for piece in rooms.pieces:
        gate_NF, up_NF = kept_R2F[piece.rows].chunk(2, dim=1)
        silu_NF = F.silu(gate_NF)
        activation_NF = silu_NF * up_NF

        d_activation_NF = torch.empty_like(silu_NF)
        through_experts(piece, rooms.gather(d_output_TD, piece), from_output, d_activation_NF)
        d_weights_R[piece.rows] = (d_activation_NF * activation_NF).sum(dim=1, dtype=d_weights_R.dtype)
        if want_down:
            over_rows(piece, rooms.gather(d_output_TD, piece, weights_TK), activation_NF, d_down)

        d_gate_up_N2F = torch.empty_like(kept_R2F[piece.rows])
        d_gate_NF, d_up_NF = d_gate_up_N2F.chunk(2, dim=1)
        torch.mul(d_activation_NF, silu_NF, out=d_up_NF)
        aten.silu_backward.grad_input(d_activation_NF.mul_(up_NF), gate_NF, grad_input=d_gate_NF)
        if want_gate_up:
            over_rows(piece, d_gate_up_N2F, rooms.gather(hidden_TD, piece, weights_TK), d_gate_up)
        if want_hidden:
            through_experts(piece, d_gate_up_N2F, from_hidden, d_rows_RD[piece.rows])
    return (
        weighted_sum(d_rows_RD, rooms.rows_TK, weights_TK) if want_hidden else None,
        d_weights_R[rooms.rows_TK],
        d_gate_up_proj if want_gate_up else None,
        d_down_proj if want_down else None,
    )


Matrices = Tensor | dict[int, Tensor]


def experts_of(matrices_EMP: Tensor, rooms: Rooms) -> Matrices:
    """Make each busy expert's matrix ready for products; batched ones take all of them at once."""
    if rooms.batched:
        return matrices_EMP
    busy = [expert for piece in rooms.pieces for expert in piece.experts]
    if 2 * len(busy) > len(matrices_EMP):
        return dict(enumerate(matrices_EMP.unbind(0)))  # one call instead of one for each expert
    return {expert: matrices_EMP[expert] for expert in busy}


def through_experts(piece: Piece, rows_NM: Tensor, matrices: Matrices, out_NP: Tensor) -> None:
    """Multiply each room's rows with the matrix of its expert."""
    if isinstance(matrices, Tensor):
        in_rooms = (len(piece.experts), -1)
        experts_EMP = matrices[piece.experts[0] : piece.experts[-1] + 1]
        torch.bmm(rows_NM.unflatten(0, in_rooms), experts_EMP, out=out_NP.unflatten(0, in_rooms))
        return
    rooms = zip(piece.experts, rows_NM.split(piece.sizes), out_NP.split(piece.sizes), strict=True)
    for expert, rows, out in rooms:
        product(rows, matrices[expert], out)


def over_rows(piece: Piece, left_NM: Tensor, right_NP: Tensor, matrices: Matrices) -> None:
    """Write left.T @ right of each room: the gradient of its expert's matrix, summed over the room's rows."""
    if isinstance(matrices, Tensor):
        in_rooms = (len(piece.experts), -1)
        experts_EMP = matrices[piece.experts[0] : piece.experts[-1] + 1]
        torch.bmm(left_NM.unflatten(0, in_rooms).mT, right_NP.unflatten(0, in_rooms), out=experts_EMP)
        return
    left_MN = left_NM.t()
    rooms = zip(piece.experts, left_MN.split(piece.sizes, dim=1), right_NP.split(piece.sizes), strict=True)
    for expert, left, right in rooms:
        product(left, right, matrices[expert])


def empty_gradient(matrices_EMP: Tensor, rooms: Rooms) -> Tensor:
    """Return memory for a gradient: zero for idle experts, not yet written for the others."""
    gradient_EMP = torch.empty_like(matrices_EMP)
    for expert in rooms.idle_experts:
        gradient_EMP[expert].zero_()
    return gradient_EMP


def differentiable_gradients(
    inputs: list[Tensor], topk_ids_TK: Tensor, d_output_TD: Tensor, wanted: tuple[bool, ...]
) -> list[Tensor | None]:
    """Return gradients that have a graph themselves, through the path whose steps autograd knows."""
    hidden_TD, topk_weights_TK, *weights = inputs
    output_TD = moe_unbind(hidden_TD, topk_ids_TK, topk_weights_TK, *weights)
    leaves = [tensor for tensor, needed in zip(inputs, wanted, strict=True) if needed]
    found = iter(torch.autograd.grad(output_TD, leaves, d_output_TD, create_graph=True))
    return [next(found) if needed else None for needed in wanted]
