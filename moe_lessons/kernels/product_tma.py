"""Kernel 3 through descriptors: the copy engine brings rows and weights, and hardly a pointer is left."""

import triton
import triton.language as tl

from moe_lessons.kernels.common import dot, share


@triton.jit
def product_tma_kernel(
    rows_SK,
    weights,
    ends_E,
    blocks_G2,
    out_SN,
    n_out,
    n_in,
    SUMMED_FIRST: tl.constexpr,
    PRECISION: tl.constexpr,
    GROUP_M: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Compute what `product_kernel` computes; `rows_SK` and `weights` are descriptors.

    Of the weights as they lie in memory, the axis that is summed comes first or second. What a block reads of
    the rows past its expert's end belongs to the next expert and is not stored.
    """
    n_pieces = tl.cdiv(n_out, BLOCK_N)
    block, piece = share(tl.program_id(0), tl.num_programs(0), n_pieces, GROUP_M)
    expert = tl.load(blocks_G2 + 2 * block).to(tl.int64)
    if expert < 0:
        return
    first_row = tl.load(blocks_G2 + 2 * block + 1)

    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(0, n_in, BLOCK_K):
        x = rows_SK.load([first_row, first])
        if SUMMED_FIRST:
            w = weights.load([expert.to(tl.int32), first, piece * BLOCK_N])
            w = tl.reshape(w, (BLOCK_K, BLOCK_N))
        else:
            w = weights.load([expert.to(tl.int32), piece * BLOCK_N, first])
            w = tl.trans(tl.reshape(w, (BLOCK_N, BLOCK_K)))
        acc = dot(x, w, acc, PRECISION)

    row = first_row.to(tl.int64) + tl.arange(0, BLOCK_M)
    n = piece * BLOCK_N + tl.arange(0, BLOCK_N)
    is_row, is_n = row < tl.load(ends_E + expert), n < n_out
    out = out_SN + row[:, None] * n_out + n[None, :]
    tl.store(out, acc.to(out_SN.dtype.element_ty), mask=is_row[:, None] & is_n[None, :])
