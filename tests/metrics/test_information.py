"""Mutual information against entropies, independence, and the bias of a finite sample."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from moe_lessons.metrics import (
    conditional_information,
    information_by_chance,
    mutual_information,
    order_within,
    shuffled_information,
)


def by_entropies(a, b):
    """H(A) + H(B) - H(A, B), in bits."""

    def bits(values):
        return entropy(np.unique(values, return_counts=True)[1], base=2)

    return bits(a.numpy()) + bits(b.numpy()) - bits((a * 1000 + b).numpy())


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_equals_the_sum_of_entropies(n, n_experts, n_labels, seed):
    g = torch.Generator().manual_seed(seed)
    experts = torch.randint(n_experts, (n,), generator=g)
    labels = (experts + torch.randint(n_labels, (n,), generator=g)) % n_labels
    assert mutual_information(experts, labels) == pytest.approx(by_entropies(experts, labels), abs=1e-9)
    assert mutual_information(labels, experts) == pytest.approx(mutual_information(experts, labels), abs=1e-9)


def test_of_a_sample_it_is_above_zero_by_millers_term():
    g = torch.Generator().manual_seed(0)
    experts, labels = torch.randint(8, (2000,), generator=g), torch.randint(5, (2000,), generator=g)
    chance = shuffled_information(experts, labels, g, n_shuffles=200)
    assert chance.mean().item() == pytest.approx(7 * 4 / (2 * 2000 * math.log(2)), rel=0.1)


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_conditional_is_the_weighted_mean_over_groups_and_the_chain_rule(
    n, n_experts, n_labels, n_given, seed
):
    g = torch.Generator().manual_seed(seed)
    given_N = torch.randint(n_given, (n,), generator=g)
    labels = (given_N + torch.randint(n_labels, (n,), generator=g)) % n_labels
    experts = (labels + torch.randint(n_experts, (n,), generator=g)) % n_experts
    found = conditional_information(experts, labels, given_N)
    groups = [given_N == value for value in given_N.unique()]
    mean = sum(g.double().mean().item() * mutual_information(experts[g], labels[g]) for g in groups)
    assert found == pytest.approx(mean, abs=1e-9)
    both = mutual_information(experts * n_given + given_N, labels)
    assert found == pytest.approx(both - mutual_information(given_N, labels), abs=1e-9)


def test_conditional_sees_through_a_token_that_betrays_the_label():
    """Experts that only follow the token; the token tells the label."""
    g = torch.Generator().manual_seed(0)
    token = torch.randint(6, (30_000,), generator=g)
    label, expert = token // 2, token % 4
    assert mutual_information(expert, label) > 0.5
    assert conditional_information(expert, label, token) < 1e-9


def test_conditional_sees_what_only_both_together_tell():
    g = torch.Generator().manual_seed(0)
    expert, token = torch.randint(2, (2, 30_000), generator=g)
    assert mutual_information(expert, expert ^ token) < 0.001
    assert conditional_information(expert, expert ^ token, token) > 0.999


def test_chance_within_groups_is_what_shuffling_within_them_gives():
    g = torch.Generator().manual_seed(0)
    experts, labels, token = (torch.randint(n, (6000,), generator=g) for n in (8, 3, 10))
    found = [conditional_information(experts, labels[order_within(token, g)], token) for _ in range(30)]
    assert np.mean(found) == pytest.approx(information_by_chance(experts, labels, token), rel=0.1)
    assert information_by_chance(experts, labels) == pytest.approx(7 * 2 / (2 * 6000 * math.log(2)))


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**31))
def test_an_order_within_groups_is_an_order_and_keeps_the_groups(n, n_groups, seed):
    g = torch.Generator().manual_seed(seed)
    groups = torch.randint(n_groups, (n,), generator=g)
    order = order_within(groups, g)
    assert torch.equal(order.sort().values, torch.arange(n))
    assert torch.equal(groups[order], groups)


def test_shuffling_within_groups_keeps_what_the_groups_tell():
    """Experts follow the group; labels depend on the group too, so that all they share is the group."""
    g = torch.Generator().manual_seed(0)
    group = torch.randint(4, (20_000,), generator=g)
    labels = (group + (torch.rand(20_000, generator=g) < 0.3)) % 4
    inside = shuffled_information(group, labels, g, within_N=group, n_shuffles=3)
    anywhere = shuffled_information(group, labels, g, n_shuffles=3)
    assert inside.numpy() == pytest.approx(mutual_information(group, labels), abs=1e-12)
    assert anywhere.max() < 0.01


def test_shuffling_within_groups_breaks_what_goes_beyond_them():
    g = torch.Generator().manual_seed(0)
    group, secret = torch.randint(4, (2, 20_000), generator=g)
    assert mutual_information(secret, secret) > 1.9
    assert shuffled_information(secret, secret, g, within_N=group, n_shuffles=2).max() < 0.01


def test_narrow_types_do_not_overflow():
    experts = torch.tensor([1, 2, 1, 2], dtype=torch.uint8)
    assert mutual_information(experts, experts.new_tensor([200, 130, 200, 130])) == 1.0


@pytest.mark.parametrize(
    ("experts", "labels", "message"),
    [
        ([1, 1, 2, 2], [-1, -1, 0, 0], "labels_N is torch.int64, from -1 on: give 0, 1, 2"),
        ([-1], [0], "experts_N is torch.int64, from -1 on"),
        ([0], [0.5], "labels_N is torch.float32, from 0.5 on"),
        ([1, 2], [0], r"experts_N has shape \(2,\), labels_N \(1,\): give one of each"),
        ([], [], r"experts_N has shape \(0,\), labels_N \(0,\): give one of each for at least one token"),
    ],
)
def test_what_cannot_be_counted_is_refused(experts, labels, message):
    with pytest.raises(ValueError, match=message):
        mutual_information(torch.tensor(experts), torch.tensor(labels))


def test_a_third_label_that_cannot_be_counted_is_named():
    ids = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="given_N has shape"):
        conditional_information(ids, ids, ids[:1])
    with pytest.raises(ValueError, match=r"given_N is torch.int64, from -1 on"):
        information_by_chance(ids, ids, ids - 1)
