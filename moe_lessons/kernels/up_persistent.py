"""Kernel 2 with two levers more: few programs that walk over all pieces, and weights by descriptors."""

import triton
import triton.language as tl

from moe_lessons.kernels.common import dot, share


@triton.jit
def up_persistent_kernel(
    hidden_TD,
    gate_up_E2FD,
    slots_S,
    ends_E,
    blocks_G2,
    act_SF,
    pre_S2F,
    d_model,
    d_expert,
    n_blocks,
    TOP_K: tl.constexpr,
    STORE_PRE: tl.constexpr,
    PRECISION: tl.constexpr,
    TMA: tl.constexpr,
    GROUP_M: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Compute what `up_kernel` computes, a program one piece after another, with a grid of any size.

    With TMA, `gate_up_E2FD` is a descriptor of blocks (1, BLOCK_N, BLOCK_K). It fills up with zeros past D.
    Past F a block of gate goes on with up, and one of up with zeros: columns that are not stored.
    """
    n_pieces = tl.cdiv(d_expert, BLOCK_N)
    n_tasks = n_blocks * n_pieces
    for task in range(tl.program_id(0), n_tasks, tl.num_programs(0)):
        block, piece = share(task, n_tasks, n_pieces, GROUP_M)
        expert = tl.load(blocks_G2 + 2 * block).to(tl.int64)
        if expert >= 0:
            row = tl.load(blocks_G2 + 2 * block + 1).to(tl.int64) + tl.arange(0, BLOCK_M)
            is_row = row < tl.load(ends_E + expert)
            token = tl.load(slots_S + row, mask=is_row, other=0) // TOP_K
            n = piece * BLOCK_N + tl.arange(0, BLOCK_N)
            is_n = n < d_expert
            x_rows = hidden_TD + token * d_model
            if not TMA:
                gate_rows = gate_up_E2FD + (expert * 2 * d_expert + n) * d_model
                up_rows = gate_up_E2FD + (expert * 2 * d_expert + d_expert + n) * d_model

            gate = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
            up = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
            for first in range(0, d_model, BLOCK_K):
                k = first + tl.arange(0, BLOCK_K)
                is_k = k < d_model
                x = tl.load(x_rows[:, None] + k[None, :], mask=is_row[:, None] & is_k[None, :], other=0.0)
                if TMA:
                    w_gate = gate_up_E2FD.load([expert.to(tl.int32), piece * BLOCK_N, first])
                    w_up = gate_up_E2FD.load([expert.to(tl.int32), d_expert + piece * BLOCK_N, first])
                    w_gate = tl.trans(tl.reshape(w_gate, (BLOCK_N, BLOCK_K)))
                    w_up = tl.trans(tl.reshape(w_up, (BLOCK_N, BLOCK_K)))
                else:
                    is_w = is_k[:, None] & is_n[None, :]
                    w_gate = tl.load(gate_rows[None, :] + k[:, None], mask=is_w, other=0.0)
                    w_up = tl.load(up_rows[None, :] + k[:, None], mask=is_w, other=0.0)
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
