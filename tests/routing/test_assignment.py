from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.routing import base_assignment, greedy_assignment, tokens_per_expert


def draw(n_tokens, n_experts, seed=0):
    return 2 * torch.randn(
        n_tokens, n_experts, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def total(logits_TE, ids):
    return sum(float(logits_TE[t, e]) for t, e in enumerate(ids))


def best_by_trying_all(logits_TE):
    n_tokens, n_experts = logits_TE.shape
    allowed = {n_tokens // n_experts, -(-n_tokens // n_experts)}
    tries = (ids for ids in product(range(n_experts), repeat=n_tokens))
    return max(total(logits_TE, ids) for ids in tries if {ids.count(e) for e in range(n_experts)} <= allowed)


@settings(max_examples=60, deadline=None)
@given(n_tokens=st.integers(0, 6), n_experts=st.integers(1, 4), seed=st.integers(0, 999))
def test_base_finds_the_best_of_all_balanced_assignments(n_tokens, n_experts, seed):
    logits_TE = draw(n_tokens, n_experts, seed)
    ids = base_assignment(logits_TE).topk_ids_TK.flatten().tolist()
    assert total(logits_TE, ids) == pytest.approx(best_by_trying_all(logits_TE))
    loads = [ids.count(e) for e in range(n_experts)]
    assert max(loads) - min(loads) <= (1 if n_tokens % n_experts else 0)


@settings(max_examples=60, deadline=None)
@given(n_tokens=st.integers(0, 30), n_experts=st.integers(1, 7), seed=st.integers(0, 999))
def test_greedy_is_the_loop_over_sorted_pairs(n_tokens, n_experts, seed):
    logits_TE = draw(n_tokens, n_experts, seed)
    capacity = -(-n_tokens // n_experts)
    pairs = sorted(product(range(n_tokens), range(n_experts)), key=lambda te: -float(logits_TE[te]))
    expected, loads = [None] * n_tokens, [0] * n_experts
    for t, e in pairs:
        if expected[t] is None and loads[e] < capacity:
            expected[t] = e
            loads[e] += 1
    assert greedy_assignment(logits_TE).topk_ids_TK.flatten().tolist() == expected


def test_greedy_never_beats_base_and_often_loses():
    lost = 0
    for seed in range(50):
        logits_TE = draw(24, 4, seed)
        sums = [
            total(logits_TE, each(logits_TE).topk_ids_TK.flatten().tolist())
            for each in (base_assignment, greedy_assignment)
        ]
        assert sums[0] >= sums[1] - 1e-9
        lost += sums[0] > sums[1] + 1e-9
    assert lost > 25


def test_greedy_with_equal_scores_fills_every_place():
    routing = greedy_assignment(torch.zeros(9, 4))
    loads_E = tokens_per_expert(routing.topk_ids_TK, 4)
    assert int(loads_E.max()) <= 3
    assert base_assignment(torch.zeros(9, 4)).topk_ids_TK.flatten().bincount(minlength=4).tolist() != [
        9,
        0,
        0,
        0,
    ]


def test_evaluation_takes_the_best_expert():
    logits_TE = draw(20, 4)
    logits_TE[:, 2] += 9
    assert (base_assignment(logits_TE, training=False).topk_ids_TK == 2).all()
    assert tokens_per_expert(base_assignment(logits_TE).topk_ids_TK, 4).tolist() == [5] * 4


@pytest.mark.parametrize("route", [base_assignment, greedy_assignment])
def test_weights_are_sigmoids_with_gradients(route):
    logits_TE = draw(6, 3).requires_grad_()
    routing = route(logits_TE)
    torch.testing.assert_close(
        routing.topk_weights_TK, logits_TE.gather(1, routing.topk_ids_TK).sigmoid(), rtol=1e-12, atol=0
    )
    assert torch.autograd.gradcheck(lambda logits_TE: route(logits_TE).topk_weights_TK, (logits_TE,))


@pytest.mark.parametrize("route", [base_assignment, greedy_assignment])
@pytest.mark.parametrize("value", [torch.inf, -torch.inf])
def test_infinite_scores_are_refused(route, value):
    with pytest.raises(
        ValueError, match="logits_TE holds infinite values: a sum of scores needs finite ones"
    ):
        route(torch.tensor([[0.0, value]]))
