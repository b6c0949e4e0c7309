"""A step takes as long as its bytes or its arithmetic; drafts pay where bytes are shared anyway."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.accounting import count, decode_read_bytes, describe, kv_cache_bytes
from moe_lessons.serving import Server, speculation_speedup, tokens_per_check

MIXTRAL = Server("Mixtral-8x7B", overhead_s=0)


def test_bytes_are_those_of_the_accounting():
    model = describe("Mixtral-8x7B")
    for tokens, context in ((1, 0), (4, 1000), (64, 4096)):
        expected = decode_read_bytes(model, tokens, context)
        assert MIXTRAL.read_bytes(tokens, tokens * context) == pytest.approx(expected)
    assert MIXTRAL.flops(3) == 3 * 2 * count(model).active
    assert MIXTRAL.read_bytes(0, 7) - MIXTRAL.read_bytes(0) == 7 * kv_cache_bytes(model, 1)


def test_few_tokens_wait_for_bytes_and_many_for_arithmetic():
    for tokens in (1, 64, 4096):
        by_bytes = MIXTRAL.read_bytes(tokens) / MIXTRAL.bytes_s
        by_flops = MIXTRAL.flops(tokens) / MIXTRAL.flops_s
        assert MIXTRAL.step_s(tokens) == pytest.approx(max(by_bytes, by_flops))
        assert (MIXTRAL.intensity(tokens) > MIXTRAL.ridge) == (by_flops > by_bytes)
    assert MIXTRAL.intensity(1) < MIXTRAL.ridge < MIXTRAL.intensity(4096)


def test_two_gpus_are_twice_as_fast_and_the_overhead_stays():
    one, two = Server("OLMoE-1B-7B", overhead_s=1.0), Server("OLMoE-1B-7B", gpus=2, overhead_s=1.0)
    assert two.step_s(8, 100) - 1 == pytest.approx((one.step_s(8, 100) - 1) / 2)


@given(st.floats(0, 1), st.integers(0, 8))
def test_tokens_of_a_check_are_a_geometric_sum(acceptance, gamma):
    tokens = tokens_per_check(acceptance, gamma)
    assert 1 <= tokens <= gamma + 1
    if acceptance < 1:
        closed = (1 - acceptance ** (gamma + 1)) / (1 - acceptance)
        assert tokens == pytest.approx(closed, rel=1e-6)


def test_no_draft_is_no_gain():
    for batch in (1, 64):
        assert speculation_speedup(MIXTRAL, batch, 0, 0.7) == 1


def test_sparse_models_gain_at_middle_batches():
    """One user's draft brings experts of its own; among many users all experts are read anyway."""
    v3 = Server("DeepSeek-V3", overhead_s=0)
    alone, few, many = (speculation_speedup(v3, batch, 3, 0.7) for batch in (1, 4, 64))
    assert few < 1
    assert many > 2 * few
    assert alone < 1.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Server("Mixtral-8x7B", gpus=0), "gpus=0: choose more than 0"),
        (lambda: Server("Mixtral-8x7B", bytes_s=0), "bytes_s=0: choose more than 0"),
        (lambda: MIXTRAL.step_s(-1), "tokens=-1, cached=0: choose 0 or more"),
        (lambda: tokens_per_check(1.5, 2), "acceptance=1.5: choose 0 to 1"),
        (lambda: tokens_per_check(0.5, -1), "gamma=-1: choose 0 or more"),
        (lambda: Server("Mixtrall-8x7B"), "Mixtral"),
        (lambda: Server("Mixtral-8x7B", dtype="int3").step_s(1), "dtype='int3'"),
    ],
)
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
