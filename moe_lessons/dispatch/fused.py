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

from moe_lessons.dispatch.arguments import check_shapes, compute_dtype
from moe_lessons.dispatch.loops import moe_unbind
from moe_lessons.dispatch.plan import Plan, permutation_plan
from moe_lessons.dispatch.products import product
from moe_lessons.dispatch.rooms import Piece, Rooms, equal_rooms, tight_rooms

aten = torch.ops.aten


def moe_fused(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> Tensor:
    """Sort rows by expert and run the experts one after the other, in pieces that fit the cache.

    Forward and backward are written by hand: see this module's first lines. Any dtype and shape; idle experts
    cost nothing. Where gradients of gradients are asked for, `moe_unbind` gives them.

    Parameters, returns and errors are those of `moe_loop`.

    Examples
    --------
    >>> hidden_TD, ids_TK, weights_TK = torch.ones(1, 1), torch.tensor([[1]]), torch.tensor([[0.5]])
    >>> gate_up_proj, down_proj = torch.tensor([[[50.0], [1.0]], [[50.0], [2.0]]]), torch.ones(2, 1, 1)
    >>> moe_fused(hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj)  # half of silu(50) * 2
    tensor([[50.]])
    """
    return run_fused(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj, equal=False)


def moe_padded(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> Tensor:
    """Give every expert as many rows as the busiest needs, and run all of them in batched products.

    Few calls, but zeros are multiplied too: good for small experts with even loads. Forward and backward are
    those of `moe_fused`.

    Parameters, returns and errors are those of `moe_loop`.

    Examples
    --------
    >>> hidden_TD, ids_TK, weights_TK = torch.ones(1, 1), torch.tensor([[1]]), torch.tensor([[0.5]])
    >>> gate_up_proj, down_proj = torch.tensor([[[50.0], [1.0]], [[50.0], [2.0]]]), torch.ones(2, 1, 1)
    >>> moe_padded(hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj)
    tensor([[50.]])
    """
    return run_fused(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj, equal=True)


@torch.compiler.disable
def run_fused(
    hidden_TD: Tensor,
    topk_ids_TK: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    *,
    equal: bool,
    plan: Plan | None = None,
) -> Tensor:
    """Run `moe_padded` (equal rooms) or `moe_fused` (tight ones), with a plan if there is one already."""
    check_shapes(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    if topk_ids_TK.numel() == 0:
        return moe_unbind(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    n_experts, d_model, d_expert = down_proj.shape
    plan = plan or permutation_plan(topk_ids_TK, n_experts)
    dtype = compute_dtype(hidden_TD)
    rooms = (equal_rooms if equal else tight_rooms)(
        plan, topk_ids_TK, row_bytes=(2 * d_model + 3 * d_expert) * dtype.itemsize
    )
    inputs = hidden_TD.to(dtype), topk_weights_TK, gate_up_proj.to(dtype), down_proj.to(dtype)
    output_TD, _ = FusedExperts.apply(*inputs, topk_ids_TK, rooms, torch.is_grad_enabled())
    return output_TD.to(hidden_TD.dtype)


class FusedExperts(torch.autograd.Function):
    """The formulas above, piece by piece."""

    @staticmethod
    def forward(
        hidden_TD: Tensor,
        topk_weights_TK: Tensor,
        gate_up_proj: Tensor,
        down_proj: Tensor,
        topk_ids_TK: Tensor,
        rooms: Rooms,
        keep: bool,
    ) -> tuple[Tensor, Tensor]:
        """Return the output (T, D), and the pre-activations (R, 2F) or, unless `keep`, none of them."""
        hidden_TD, gate_up_proj, down_proj = (
            tensor.contiguous() for tensor in (hidden_TD, gate_up_proj, down_proj)
        )
        d_model, d_expert = down_proj.shape[1:]
        results_RD = hidden_TD.new_empty(rooms.n_rows, d_model)
        kept_R2F = hidden_TD.new_empty(rooms.n_rows if keep else 0, 2 * d_expert)
        for piece in rooms.pieces:
            n_rows = piece.rows.stop - piece.rows.start
            gate_up_N2F = kept_R2F[piece.rows] if keep else kept_R2F.new_empty(n_rows, 2 * d_expert)
            through_experts(piece, rooms, rooms.gather(hidden_TD, piece), gate_up_proj.mT, gate_up_N2F)
            gate_NF, up_NF = gate_up_N2F.chunk(2, dim=1)
            activation_NF = F.silu(gate_NF).mul_(up_NF)
            through_experts(piece, rooms, activation_NF, down_proj.mT, results_RD[piece.rows])
        return rooms.combine(results_RD, topk_weights_TK.to(results_RD.dtype)), kept_R2F

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        """Keep the inputs and the pre-activations."""
        *tensors, rooms, _ = inputs
        ctx.rooms = rooms
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, output[1])

    @staticmethod
    def backward(ctx: Any, d_output_TD: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the four tensors."""
        if d_output_TD is None:
            return (None,) * 7
        *inputs, topk_ids_TK, kept_R2F = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled():  # create_graph=True: these gradients are to be differentiated again
            return *differentiable_gradients(inputs, topk_ids_TK, d_output_TD, wanted), None, None, None
        return *fused_gradients(inputs, kept_R2F, ctx.rooms, d_output_TD, wanted), None, None, None


def fused_gradients(
    inputs: list[Tensor], kept_R2F: Tensor, rooms: Rooms, d_output_TD: Tensor, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """Walk through the pieces again, from the output's gradient to those of the inputs that are wanted."""
    hidden_TD, topk_weights_TK, gate_up_proj, down_proj = (tensor.contiguous() for tensor in inputs)
    d_output_TD = d_output_TD.contiguous()
    weights_TK = topk_weights_TK.to(hidden_TD.dtype)
    want_hidden, _, want_gate_up, want_down = wanted
    d_gate_up_proj = empty_gradient(gate_up_proj, rooms) if want_gate_up else None
    d_down_proj = empty_gradient(down_proj, rooms) if want_down else None
    d_rows_RD = hidden_TD.new_empty(rooms.n_rows, hidden_TD.shape[1]) if want_hidden else None
    d_weights_R = topk_weights_TK.new_empty(rooms.n_rows)
    for piece in rooms.pieces:
        gate_NF, up_NF = kept_R2F[piece.rows].chunk(2, dim=1)
        silu_NF = F.silu(gate_NF)
        activation_NF = silu_NF * up_NF

        d_activation_NF = torch.empty_like(silu_NF)
        through_experts(piece, rooms, rooms.gather(d_output_TD, piece), down_proj, d_activation_NF)
        d_weights_R[piece.rows] = (d_activation_NF * activation_NF).sum(dim=1, dtype=d_weights_R.dtype)
        if d_down_proj is not None:
            weighted_ND = rooms.gather(d_output_TD, piece, weights_TK)
            over_rows(piece, rooms, weighted_ND.t(), activation_NF, d_down_proj)

        d_gate_up_N2F = torch.empty_like(kept_R2F[piece.rows])
        d_gate_NF, d_up_NF = d_gate_up_N2F.chunk(2, dim=1)
        torch.mul(d_activation_NF, silu_NF, out=d_up_NF)
        aten.silu_backward.grad_input(d_activation_NF.mul_(up_NF), gate_NF, grad_input=d_gate_NF)
        if d_gate_up_proj is not None:
            weighted_ND = rooms.gather(hidden_TD, piece, weights_TK)
            over_rows(piece, rooms, d_gate_up_N2F.t(), weighted_ND, d_gate_up_proj)
        if d_rows_RD is not None:
            through_experts(piece, rooms, d_gate_up_N2F, gate_up_proj, d_rows_RD[piece.rows])
    d_hidden_TD = None if d_rows_RD is None else rooms.combine(d_rows_RD, weights_TK)
    return d_hidden_TD, d_weights_R[rooms.rows_TK], d_gate_up_proj, d_down_proj


def through_experts(
    piece: Piece, rooms: Rooms, rows_NM: Tensor, matrices_EMP: Tensor, out_NP: Tensor
) -> None:
    """Multiply each room's rows with the matrix of its expert."""
    if rooms.equal:
        experts = slice(piece.experts[0], piece.experts[-1] + 1)
        in_rooms = (len(piece.experts), -1)
        torch.bmm(rows_NM.unflatten(0, in_rooms), matrices_EMP[experts], out=out_NP.unflatten(0, in_rooms))
        return
    for expert, rows, out in zip(
        piece.experts, rows_NM.split(piece.sizes), out_NP.split(piece.sizes), strict=True
    ):
        product(rows, matrices_EMP[expert], out)


def over_rows(piece: Piece, rooms: Rooms, left_MN: Tensor, right_NP: Tensor, out_EMP: Tensor) -> None:
    """Multiply left and right of each room, summing over its rows: the gradient of its expert's matrix."""
    if rooms.equal:
        experts = slice(piece.experts[0], piece.experts[-1] + 1)
        in_rooms = (len(piece.experts), -1)
        left_EMC = left_MN.t().unflatten(0, in_rooms).mT
        torch.bmm(left_EMC, right_NP.unflatten(0, in_rooms), out=out_EMP[experts])
        return
    for expert, left, right in zip(
        piece.experts, left_MN.split(piece.sizes, dim=1), right_NP.split(piece.sizes), strict=True
    ):
        product(left, right, out_EMP[expert])


def empty_gradient(matrices_EMP: Tensor, rooms: Rooms) -> Tensor:
    """Return room for a gradient, zero for idle experts and not yet written for the others."""
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
