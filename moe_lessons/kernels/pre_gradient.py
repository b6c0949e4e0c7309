"""Kernel 5, back through down and SwiGLU: gradients of the pre-activations and of the routing weights."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.kernels.common import dot, precision, share
from moe_lessons.kernels.plan import Plan
from moe_lessons.kernels.tiles import Tile


@triton.jit
def pre_gradient_kernel(
    grad_TD,
    down_EDF,
    weights_S,
    pre_S2F,
    slots_S,
    ends_E,
    blocks_G2,
    d_pre_S2F,
    weighted_act_SF,
    d_weight_parts_SP,
    d_model,
    d_expert,
    TOP_K: tl.constexpr,
    PRECISION: tl.constexpr,
    GROUP_M: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Go back from d out to d pre, one BLOCK_M x BLOCK_N piece of the expert's hidden width.

    Grid (G * P,), P = cdiv(F, BLOCK_N). Let s be the row's routing weight and g = d out[token] @ down. Then
    d act = s * g, and d s = sum over f of g * act: no expert's output is needed, so the forward pass keeps
    none. The sum over f crosses programs. Each of the P writes its part in a column of its own: nothing is
    added where two could meet.
    FLOPs 2 S D F. From memory at least T D + E D F + 2 S F elements; written 3 S F (d pre, and s * act for
    the gradient of down), and 4 S P bytes of parts. Often bound by memory.
    """
    n_pieces = tl.cdiv(d_expert, BLOCK_N)
    block, piece = share(tl.program_id(0), tl.num_programs(0), n_pieces, GROUP_M)
    expert = tl.load(blocks_G2 + 2 * block).to(tl.int64)
    if expert < 0:
        return
    row = tl.load(blocks_G2 + 2 * block + 1).to(tl.int64) + tl.arange(0, BLOCK_M)
    is_row = row < tl.load(ends_E + expert)
    slot = tl.load(slots_S + row, mask=is_row, other=0)
    n = piece * BLOCK_N + tl.arange(0, BLOCK_N)
    is_n = n < d_expert
    grad_rows = grad_TD + slot // TOP_K * d_model
    down_columns = down_EDF + expert * d_model * d_expert + n

    d_act = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(0, d_model, BLOCK_K):
        k = (first + tl.arange(0, BLOCK_K)).to(tl.int64)
        is_k = k < d_model
        grad = tl.load(grad_rows[:, None] + k[None, :], mask=is_row[:, None] & is_k[None, :], other=0.0)
        w_ptr = down_columns[None, :] + k[:, None] * d_expert
        w = tl.load(w_ptr, mask=is_k[:, None] & is_n[None, :], other=0.0)
        d_act = dot(grad, w, d_act, PRECISION)

    # Half the piece at a time: what follows needs six numbers per element, which for all 128 x 128 would not
    # fit into the registers of 8 warps.
    weight = tl.load(weights_S + slot, mask=is_row, other=0.0).to(tl.float32)
    HALF: tl.constexpr = BLOCK_N // 2
    left, right = tl.split(tl.permute(tl.reshape(d_act, (BLOCK_M, 2, HALF)), (0, 2, 1)))
    n = piece * BLOCK_N + tl.arange(0, HALF)
    d_weight = _through_swiglu(left, weight, pre_S2F, d_pre_S2F, weighted_act_SF, row, n, is_row, d_expert)
    n += HALF
    d_weight += _through_swiglu(right, weight, pre_S2F, d_pre_S2F, weighted_act_SF, row, n, is_row, d_expert)
    tl.store(d_weight_parts_SP + slot * n_pieces + piece, d_weight, mask=is_row)


