"""Kernel 2: gather the tokens, multiply by gate and up, apply SwiGLU. One pass, nothing in between stored."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.kernels.common import descriptor, dot, multiprocessors, precision, share
from moe_lessons.kernels.plan import Plan
from moe_lessons.kernels.tiles import Tile
from moe_lessons.kernels.up_persistent import up_persistent_kernel


@triton.jit
def up_kernel(
    hidden_TD,
    gate_up_E2FD,
    slots_S,
    ends_E,
    blocks_G2,
    act_SF,
    pre_S2F,
    d_model,
    d_expert,
    TOP_K: tl.constexpr,
    STORE_PRE: tl.constexpr,
    PRECISION: tl.constexpr,
    GROUP_M: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Compute act[row] = silu(gate x) * (up x) for x = hidden[token of row], one BLOCK_M x BLOCK_N piece.

    Grid (G * cdiv(F, BLOCK_N),); neighbours share an expert's weights, and rows or a piece (see `share`).
    Gate and up have an accumulator each and share the tile of x. FLOPs 4 S D F. From memory at least: X and
    the weights once, T D + 2 E F D elements; written S F, and 2 S F more, the pre-activations, when training.
    """
    n_pieces = tl.cdiv(d_expert, BLOCK_N)
    block, piece = share(tl.program_id(0), tl.num_programs(0), n_pieces, GROUP_M)
    expert = tl.load(blocks_G2 + 2 * block).to(tl.int64)
    if expert < 0:
        return
    row = tl.load(blocks_G2 + 2 * block + 1).to(tl.int64) + tl.arange(0, BLOCK_M)
    is_row = row < tl.load(ends_E + expert)
    token = tl.load(slots_S + row, mask=is_row, other=0) // TOP_K
    n = piece * BLOCK_N + tl.arange(0, BLOCK_N)
    is_n = n < d_expert
    x_rows = hidden_TD + token * d_model
    gate_rows = gate_up_E2FD + (expert * 2 * d_expert + n) * d_model
    up_rows = gate_up_E2FD + (expert * 2 * d_expert + d_expert + n) * d_model

    gate = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    up = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(0, d_model, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        is_k = k < d_model
        x = tl.load(x_rows[:, None] + k[None, :], mask=is_row[:, None] & is_k[None, :], other=0.0)
        w_gate = tl.load(gate_rows[None, :] + k[:, None], mask=is_k[:, None] & is_n[None, :], other=0.0)
        w_up = tl.load(up_rows[None, :] + k[:, None], mask=is_k[:, None] & is_n[None, :], other=0.0)
        gate = dot(x, w_gate, gate, PRECISION)
        up = dot(x, w_up, up, PRECISION)

    inside = is_row[:, None] & is_n[None, :]
    dtype = act_SF.dtype.element_ty
    if STORE_PRE:
        pre = pre_S2F + row[:, None] * 2 * d_expert + n[None, :]
        tl.store(pre, gate.to(dtype), mask=inside)
        tl.store(pre + d_expert, up.to(dtype), mask=inside)
    act = gate * tl.sigmoid(gate) * up
    tl.store(act_SF + row[:, None] * d_expert + n[None, :], act.to(dtype), mask=inside)


def up(
    hidden_TD: Tensor, gate_up_E2FD: Tensor, plan: Plan, tile: Tile, store_pre: bool
) -> tuple[Tensor, Tensor]:
    """Return the activations (S, F), and the pre-activations (S, 2F), or (0, 2F) unless `store_pre`."""
    twice, d_model = gate_up_E2FD.shape[1:]
    n_rows, d_expert = plan.slots_S.numel(), twice // 2
    act_SF = hidden_TD.new_empty(n_rows, d_expert)
    pre_S2F = hidden_TD.new_empty(n_rows if store_pre else 0, twice)
    n_blocks = plan.blocks_G2.shape[0]
    n_programs = n_blocks * triton.cdiv(d_expert, tile.n)
    kernel, weights, more = up_kernel, gate_up_E2FD, {}
    if tile.tma or tile.persistent:
        kernel, more = up_persistent_kernel, {"n_blocks": n_blocks, "TMA": tile.tma}
    if tile.tma:
        weights = descriptor(gate_up_E2FD, [1, tile.n, tile.k], "gate_up_E2FD")
    if tile.persistent:
        n_programs = min(n_programs, tile.persistent * multiprocessors(hidden_TD.device))
    kernel[(n_programs,)](
        hidden_TD,
        weights,
        plan.slots_S,
        plan.ends_E,
        plan.blocks_G2,
        act_SF,
        pre_S2F,
        d_model,
        d_expert,
        TOP_K=plan.top_k,
        STORE_PRE=store_pre,
        PRECISION=precision(),
        GROUP_M=tile.group,
        **more,
        **tile.meta,
    )
    return act_SF, pre_S2F


def up_naive(hidden_TD: Tensor, gate_up_E2FD: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Do what `up` does, one expert at a time."""
    rows_SD = hidden_TD[plan.slots_S // plan.top_k]
    groups = rows_SD.tensor_split(plan.ends_E[:-1].tolist())
    pre_S2F = torch.cat([rows @ w.mT for rows, w in zip(groups, gate_up_E2FD, strict=True)])
    gate_SF, up_SF = pre_S2F.chunk(2, dim=-1)
    return F.silu(gate_SF) * up_SF, pre_S2F
