"""Enough blocks for any routing, and not many more."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.dispatch import permutation_plan
from moe_lessons.kernels.plan import block_limit, make_plan_naive

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=12)


@given(COUNTS, st.integers(1, 16))
def test_no_routing_needs_more_blocks_than_the_limit(counts, block_rows):
    needed = sum(-(-count // block_rows) for count in counts)
    limit = block_limit(sum(counts), len(counts), block_rows)
    assert needed <= limit <= needed + min(len(counts), sum(counts))


@given(st.integers(1, 12), st.integers(1, 16), st.integers(0, 3))
def test_some_routing_reaches_the_limit(n_experts, block_rows, full_blocks):
    counts = [full_blocks * block_rows + 1] + [1] * (n_experts - 1)  # each expert begins a block of its own
    if sum(counts) % block_rows < n_experts and sum(counts) // block_rows > full_blocks:
        return  # the other experts' rows would have filled a block
    needed = sum(-(-count // block_rows) for count in counts)
    assert needed == block_limit(sum(counts), n_experts, block_rows)


@given(st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), max_size=9), st.integers(1, 5))
def test_the_plan_is_the_cpu_paths_plan_cut_into_blocks(ids, block_rows):
    ids_TK = torch.tensor(ids, dtype=torch.int64).reshape(-1, 3)
    plan, other = make_plan_naive(ids_TK, 7, block_rows), permutation_plan(ids_TK, 7)
    assert torch.equal(plan.slots_S, other.row_ids_S)
    assert torch.equal(plan.rows_S, other.inverse_S)
    assert torch.equal(plan.ends_E, other.expert_ends_E)
    ends, covered = plan.ends_E.tolist(), []
    for expert, first in plan.blocks_G2.tolist():
        if expert >= 0:
            covered += [(expert, row) for row in range(first, min(first + block_rows, ends[expert]))]
    expert_of_row = ids_TK.reshape(-1)[plan.slots_S].tolist()
    assert sorted(covered) == sorted((expert, row) for row, expert in enumerate(expert_of_row))
