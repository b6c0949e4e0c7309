"""Kernel 3, grouped matrix product: each expert's rows times that expert's matrix, forward and backward."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from moe_lessons.kernels.common import descriptor, dot, precision, share
from moe_lessons.kernels.plan import Plan
from moe_lessons.kernels.product_tma import product_tma_kernel
from moe_lessons.kernels.tiles import Tile


@triton.jit
def product_kernel(
    rows_SK,
    weights_ENK,
    ends_E,
    blocks_G2,
    out_SN,
    n_out,
    n_in,
    stride_n,
    stride_k,
    PRECISION: tl.constexpr,
    GROUP_M: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Compute out[row, n] = sum over k of rows[row, k] * weights[expert of row, n, k], one piece.

    Grid (G * cdiv(N, BLOCK_N),). Rows lie in order already. The weights' two strides say which of their axes
    is summed: down sums F of (E, D, F); the gradient of the tokens sums 2F of (E, 2F, D), so N and K swap.
    FLOPs 2 S N K. From memory at least S K + E N K elements; written S N.
    """
    n_pieces = tl.cdiv(n_out, BLOCK_N)
    block, piece = share(tl.program_id(0), tl.num_programs(0), n_pieces, GROUP_M)
    expert = tl.load(blocks_G2 + 2 * block).to(tl.int64)
    if expert < 0:
        return
    row = tl.load(blocks_G2 + 2 * block + 1).to(tl.int64) + tl.arange(0, BLOCK_M)
    is_row = row < tl.load(ends_E + expert)
    n = (piece * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    is_n = n < n_out
    x_rows = rows_SK + row * n_in
    w_rows = weights_ENK + expert * n_out * n_in + n * stride_n

    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(0, n_in, BLOCK_K):
        k = (first + tl.arange(0, BLOCK_K)).to(tl.int64)
        is_k = k < n_in
        x = tl.load(x_rows[:, None] + k[None, :], mask=is_row[:, None] & is_k[None, :], other=0.0)
        w = tl.load(w_rows[None, :] + k[:, None] * stride_k, mask=is_k[:, None] & is_n[None, :], other=0.0)
        acc = dot(x, w, acc, PRECISION)

    out = out_SN + row[:, None] * n_out + n[None, :]
    tl.store(out, acc.to(out_SN.dtype.element_ty), mask=is_row[:, None] & is_n[None, :])


def product(rows_SK: Tensor, weights_ENK: Tensor, plan: Plan, tile: Tile) -> Tensor:
    """Return (S, N); `weights_ENK` is a contiguous tensor, or the `.mT` of one."""
    tile.refuse_levers_but("group", "tma")
    n_out, n_in = weights_ENK.shape[1:]
    out_SN = rows_SK.new_empty(rows_SK.shape[0], n_out)
    grid = (plan.blocks_G2.shape[0] * triton.cdiv(n_out, tile.n),)
    options = {"PRECISION": precision(), "GROUP_M": tile.group, **tile.meta}
    if tile.tma:
        summed_first = weights_ENK.stride(2) != 1
        in_memory = weights_ENK.mT if summed_first else weights_ENK
        block = [1, tile.k, tile.n] if summed_first else [1, tile.n, tile.k]
        product_tma_kernel[grid](
            descriptor(rows_SK, [tile.m, tile.k], "rows_SK"),
            descriptor(in_memory, block, "weights_ENK"),
            plan.ends_E,
            plan.blocks_G2,
            out_SN,
            n_out,
            n_in,
            SUMMED_FIRST=summed_first,
            **options,
        )
        return out_SN
    product_kernel[grid](
        rows_SK,
        weights_ENK,
        plan.ends_E,
        plan.blocks_G2,
        out_SN,
        n_out,
        n_in,
        weights_ENK.stride(1),
        weights_ENK.stride(2),
        **options,
    )
    return out_SN


def product_naive(rows_SK: Tensor, weights_ENK: Tensor, plan: Plan) -> Tensor:
    """Do what `product` does, one expert at a time."""
    groups = rows_SK.tensor_split(plan.ends_E[:-1].tolist())
    return torch.cat([rows @ w.mT for rows, w in zip(groups, weights_ENK, strict=True)])
