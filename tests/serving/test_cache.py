"""The cache against a plain list, the oracle against every rule, and against every possible choice."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.serving import POLICIES, ExpertCache, popular, simulate_cache


@st.composite
def traces(draw, most_experts=7, most_tokens=14):
    n_experts = draw(st.integers(2, most_experts))
    top_k = draw(st.integers(1, n_experts - 1))
    seed, n_tokens = draw(st.integers(0, 10**6)), draw(st.integers(1, most_tokens))
    generator = torch.Generator().manual_seed(seed)
    even = torch.linspace(1, 0.1, n_experts).expand(n_tokens, -1)
    ids_NK = torch.multinomial(even, top_k, generator=generator)
    return ids_NK, draw(st.integers(top_k, n_experts)), n_experts


def plain(ids_NK, capacity, policy):
    """A list whose first entry goes next, with no cleverness."""
    there, counts, hits = [], {}, []
    for row in ids_NK.tolist():
        found = 0
        for expert in row:
            if expert in there:
                found += 1
                if policy != "fifo":
                    there.remove(expert)
                    there.append(expert)
            else:
                if len(there) == capacity:
                    free = [e for e in there if e not in row]
                    if policy == "lfu":
                        free.sort(key=lambda e: counts[e])  # stable: the longest unused of the rarest
                    there.remove(free[0])
                there.append(expert)
            counts[expert] = counts.get(expert, 0) + 1
        hits.append(found)
    return hits, frozenset(there)


@pytest.mark.parametrize("policy", ["lru", "lfu", "fifo"])
@settings(deadline=None, max_examples=60)
@given(traces())
def test_like_a_plain_list(policy, trace):
    ids_NK, capacity, _ = trace
    run = simulate_cache(ids_NK, capacity, policy)
    hits, there = plain(ids_NK, capacity, policy)
    assert run.hits_N.tolist() == hits
    assert run.contents == there
    assert run.hit_rate == pytest.approx(sum(hits) / ids_NK.numel())


@settings(deadline=None, max_examples=60)
@given(traces())
def test_the_oracle_is_never_beaten(trace):
    ids_NK, capacity, _ = trace
    best = simulate_cache(ids_NK, capacity, "belady").hits_N.sum()
    for policy in ("lru", "lfu", "fifo"):
        assert best >= simulate_cache(ids_NK, capacity, policy).hits_N.sum()


def best_of_all(rows, capacity):
    """Hits of the best sequence of evictions, found by trying all."""
    states = {frozenset(): 0}
    for row in rows:
        after = {}
        for there, hits in states.items():
            found = len(there & set(row))
            union = there | set(row)
            spare = sorted(union - set(row))
            for n in range(len(spare) + 1):
                for kept in itertools.combinations(spare, n):
                    state = frozenset(kept) | set(row)
                    if len(state) <= capacity:
                        after[state] = max(after.get(state, 0), hits + found)
        states = after
    return max(states.values())


@settings(deadline=None, max_examples=25)
@given(traces(most_experts=5, most_tokens=8))
def test_the_oracle_is_the_best_that_any_rule_could_do(trace):
    ids_NK, capacity, _ = trace
    assert simulate_cache(ids_NK, capacity, "belady").hits_N.sum() == best_of_all(ids_NK.tolist(), capacity)


@settings(deadline=None, max_examples=30)
@given(traces())
def test_room_for_all_misses_each_expert_once(trace):
    ids_NK, _, n_experts = trace
    for policy in ("lru", "lfu", "fifo", "belady"):
        run = simulate_cache(ids_NK, n_experts, policy)
        assert ids_NK.numel() - run.hits_N.sum() == len(ids_NK.unique())


def test_a_fixed_set_stays():
    ids_NK = torch.tensor([[0, 1], [2, 3], [0, 3], [3, 1]])
    run = simulate_cache(ids_NK, 2, "fixed", popular(ids_NK, 2, 4))
    assert run.contents == {0, 3}
    assert run.hits_N.tolist() == [1, 1, 2, 1]


def test_what_a_token_needs_is_not_evicted_for_its_other_experts():
    run = simulate_cache(torch.tensor([[0, 1, 2], [3, 2, 0]]), 3)
    assert run.contents == {0, 2, 3}  # 1 went, though 0 had waited longer


def test_sizes_count_instead_of_experts():
    bytes_of = {"small": 1, "large": 3, "other": 2}.__getitem__
    cache = ExpertCache(4, size=bytes_of)
    loads, drops = [], []
    for key in ("small", "large", "other"):
        cache.need([key], loads.append, drops.append)
    assert loads == ["small", "large", "other"]
    assert drops == ["small", "large"]
    assert cache.taken == 2
    assert cache.loaded == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate_cache(torch.zeros(3, 4, dtype=torch.long), 2), "capacity=2 with top_k=4: a token"),
        (lambda: simulate_cache(torch.zeros(3, 1, dtype=torch.long), 2, "mru"), "policy='mru': choose one"),
        (lambda: simulate_cache(torch.zeros(3, dtype=torch.long), 2), "ids_NK has shape"),
        (lambda: simulate_cache(torch.zeros(3, 1), 2), "ids_NK has shape"),
        (
            lambda: simulate_cache(torch.zeros(3, 1, dtype=torch.long), 2, "fixed", range(3)),
            "contents take 3",
        ),
        (lambda: ExpertCache(2, "belady"), "needs the future"),
        (lambda: ExpertCache(2).need([1, 2, 3]), "what is needed together takes 3"),
    ],
)
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_every_policy_is_named():
    assert POLICIES == ("lru", "lfu", "fifo", "belady", "fixed")
