"""Kernel 1, metadata: who sits where once rows are sorted by expert, decided on the device.

A slot is one (token, choice) pair, numbered t * K + k. Rows are slots sorted by expert. The matrix kernels
walk the rows in blocks of BLOCK_M, each within one expert, and the host never learns how many rows an expert
has: it starts as many programs as any routing could need, and the spare ones return at once.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor


class Plan(NamedTuple):
    """The permutation and the blocks.

    Row p holds slot `slots_S[p]` (int64); slot s sits in row `rows_S[s]` (int64) and belongs to token
    s // `top_k`. Expert e owns the rows up to `ends_E[e]` (int32), from where its neighbour ends. Block g
    holds rows of expert `blocks_G2[g, 0]`, from row `blocks_G2[g, 1]` on (int32); a spare one has expert -1.
    """

    slots_S: Tensor
    rows_S: Tensor
    ends_E: Tensor
    blocks_G2: Tensor
    top_k: int


def block_limit(n_rows: int, n_experts: int, block_rows: int) -> int:
    """Return the number of blocks that no routing of S rows can exceed.

    Each expert's last block may be partly empty, and only an expert with rows has blocks.

    Examples
    --------
    >>> block_limit(n_rows=10, n_experts=3, block_rows=4)  # 8 + 1 + 1 rows fill 2 + 1 + 1 blocks
    5
    """
    return n_rows // block_rows + min(n_experts, n_rows)


@triton.jit
def plan_kernel(slots_S, ends_E, rows_S, blocks_G2, n_experts, BLOCK_E: tl.constexpr, BLOCK_M: tl.constexpr):
    """Find the expert and first row of one block, and note for each of its rows which slot sits there.

    Grid (G,). Each program reads E ends and BLOCK_M slots, and writes one pair and BLOCK_M rows:
    8 E + 16 BLOCK_M + 8 bytes, no floating point at all.
    """
    block = tl.program_id(0)
    e = tl.arange(0, BLOCK_E)
    end = tl.load(ends_E + e, mask=e < n_experts, other=0)
    start = tl.load(ends_E + e - 1, mask=(e > 0) & (e < n_experts), other=0)
    blocks = (end - start + BLOCK_M - 1) // BLOCK_M
    blocks = tl.where(e < n_experts, blocks, 0)
    after = tl.cumsum(blocks, axis=0)  # blocks of experts 0..e
    mine = (after - blocks <= block) & (block < after)
    found = tl.sum(mine.to(tl.int32), axis=0)
    expert = tl.sum(tl.where(mine, e, 0), axis=0) + found - 1  # -1 if no expert has this block
    first = tl.sum(tl.where(mine, start + (block - after + blocks) * BLOCK_M, 0), axis=0)
    last = tl.sum(tl.where(mine, end, 0), axis=0)
    tl.store(blocks_G2 + 2 * block, expert)
    tl.store(blocks_G2 + 2 * block + 1, first)
    row = first.to(tl.int64) + tl.arange(0, BLOCK_M)
    slot = tl.load(slots_S + row, mask=row < last, other=0)
    tl.store(rows_S + slot, row, mask=row < last)


def make_plan(topk_ids_TK: Tensor, n_experts: int, block_rows: int) -> Plan:
    """Sort the slots by expert and cut the rows into blocks, without a word to the host.

    Parameters
    ----------
    topk_ids_TK : integer Tensor of shape (T, K)
    n_experts : int
    block_rows : int
        BLOCK_M of the kernels that will walk the blocks.

    Returns
    -------
    Plan
    """
    ids_S, slots_S, ends_E = _sort(topk_ids_TK, n_experts)
    n_blocks = block_limit(ids_S.numel(), n_experts, block_rows)
    rows_S = torch.empty_like(slots_S)
    blocks_G2 = torch.empty(n_blocks, 2, dtype=torch.int32, device=ids_S.device)
    plan_kernel[(n_blocks,)](
        slots_S,
        ends_E,
        rows_S,
        blocks_G2,
        n_experts,
        BLOCK_E=triton.next_power_of_2(n_experts),
        BLOCK_M=block_rows,
    )
    return Plan(slots_S, rows_S, ends_E, blocks_G2, topk_ids_TK.shape[1])


def make_plan_naive(topk_ids_TK: Tensor, n_experts: int, block_rows: int) -> Plan:
    """Do what `make_plan` does, by counting on the host.

    Examples
    --------
    >>> plan = make_plan_naive(torch.tensor([[2, 0], [0, 1]]), n_experts=3, block_rows=2)
    >>> plan.slots_S, plan.ends_E
    (tensor([1, 2, 3, 0]), tensor([2, 3, 4], dtype=torch.int32))
    >>> plan.blocks_G2.tolist()  # one block each, and two spare
    [[0, 0], [1, 2], [2, 3], [-1, 0], [-1, 0]]
    """
    ids_S, slots_S, ends_E = _sort(topk_ids_TK, n_experts)
    blocks, start = [], 0
    for expert, end in enumerate(ends_E.tolist()):
        blocks += [(expert, first) for first in range(start, end, block_rows)]
        start = end
    blocks += [(-1, 0)] * (block_limit(ids_S.numel(), n_experts, block_rows) - len(blocks))
    blocks_G2 = torch.tensor(blocks, dtype=torch.int32, device=ids_S.device).reshape(-1, 2)
    return Plan(slots_S, slots_S.argsort(), ends_E, blocks_G2, topk_ids_TK.shape[1])


def _sort(topk_ids_TK: Tensor, n_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    # A radix sort takes time in proportion to the width of the key.
    narrow = torch.uint8 if n_experts <= 256 else torch.int16 if n_experts <= 2**15 else torch.int32
    ids_S, slots_S = topk_ids_TK.reshape(-1).to(narrow).sort(stable=True)
    experts_E = torch.arange(n_experts, dtype=narrow, device=ids_S.device)
    # bincount would tell the host how many bins it found, and the host would wait for the answer.
    return ids_S, slots_S, torch.searchsorted(ids_S, experts_E, right=True, out_int32=True)
