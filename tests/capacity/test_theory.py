from math import comb

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons import capacity as cap


@given(st.integers(0, 300), st.lists(st.floats(0, 1), min_size=1, max_size=4), st.integers(0, 300))
def test_overflow_is_the_binomial_expectation(n_tokens, reach, capacity):
    capacity = min(capacity, n_tokens)
    found_E = cap.expected_overflow(n_tokens, torch.tensor(reach, dtype=torch.float64))[:, capacity]
    for found, p in zip(found_E.tolist(), reach, strict=True):
        counts = range(capacity, n_tokens + 1)
        chances = [comb(n_tokens, n) * p**n * (1 - p) ** (n_tokens - n) for n in counts]
        expected = sum((n - capacity) * chance for n, chance in zip(counts, chances, strict=True))
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-10)


def drop_rates(n_tokens, logits_E, top_k, capacity, n_draws):
    """Drop rates of random routers: each token takes its top-k of fixed preferences plus Gumbel noise."""
    generator = torch.Generator().manual_seed(0)
    rates = []
    for _ in range(n_draws):
        uniform_TE = torch.rand(n_tokens, len(logits_E), generator=generator, dtype=torch.float64)
        ids_TK = (logits_E - (-uniform_TE.log()).log()).topk(top_k).indices
        admission = cap.admit(ids_TK, torch.ones(ids_TK.shape), n_experts=len(logits_E), capacity=capacity)
        rates.append(cap.drop_rate(admission.kept_TK))
    return torch.stack(rates)


@pytest.mark.parametrize(
    ("n_tokens", "n_experts", "top_k", "percent"),
    [
        (64, 8, 1, 13.1),
        (512, 8, 1, 4.7),
        (512, 64, 1, 13.8),
        (64, 8, 2, 8.6),
        (512, 8, 2, 3.1),
        (512, 64, 2, 9.8),
    ],
)
def test_drops_of_a_perfectly_random_router(n_tokens, n_experts, top_k, percent):
    """The numbers of the explorable, and draws that agree with them."""
    capacity = cap.expert_capacity(n_tokens, n_experts, top_k, 1.0)
    reach_E = torch.full((n_experts,), top_k / n_experts)
    expected = cap.expected_drop_rate(n_tokens, reach_E, capacity)
    assert round(100 * expected, 1) == percent
    rates = drop_rates(n_tokens, torch.zeros(n_experts), top_k, capacity, 300)
    assert float(rates.mean()) == pytest.approx(expected, abs=4 * float(rates.std()) / 300**0.5)


def test_a_skewed_router_too():
    shares_E = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    expected = cap.expected_drop_rate(40, shares_E, 12)
    rates = drop_rates(40, shares_E.log(), 1, 12, 400)
    assert float(rates.mean()) == pytest.approx(expected, abs=4 * float(rates.std()) / 20)
    # Independent draws with replacement would need another formula for K = 2: the inclusion probabilities.
    two_E = shares_E * (1 + torch.stack([(shares_E / (1 - shares_E)).sum() - s / (1 - s) for s in shares_E]))
    assert float(two_E.sum()) == pytest.approx(2)
    rates = drop_rates(40, shares_E.log(), 2, 22, 400)
    expected = cap.expected_drop_rate(40, two_E, 22)
    assert float(rates.mean()) == pytest.approx(expected, abs=4 * float(rates.std()) / 20)
    assert expected != pytest.approx(cap.expected_drop_rate(80, shares_E, 22), rel=0.05)


@given(st.integers(1, 200), st.integers(1, 16), st.integers(1, 60))
def test_drops_and_padding_agree_on_the_rows_that_are_kept(n_tokens, n_experts, capacity):
    reach_E = torch.full((n_experts,), 1 / n_experts)
    dropped = cap.expected_drop_rate(n_tokens, reach_E, capacity)
    padded = cap.expected_padding(n_tokens, reach_E, capacity)
    assert -1e-12 <= dropped <= 1
    assert n_tokens * (1 - dropped) == pytest.approx(n_experts * capacity * (1 - padded))


def test_one_expert_drops_nothing_and_pads_nothing():
    assert cap.expected_drop_rate(7, torch.ones(1), 7) == pytest.approx(0, abs=1e-12)
    assert cap.expected_drop_rate(7, torch.ones(1), 3) == pytest.approx(4 / 7)
    assert cap.expected_padding(7, torch.ones(1), 7) == pytest.approx(0, abs=1e-12)


def test_padding_of_a_draw():
    ids_TK = torch.tensor([[0], [0], [0], [1]])
    kept_TK = cap.admit(ids_TK, torch.ones(4, 1), n_experts=4, capacity=2).kept_TK
    assert float(cap.drop_rate(kept_TK)) == 1 / 4
    assert float(cap.padding_fraction(kept_TK, 4, 2)) == 5 / 8
    assert cap.drop_rate(kept_TK[:0]).isnan()
    assert cap.padding_fraction(kept_TK[:0], 4, 0).isnan()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cap.expected_overflow(-1, torch.ones(1)), "-1 tokens"),
        (lambda: cap.expected_overflow(3, torch.tensor([1.5])), "give 0 or more and probabilities 0..1"),
        (lambda: cap.expected_overflow(3, torch.tensor([torch.nan])), "nan"),
        (lambda: cap.expected_drop_rate(0, torch.ones(1), 1), "at least 1 token"),
        (lambda: cap.expected_drop_rate(3, torch.ones(1), -1), "capacity -1"),
        (lambda: cap.expected_padding(3, torch.ones(1), 0), "capacity is 0"),
    ],
)
def test_theory_refuses_what_makes_no_sense(call, message):
    with pytest.raises(ValueError, match=message):
        call()
