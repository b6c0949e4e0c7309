"""Rows by a hash of the last tokens: stable, causal, and honest about collisions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.frontier.memory import MAX_ROWS, NGramMemory, collisions, hashed_rows


@given(st.integers(1, 4), st.integers(1, MAX_ROWS), st.integers(0, 99))
def test_rows_depend_on_the_last_tokens_alone(order, n_rows, seed):
    g = torch.Generator().manual_seed(seed)
    tokens_BL = torch.randint(0, 256, (2, 9), generator=g)
    rows_BL = hashed_rows(tokens_BL, order, n_rows)
    assert rows_BL.min() >= 0
    assert rows_BL.max() < n_rows
    changed_BL = tokens_BL.clone()
    changed_BL[:, 4] = (changed_BL[:, 4] + 1) % 256
    moved = (hashed_rows(changed_BL, order, MAX_ROWS) != hashed_rows(tokens_BL, order, MAX_ROWS)).any(0)
    assert not moved[:4].any()  # nothing earlier
    assert not moved[4 + order :].any()  # and not beyond the order


def test_the_same_rows_on_every_machine():
    assert hashed_rows(torch.tensor([[72, 101, 108]]), 3, 10_007).tolist() == [[9858, 8998, 2001]]


def test_collisions_are_counted():
    tokens_BL = torch.randint(0, 256, (4, 200), generator=torch.Generator().manual_seed(0))
    n_grams, shared = collisions(tokens_BL, 2, MAX_ROWS)
    assert n_grams > 700
    assert shared == 0
    assert collisions(tokens_BL, 2, 50)[1] > 0.9 * n_grams


def test_bad_sizes_are_refused():
    for order, n_rows in ((0, 10), (5, 10)):
        with pytest.raises(ValueError, match="order is"):
            hashed_rows(torch.zeros(1, 2, dtype=torch.int64), order, n_rows)
    with pytest.raises(ValueError, match="n_rows is"):
        hashed_rows(torch.zeros(1, 2, dtype=torch.int64), 2, MAX_ROWS + 1)
    with pytest.raises(ValueError, match="n_rows is 1: give one or more for each of the 2 orders"):
        NGramMemory(8, 1)


def test_the_memory_does_not_see_the_future_and_is_trained():
    torch.manual_seed(0)
    memory = NGramMemory(8, 100)
    stream_BLD, tokens_BL = torch.randn(1, 6, 8), torch.randint(0, 256, (1, 6))
    changed_BL = tokens_BL.clone()
    changed_BL[0, 4] += 1
    with torch.no_grad():
        gap_L = (memory(stream_BLD, tokens_BL) - memory(stream_BLD, changed_BL)).abs().amax(-1)[0]
    assert gap_L[:4].max() == 0
    assert gap_L[4] > 0
    memory(stream_BLD, tokens_BL).sum().backward()
    assert all(table.weight.grad.abs().max() > 0 for table in memory.tables)
