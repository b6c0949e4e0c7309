"""Kernel 6, gradients of the weights: each expert's rows of one tensor times its rows of another."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from moe_lessons.kernels.common import dot, precision
from moe_lessons.kernels.plan import Plan
from moe_lessons.kernels.tiles import Tile


@triton.jit
def weight_gradient_kernel(
    tokens_TM,
    rows_SN,
    slots_S,
    ends_E,
    out_EMN,
    n_m,
    n_n,
    stride_m,
    stride_n,
    TOP_K: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Compute out[e, m, n] = sum over the rows of e of tokens[token of row, m] * rows[row, n], one piece.

    Grid (E * cdiv(M, BLOCK_M) * cdiv(N, BLOCK_N),). One program walks all rows of its expert, in order, so no
    two programs add to one element; for an expert without rows it writes zeros. The strides of the result let
    it lie as (E, M, N) or (E, N, M). FLOPs 2 S M N. From memory at least T M + S N elements; written E M N.
    """
    m_pieces = tl.cdiv(n_m, BLOCK_M)
    n_pieces = tl.cdiv(n_n, BLOCK_N)
    n = (tl.program_id(0) % n_pieces * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    m = (tl.program_id(0) // n_pieces % m_pieces * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    expert = (tl.program_id(0) // n_pieces // m_pieces).to(tl.int64)
    is_m = m < n_m
    is_n = n < n_n
    start = tl.load(ends_E + expert - 1, mask=expert > 0, other=0)
    end = tl.load(ends_E + expert)

    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(start, end, BLOCK_K):
        row = first + tl.arange(0, BLOCK_K).to(tl.int64)
        is_row = row < end
        token = tl.load(slots_S + row, mask=is_row, other=0) // TOP_K
        x_ptr = tokens_TM + token[:, None] * n_m + m[None, :]
        x = tl.load(x_ptr, mask=is_row[:, None] & is_m[None, :], other=0.0)
        y_ptr = rows_SN + row[:, None] * n_n + n[None, :]
        y = tl.load(y_ptr, mask=is_row[:, None] & is_n[None, :], other=0.0)
        acc = dot(tl.trans(x), y, acc, PRECISION)

    out = out_EMN + expert * n_m * n_n + m[:, None] * stride_m + n[None, :] * stride_n
    tl.store(out, acc.to(out_EMN.dtype.element_ty), mask=is_m[:, None] & is_n[None, :])


def weight_gradient(tokens_TM: Tensor, rows_SN: Tensor, plan: Plan, tile: Tile, out_EMN: Tensor) -> Tensor:
    """Fill and return `out_EMN`, which may be a transposed view of a contiguous (E, N, M)."""
    tile.refuse_levers_but()
    n_experts, n_m, n_n = out_EMN.shape
    grid = n_experts * triton.cdiv(n_m, tile.m) * triton.cdiv(n_n, tile.n)
    weight_gradient_kernel[(grid,)](
        tokens_TM,
        rows_SN,
        plan.slots_S,
        plan.ends_E,
        out_EMN,
        n_m,
        n_n,
        out_EMN.stride(1),
        out_EMN.stride(2),
        TOP_K=plan.top_k,
        PRECISION=precision(),
        **tile.meta,
    )
    return out_EMN


def weight_gradient_naive(tokens_TM: Tensor, rows_SN: Tensor, plan: Plan) -> Tensor:
    """Return what `weight_gradient` fills in, one expert at a time."""
    bounds = plan.ends_E[:-1].tolist()
    tokens = tokens_TM[plan.slots_S // plan.top_k].tensor_split(bounds)
    return torch.stack([x.mT @ y for x, y in zip(tokens, rows_SN.tensor_split(bounds), strict=True)])