@triton.jit
def _through_swiglu(d_act, weight, pre_S2F, d_pre_S2F, weighted_act_SF, row, n, is_row, d_expert):
    """Store d pre and weight * act of some columns; return their part of the routing weights' gradient."""
    inside = is_row[:, None] & (n < d_expert)[None, :]
    pre = row[:, None] * 2 * d_expert + n[None, :]
    gate = tl.load(pre_S2F + pre, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(pre_S2F + pre + d_expert, mask=inside, other=0.0).to(tl.float32)
    sigmoid = tl.sigmoid(gate)
    silu = gate * sigmoid
    act = silu * up
    d_weight = tl.sum(d_act * act, axis=1)

    d_act *= weight[:, None]
    d_gate = d_act * up * (sigmoid + silu * (1 - sigmoid))
    dtype = d_pre_S2F.dtype.element_ty
    tl.store(d_pre_S2F + pre, d_gate.to(dtype), mask=inside)
    tl.store(d_pre_S2F + pre + d_expert, (d_act * silu).to(dtype), mask=inside)
    weighted_act = weighted_act_SF + row[:, None] * d_expert + n[None, :]
    tl.store(weighted_act, (act * weight[:, None]).to(dtype), mask=inside)
    return d_weight


def pre_gradient(
    grad_TD: Tensor, down_EDF: Tensor, weights_TK: Tensor, pre_S2F: Tensor, plan: Plan, tile: Tile
) -> tuple[Tensor, Tensor, Tensor]:
    """Return d pre (S, 2F), weight * act (S, F) and, in fp32, d weights (T, K)."""
    tile.refuse_levers_but("group")
    d_model, d_expert = down_EDF.shape[1:]
    n_rows, n_pieces = pre_S2F.shape[0], triton.cdiv(d_expert, tile.n)
    d_pre_S2F = torch.empty_like(pre_S2F)
    weighted_act_SF = pre_S2F.new_empty(n_rows, d_expert)
    d_weight_parts_SP = pre_S2F.new_empty(n_rows, n_pieces, dtype=torch.float32)
    pre_gradient_kernel[(plan.blocks_G2.shape[0] * n_pieces,)](
        grad_TD,
        down_EDF,
        weights_TK,
        pre_S2F,
        plan.slots_S,
        plan.ends_E,
        plan.blocks_G2,
        d_pre_S2F,
        weighted_act_SF,
        d_weight_parts_SP,
        d_model,
        d_expert,
        TOP_K=plan.top_k,
        PRECISION=precision(),
        GROUP_M=tile.group,
        **tile.meta,
    )
    return d_pre_S2F, weighted_act_SF, d_weight_parts_SP.sum(dim=1).view_as(weights_TK)


def pre_gradient_naive(
    grad_TD: Tensor, down_EDF: Tensor, weights_TK: Tensor, pre_S2F: Tensor, plan: Plan
) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `pre_gradient` does, one expert at a time and one formula a line."""
    grad_SD = grad_TD[plan.slots_S // plan.top_k]
    groups = grad_SD.tensor_split(plan.ends_E[:-1].tolist())
    d_act_SF = torch.cat([rows @ w for rows, w in zip(groups, down_EDF, strict=True)]).float()
    gate_SF, up_SF = pre_S2F.float().chunk(2, dim=-1)
    sigmoid_SF = gate_SF.sigmoid()
    act_SF = F.silu(gate_SF) * up_SF
    d_weights_TK = (d_act_SF * act_SF).sum(dim=1)[plan.rows_S].view_as(weights_TK)

    weights_S1 = weights_TK.reshape(-1)[plan.slots_S].float().unsqueeze(-1)
    d_act_SF = d_act_SF * weights_S1
    d_gate_SF = d_act_SF * up_SF * sigmoid_SF * (1 + gate_SF * (1 - sigmoid_SF))
    d_up_SF = d_act_SF * F.silu(gate_SF)
    d_pre_S2F = torch.cat([d_gate_SF, d_up_SF], dim=-1).to(pre_S2F.dtype)
    return d_pre_S2F, (act_SF * weights_S1).to(pre_S2F.dtype), d_weights_TK
