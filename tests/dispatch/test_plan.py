"""The plan and its parts against sorting in Python."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.dispatch import permutation_plan
from moe_lessons.dispatch.plan import stable_order


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.sampled_from([1, 3, 8, 256, 257, 40_000]), st.integers(0, 2**16))
def test_plan_is_a_stable_sort(n_tokens, n_experts, seed):
    top_k = min(2, n_experts)
    generator = torch.Generator().manual_seed(seed)
    ids_TK = torch.randint(n_experts, (n_tokens, top_k), generator=generator)
    if n_tokens:
        ids_TK[0, 0] = n_experts - 1  # the largest id of the narrow key
    plan = permutation_plan(ids_TK, n_experts)
    expected = sorted(range(n_tokens * top_k), key=lambda slot: int(ids_TK.flatten()[slot]))
    assert plan.row_ids_S.tolist() == expected
    assert plan.token_ids_S.tolist() == [slot // top_k for slot in expected]
    assert torch.equal(plan.row_ids_S[plan.inverse_S], torch.arange(n_tokens * top_k))
    assert torch.equal(plan.tokens_per_expert_E, torch.bincount(ids_TK.flatten(), minlength=n_experts))
    assert plan.expert_ends_E.dtype == torch.int32
    assert plan.expert_ends_E.tolist() == plan.tokens_per_expert_E.cumsum(0).tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.sampled_from([1, 3, 256, 257, 40_000]), st.integers(0, 2**16))
def test_both_sorts_agree(n_slots, n_experts, seed):
    ids_S = torch.randint(n_experts, (n_slots,), generator=torch.Generator().manual_seed(seed))
    if n_slots:
        ids_S[-1] = n_experts - 1
    order_S = stable_order(ids_S, n_experts)
    assert order_S.dtype == torch.int64
    assert torch.equal(order_S, ids_S.sort(stable=True).indices)


def test_a_plan_needs_two_axes():
    with pytest.raises(ValueError, match=r"topk_ids_TK has shape \(3,\): give \(T, K\)"):
        permutation_plan(torch.zeros(3, dtype=torch.int64), 2)
