import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.metrics import coactivation, expected_coactivation, tokens_per_expert, tokens_until_all


@st.composite
def choices(draw):
    n_experts = draw(st.integers(2, 8))
    k = draw(st.integers(1, n_experts))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    scores = torch.rand(draw(st.integers(1, 40)), n_experts, generator=rng)
    return scores.topk(k).indices, n_experts


@settings(deadline=None)
@given(choices())
def test_counts_are_those_of_a_loop(drawn):
    ids, n_experts = drawn
    by_hand = torch.zeros(n_experts, n_experts, dtype=torch.int64)
    for row in ids.tolist():
        for a in row:
            for b in row:
                by_hand[a, b] += 1
    assert torch.equal(coactivation(ids, n_experts), by_hand)
    assert torch.equal(by_hand.diagonal(), tokens_per_expert(ids, n_experts))


@settings(deadline=None)
@given(choices())
def test_expected_pairs_add_up_to_those_that_were_chosen(drawn):
    ids, n_experts = drawn
    expected = expected_coactivation(ids, n_experts)
    t, k = ids.shape
    assert expected.sum().item() == pytest.approx(t * k * (k - 1), rel=0.02)
    assert (expected.diagonal() == 0).all()


def test_independent_choices_come_near_what_is_expected():
    rng = torch.Generator().manual_seed(0)
    weights = torch.tensor([8.0, 4, 2, 1, 1, 1]).log() + 0
    gumbel = -torch.rand(20000, 6, generator=rng).log().neg().log()
    ids = (weights + gumbel).topk(2).indices
    seen, expected = coactivation(ids, 6).double(), expected_coactivation(ids, 6)
    off = ~torch.eye(6, dtype=torch.bool)
    # Choosing one after the other is not quite independent; a pair that is sought out is far from it.
    assert (seen[off] / expected[off] - 1).abs().max() < 0.25
    loads = tokens_per_expert(ids, 6)
    torch.testing.assert_close(expected.sum(1), loads.double(), rtol=1e-6, atol=1e-3)


def test_an_expert_in_every_choice_seeks_out_nobody():
    rng = torch.Generator().manual_seed(0)
    ids = torch.stack([torch.zeros(900).long(), torch.randint(1, 4, (900,), generator=rng)], dim=1)
    seen, expected = coactivation(ids, 4).double(), expected_coactivation(ids, 4)
    assert (seen[0, 1:] / expected[0, 1:] - 1).abs().max() < 0.02


def test_pairs_that_are_sought_out():
    rng = torch.Generator().manual_seed(0)
    ids = torch.rand(4000, 6, generator=rng).topk(2).indices
    bound = torch.cat([ids, torch.tensor([[4, 5]]).expand(2000, 2)])
    assert coactivation(bound, 6)[4, 5] > 1.4 * expected_coactivation(bound, 6)[4, 5]


def test_tokens_until_all_experts_are_used():
    rng = torch.Generator().manual_seed(0)
    assert tokens_until_all(torch.tensor([[0, 1, 2]]), rng) == 1
    even = torch.randint(0, 8, (4000, 1), generator=rng)
    assert tokens_until_all(even, rng, 400) == pytest.approx(8 * sum(1 / i for i in range(1, 9)), rel=0.1)
    rare = torch.cat([even, torch.tensor([[8]])])  # one token of 4001 needs the ninth expert
    assert tokens_until_all(rare, rng, 100) > 1000
