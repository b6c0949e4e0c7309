import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import metrics
from moe_lessons.parallel.placement import (
    by_coactivation,
    nodes_per_token,
    pack,
    plan,
    rank_load,
    replicate,
)


def max_over_mean(load_G):
    return float(metrics.max_over_mean(load_G))


# The example in the README of github.com/deepseek-ai/EPLB: two layers, 12 experts, 16 slots on 8 GPUs.
README = (
    [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
    [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
)
loads = st.lists(st.floats(0, 1000), min_size=1, max_size=12)


def slow_copies(load, n_slots):
    """Straight from the rule, with a look at everyone in each round."""
    copies = [1] * len(load)
    while sum(copies) < n_slots:
        copies[max(range(len(load)), key=lambda e: load[e] / copies[e])] += 1
    return copies


@settings(deadline=None)
@given(loads, st.integers(0, 9))
def test_copies_agree_with_a_loop(load, more):
    copies_E = replicate(load, len(load) + more)
    expected = slow_copies(torch.tensor(load, dtype=torch.float64).tolist(), len(load) + more)
    assert int(copies_E.sum()) == len(load) + more
    assert int(copies_E.min()) >= 1
    fullest = max(x / int(n) for x, n in zip(load, copies_E, strict=True))
    assert fullest == pytest.approx(max(x / n for x, n in zip(load, expected, strict=True)))


@settings(deadline=None)
@given(loads, st.integers(1, 4))
def test_every_rank_gets_as_many_slots(load, n_ranks):
    load = load * n_ranks
    rank_S = pack(load, n_ranks)
    assert torch.bincount(rank_S, minlength=n_ranks).tolist() == [len(load) // n_ranks] * n_ranks


def test_copies_are_the_best_there_are():
    """Greedy copying is optimal: no other shares of the slots make the fullest copy smaller."""
    load = [50.0, 31.0, 17.0, 9.0]
    best = min(
        max(x / n for x, n in zip(load, copies, strict=True))
        for copies in itertools.product(range(1, 6), repeat=4)
        if sum(copies) == 8
    )
    found = replicate(load, 8).tolist()
    assert max(x / n for x, n in zip(load, found, strict=True)) == best


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(1, 1), (4, 2), (2, 2)]))
def test_a_plan_loses_no_row_and_no_expert(seed, levels):
    n_groups, n_nodes = levels
    load_E = torch.rand(8, generator=torch.Generator().manual_seed(seed)) * 100
    found = plan(load_E, 4, 12, n_groups=n_groups, n_nodes=n_nodes)
    assert set(found.expert_of_slot.tolist()) == set(range(8))
    assert torch.bincount(found.expert_of_slot).tolist() == found.copies_E.tolist()
    assert torch.bincount(found.rank_of_slot).tolist() == [3, 3, 3, 3]
    assert bool((found.rank_of_slot.diff() >= 0).all())
    assert float(rank_load(found, load_E).sum()) == pytest.approx(float(load_E.sum()))
    if n_nodes > 1:  # a group stays on one node
        node_of_slot = found.rank_of_slot // 2
        for group in range(n_groups):
            nodes = node_of_slot[found.expert_of_slot // (8 // n_groups) == group]
            assert len(nodes.unique()) == 1


@pytest.mark.parametrize(("layer", "hierarchical", "one_level"), [(0, 1.208, 1.073), (1, 1.242, 1.190)])
def test_the_published_example(layer, hierarchical, one_level):
    """Max/mean of what github.com/deepseek-ai/EPLB itself returns on its README's loads."""
    load = README[layer]
    two = plan(load, 8, 16, n_groups=4, n_nodes=2)
    assert max_over_mean(rank_load(two, load)) == pytest.approx(hierarchical, abs=5e-4)
    assert max_over_mean(rank_load(plan(load, 8, 16), load)) == pytest.approx(one_level, abs=5e-4)


def test_packing_cannot_beat_the_hottest_expert_and_copies_can():
    load_E = torch.arange(1, 257, dtype=torch.float64) ** -0.8
    alone = float(load_E.max() / (load_E.sum() / 32))
    packed = max_over_mean(rank_load(plan(load_E, 32), load_E))
    copied = max_over_mean(rank_load(plan(load_E, 32, 288), load_E))
    assert packed >= alone > 2.9
    assert copied < 1.01


def test_a_stale_plan_can_be_worse_than_none():
    planned = plan([90.0, 10.0, 10.0, 10.0], 2, 6)
    meets = [10.0, 90.0, 90.0, 10.0]
    none = torch.tensor(meets).view(2, 2).sum(dim=1)
    assert max_over_mean(none) == 1.0
    assert max_over_mean(rank_load(planned, meets)) > 1.3


def test_friends_share_a_node():
    generator = torch.Generator().manual_seed(0)
    team_N = torch.randint(4, (400,), generator=generator)
    order_E = torch.randperm(16, generator=generator)  # teams of four, in no order of their numbers
    members_NK = torch.rand(400, 4, generator=generator).topk(3).indices  # three of a team at a time
    ids_NK = order_E.view(4, 4)[team_N].gather(1, members_NK)
    together = by_coactivation(ids_NK, 16, 4)
    assert torch.bincount(together).tolist() == [4] * 4
    assert nodes_per_token(ids_NK, together) == 1.0
    assert nodes_per_token(ids_NK, torch.arange(16) // 4) > 1.5


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_nodes_agree_with_a_loop(seed):
    generator = torch.Generator().manual_seed(seed)
    ids_TK = torch.randint(6, (9, 3), generator=generator)
    node_E = torch.randint(3, (6,), generator=generator)
    expected = [len({int(node_E[e]) for e in row}) for row in ids_TK.tolist()]
    assert nodes_per_token(ids_TK, node_E) == pytest.approx(sum(expected) / 9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: replicate([1.0, 2.0], 1), "n_slots=1"),
        (lambda: replicate([1.0, -2.0], 4), "negative"),
        (lambda: pack([1.0, float("nan")], 2), "NaN"),
        (lambda: pack([1.0, 2.0, 3.0], 2), "n_ranks=2"),
        (lambda: plan([1.0] * 6, 4, 8, n_groups=4), "n_groups=4"),
        (lambda: plan([1.0] * 6, 3, 6, n_groups=2, n_nodes=2), "n_ranks=3"),
        (lambda: rank_load(plan([1.0, 2.0], 2), [1.0]), "load_E"),
        (lambda: by_coactivation(torch.zeros(1, 1).long(), 4, 3), "n_nodes=3"),
        (lambda: nodes_per_token(torch.zeros(0, 2).long(), torch.zeros(4).long()), "topk_ids_TK"),
    ],
)
def test_errors_name_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()
