import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons import capacity as cap


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((64, 8, 1, 1.0), 8),
        ((64, 8, 2, 1.0), 16),
        ((64, 8, 2, 1.25), 20),
        ((10, 4, 1, 1.0), 3),
        ((0, 4, 2, 1.0), 0),
    ],
)
def test_capacity_is_the_fair_share_times_the_factor_rounded_up(sizes, expected):
    assert cap.expert_capacity(*sizes) == expected


def test_capacity_does_not_round_a_float_error_up():
    assert math.ceil(800 / 8 * 1.1) == 111  # the trap
    assert cap.expert_capacity(800, 8, 1, 1.1) == 110


@given(st.integers(0, 10**6), st.integers(1, 512), st.integers(1, 16), st.integers(1, 400))
def test_capacity_holds_every_row_of_a_balanced_load(n_tokens, n_experts, top_k, hundredths):
    top_k = min(top_k, n_experts)
    capacity = cap.expert_capacity(n_tokens, n_experts, top_k, hundredths / 100)
    fair = Fraction(top_k * n_tokens * hundredths, 100 * n_experts)
    assert fair <= capacity < fair + 1


def test_switch_gshard_and_tutel_are_the_same_formula():
    n_tokens, n_groups, n_experts = 4096, 4, 32
    assert cap.expert_capacity(n_tokens, n_experts, 1, 1.25) == n_tokens / n_experts * 1.25
    gshard = 2 * n_tokens / (n_groups * n_experts)
    assert cap.expert_capacity(n_tokens // n_groups, n_experts, 2, 1.0) == gshard
    samples_per_expert = (n_tokens + n_experts - 1) // n_experts
    assert cap.expert_capacity(n_tokens, n_experts, 3, 1.5) == 3 * int(1.5 * samples_per_expert)


@pytest.mark.parametrize("factor", [0, -1.0, math.nan, math.inf])
def test_capacity_refuses_a_factor_that_is_no_factor(factor):
    with pytest.raises(ValueError, match=f"capacity_factor is {factor}: give a finite number above 0"):
        cap.expert_capacity(8, 4, 1, factor)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((8, 4, 5), "top_k is 5 with 4 experts"),
        ((8, 4, 0), "choose 1 to 4"),
        ((8, 0, 1), "0 experts"),
        ((-1, 4, 1), "-1"),
    ],
)
def test_capacity_refuses_impossible_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        cap.expert_capacity(*sizes, 1.0)
