import re

import pytest
import torch
from drawn_routings import routings
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import capacity as cap
from moe_lessons.routing import topk_softmax


def admit_loop(ids_TK, order, n_experts, capacity):
    """The oracle: serve one slot after the other, in this order."""
    free, kept_TK = [capacity] * n_experts, torch.zeros(ids_TK.shape, dtype=torch.bool)
    for t, k in order:
        expert = int(ids_TK[t, k])
        if free[expert] > 0:
            free[expert] -= 1
            kept_TK[t, k] = True
    return kept_TK


def orders(weights_TK):
    """Each priority as a sort key over (token, choice), from its description."""
    n_tokens, top_k = weights_TK.shape
    slots = [(t, k) for t in range(n_tokens) for k in range(top_k)]
    best = [max(row) for row in weights_TK.tolist()]
    return {
        "token": slots,
        "choice": sorted(slots, key=lambda slot: (slot[1], slot[0])),
        "batch": sorted(slots, key=lambda slot: (slot[1], -best[slot[0]], slot[0])),
        "weight": sorted(slots, key=lambda slot: (-float(weights_TK[slot]), slot)),
    }


@settings(max_examples=60, deadline=None)
@given(routings())
def test_the_three_ways_to_count_positions_agree(routing):
    ids_S, n_experts = routing[0].flatten(), routing[2]
    expected_S = cap.positions_loop(ids_S, n_experts)
    for count in (cap.positions_one_hot, cap.positions_sorted):
        assert torch.equal(count(ids_S, n_experts), expected_S)
        assert torch.equal(count(ids_S.int(), n_experts), expected_S)


@pytest.mark.parametrize("priority", cap.PRIORITIES)
@settings(max_examples=40, deadline=None)
@given(routing=routings(), capacity=st.integers(0, 12))
def test_admission_is_what_serving_one_by_one_gives(priority, routing, capacity):
    ids_TK, weights_TK, n_experts = routing
    admission = cap.admit(ids_TK, weights_TK, n_experts=n_experts, capacity=capacity, priority=priority)
    expected_TK = admit_loop(ids_TK, orders(weights_TK)[priority], n_experts, capacity)
    assert torch.equal(admission.kept_TK, expected_TK)
    cells = (ids_TK * capacity + admission.positions_TK)[admission.kept_TK].tolist()
    assert len(set(cells)) == len(cells)  # no two rows in one place


def test_priorities_differ_where_they_should():
    generator = torch.Generator().manual_seed(0)
    _, ids_TK, weights_TK = topk_softmax(torch.randn(64, 8, generator=generator), 2)
    kept = [
        cap.admit(ids_TK, weights_TK, n_experts=8, capacity=12, priority=p).kept_TK for p in cap.PRIORITIES
    ]
    assert len({tuple(kept_TK.flatten().tolist()) for kept_TK in kept}) == 4
    assert len({int(kept_TK.sum()) for kept_TK in kept}) == 1  # whoever comes first, as many are served


@settings(max_examples=30, deadline=None)
@given(routings())
def test_without_a_capacity_nobody_is_dropped_and_the_fullest_expert_is_full(routing):
    ids_TK, weights_TK, n_experts = routing
    admission = cap.admit(ids_TK, weights_TK, n_experts=n_experts, capacity=None)
    assert admission.kept_TK.all()
    assert admission.capacity == int(torch.bincount(ids_TK.flatten(), minlength=n_experts).max())


def test_padding_takes_nobodys_place():
    ids_TK, mask_T = torch.tensor([[0], [0], [0], [1]]), torch.tensor([False, True, True, True])
    for capacity in (1, None):
        admission = cap.admit(ids_TK, torch.ones(4, 1), n_experts=2, capacity=capacity, mask_T=mask_T)
        assert admission.kept_TK.flatten().tolist() == [False, True, capacity is None, True]
    assert float(cap.drop_rate(admission.kept_TK, mask_T)) == 0
    hidden = cap.admit(
        ids_TK, torch.ones(4, 1), n_experts=2, capacity=None, mask_T=torch.zeros(4, dtype=torch.bool)
    )
    assert hidden.capacity == 0
    assert not hidden.kept_TK.any()
    assert cap.drop_rate(hidden.kept_TK, torch.zeros(4, dtype=torch.bool)).isnan()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"topk_ids_TK": torch.tensor([[0, 4]])},
            "topk_ids_TK runs from 0 to 4 with 4 experts: keep ids in 0..3",
        ),
        ({"topk_ids_TK": torch.tensor([[-1, 2]])}, "topk_ids_TK runs from -1 to 2"),
        ({"topk_ids_TK": torch.tensor([0, 1])}, "topk_ids_TK has shape (2,)"),
        ({"topk_weights_TK": torch.ones(2, 2)}, "topk_weights_TK (2, 2): give both (T, K)"),
        ({"n_experts": 1}, "top_k is 2 with 1 experts: choose 1 to 1"),
        ({"capacity": -1}, "capacity is -1: give 0 or more places, or None"),
        ({"priority": "best"}, "priority is 'best': choose one of token, choice, batch, weight"),
        ({"mask_T": torch.ones(1)}, "mask_T is torch.float32 (1,): give bool of shape (1,)"),
    ],
)
def test_admission_refuses_what_makes_no_sense(change, message):
    good = {
        "topk_ids_TK": torch.tensor([[0, 1]]),
        "topk_weights_TK": torch.ones(1, 2),
        "n_experts": 4,
        "capacity": 1,
    }
    cap.admit(**good)
    with pytest.raises(ValueError, match=re.escape(message)):
        cap.admit(**(good | change))
