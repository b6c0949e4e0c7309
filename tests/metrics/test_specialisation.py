"""Neighbours, overlaps and agreement against loops, against independence, and what is refused."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.exercises import registry
from moe_lessons.exercises.judge import draw
from moe_lessons.metrics import agreement, coactivation, conditional_information, locality, set_overlap

SEEDS = st.integers(0, 2**31)


def draws(seed):
    return torch.Generator().manual_seed(seed)


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(2, 9), st.integers(1, 6), SEEDS)
def test_locality_is_that_of_a_loop(n_windows, length, n_experts, seed):
    g = draws(seed)
    experts = torch.randint(n_experts, (n_windows, length), generator=g)
    lengths = torch.randint(1, length + 1, (n_windows,), generator=g)
    lengths[0] = length
    windows = [row[:n].tolist() for row, n in zip(experts, lengths.tolist(), strict=True)]
    pairs = [pair for window in windows for pair in itertools.pairwise(window)]
    counts = np.unique(np.concatenate(windows), return_counts=True)[1]
    found = locality(experts, lengths)
    assert found.found == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert found.by_chance == pytest.approx(((counts / counts.sum()) ** 2).sum())


def test_independent_experts_are_alike_by_chance_and_sticky_ones_above_it():
    g = draws(0)
    shares = torch.tensor([0.5, 0.3, 0.2])
    free = torch.multinomial(shares, 40_000, replacement=True, generator=g).view(-1, 40)
    found, chance = locality(free)
    assert found == pytest.approx(chance, abs=0.01)
    assert chance == pytest.approx(0.38, abs=0.01)  # .25 + .09 + .04, and not 1/3
    sticky = free.repeat_interleave(2, dim=1)
    assert locality(sticky).found > chance + 0.2
    assert locality(sticky).by_chance == pytest.approx(chance)


def test_windows_are_not_joined():
    assert locality(torch.tensor([[0, 1], [1, 0], [0, 1]])).found == 0


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(2, 7), SEEDS)
def test_overlap_is_that_of_sets_and_chance_of_all_pairings(n_tokens, n_experts, seed):
    g = draws(seed)
    k = int(torch.randint(1, n_experts + 1, (1,), generator=g))
    first, second = (torch.rand(n_tokens, n_experts, generator=g).topk(k).indices for _ in range(2))
    one, other = ([set(row) for row in ids.tolist()] for ids in (first, second))
    found = set_overlap(first, second, n_experts)
    shared = [len(a & b) / k for a, b in zip(one, other, strict=True)]
    assert found.found == pytest.approx(np.mean(shared))
    assert found.by_chance == pytest.approx(np.mean([len(a & b) / k for a in one for b in other]))


def test_the_order_of_the_slots_means_nothing():
    ids = torch.rand(30, 6, generator=draws(0)).topk(3).indices
    assert set_overlap(ids, ids.flip(1), 6).found == 1


def test_overlap_by_chance_is_k_over_e_only_for_even_loads():
    g = draws(0)
    even = torch.rand(20_000, 8, generator=g).topk(2).indices
    assert set_overlap(even, even[torch.randperm(20_000, generator=g)], 8).by_chance == pytest.approx(
        0.25, abs=0.01
    )
    popular = torch.tensor([[0, 1]]).repeat(100, 1)
    assert set_overlap(popular, popular, 8) == (1, 1)  # nothing to learn from it


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(2, 5), SEEDS)
def test_agreement_is_the_best_of_all_matchings(n_tokens, n_experts, seed):
    g = draws(seed)
    first, second = torch.randint(n_experts, (2, n_tokens), generator=g)
    best = max(
        (torch.tensor(order)[first] == second).double().mean().item()
        for order in itertools.permutations(range(n_experts))
    )
    found = agreement(first, second, n_experts)
    assert found.share == pytest.approx(best)
    assert (found.matching_E[first] == second).double().mean().item() == pytest.approx(best)


def test_other_numbers_for_the_same_experts_agree_on_everything():
    first = torch.randint(6, (500,), generator=draws(0))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    found = agreement(first, order[first], 6)
    assert found.share == 1
    assert torch.equal(found.matching_E, order)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: locality(torch.zeros(3).long()), r"experts_WL has shape \(3,\): give \(windows, length\)"),
        (lambda: locality(torch.zeros(2, 3).long(), torch.tensor([3])), r"lengths_W has shape \(1,\)"),
        (lambda: locality(torch.zeros(2, 3).long(), torch.tensor([3, 4])), "from 3 to 4: give 1 to 3"),
        (lambda: locality(torch.zeros(2, 1).long()), "no window has two tokens"),
        (
            lambda: set_overlap(torch.zeros(2, 1).long(), torch.zeros(3, 1).long(), 2),
            r"\(2, 1\), second_TK \(3, 1\)",
        ),
        (lambda: set_overlap(torch.tensor([[5]]), torch.tensor([[0]]), 2), "runs from 5 to 5 with 2 experts"),
        (lambda: agreement(torch.zeros(2).long(), torch.zeros(3).long(), 2), r"\(2,\), second_N \(3,\)"),
        (lambda: agreement(torch.tensor([0]), torch.tensor([2]), 2), "runs from 2 to 2 with 2 experts"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# What lesson 12 asks for, and what the package has, are the same.


@pytest.mark.parametrize("seed", range(5))
def test_the_exercises_of_lesson_12_agree_with_the_package(seed):
    def cases(id):
        exercise = registry.exercise(id)
        for case in draw(exercise, seed):
            args = [torch.as_tensor(a) if isinstance(a, np.ndarray) else a for a in case.args.values()]
            yield exercise.reference(*args), args

    for expected, (experts_WL, lengths_W, _) in cases("12.locality"):
        assert locality(experts_WL, lengths_W) == pytest.approx(expected)
    for expected, args in cases("12.saturation"):
        assert set_overlap(*args) == pytest.approx(expected)
    for expected, (experts_N, tokens_N, domains_N) in cases("12.beyond_the_token"):
        assert conditional_information(experts_N, domains_N, tokens_N) == pytest.approx(expected)
    for (given_EE, _), (ids_TK, n_experts) in cases("12.coactivation"):
        both_EE = coactivation(ids_TK, n_experts).float()
        assert torch.allclose(given_EE + torch.eye(n_experts), both_EE / both_EE.diagonal()[:, None])
