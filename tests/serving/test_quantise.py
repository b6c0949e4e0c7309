"""Rounding to few bits: how far off, which codes, which bytes; and a model whose experts are rounded."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import ModelConfig
from moe_lessons.model import MoETransformer
from moe_lessons.serving import bits_per_weight, quantise, quantised_model, relative_error
from moe_lessons.serving.quantise import bits_by_expert

SIZES = ModelConfig(n_layers=2, d_model=32, n_heads=2, d_expert=32, n_experts=4, top_k=2, context_length=16)


def model():
    return MoETransformer(SIZES, generator=torch.Generator().manual_seed(0)).eval()


def drawn(rows, groups, group, seed):
    generator = torch.Generator().manual_seed(seed)
    spread = 10 ** torch.randn(rows, groups, 1, generator=generator)
    return (spread * torch.randn(rows, groups, group, generator=generator)).flatten(1)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 9), st.integers(2, 8), st.integers(0, 10**6))
def test_each_weight_is_within_half_a_step(rows, groups, group, bits, seed):
    weight = drawn(rows, groups, group, seed)
    packed = quantise(weight, bits, group)
    top = 2 ** (bits - 1) - 1
    step = packed.scales.float().repeat_interleave(group, 1)
    # Scales are rounded to 11 bits, by which the largest code may miss its weight.
    slack = weight.abs() * 2**-10 + 1e-7
    assert ((packed.dequantise() - weight).abs() <= step / 2 + slack).all()
    assert packed.codes.abs().max() <= top
    largest = packed.codes.view(rows, groups, group).abs().amax(-1)
    assert (largest == top).all()


def test_zero_stays_zero_and_an_empty_group_is_no_nan():
    weight = torch.tensor([[0.0, 0.0, 0.0, -2.0], [1e-12, 0.0, 0.0, 1.0]])
    restored = quantise(weight, 4, group=2).dequantise()
    assert restored.isfinite().all()
    assert (restored[weight == 0] == 0).all()


def test_a_scale_for_each_group_beats_one_for_a_row():
    weight = drawn(64, 8, 32, seed=3)
    errors = [relative_error(weight, quantise(weight, 4, group).dequantise()) for group in (None, 32)]
    assert errors[1] < errors[0]


def test_more_bits_err_less():
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    errors = [relative_error(weight, quantise(weight, bits).dequantise()) for bits in range(2, 9)]
    assert errors == sorted(errors, reverse=True)
    # One bit more halves the step, and errors with it; the codes -top to top make it a little more.
    assert all(1.9 < a / b < 3.2 for a, b in itertools.pairwise(errors))


def test_bytes_are_what_the_formula_says():
    packed = quantise(torch.randn(6, 64), 4, 32)
    assert packed.n_bytes * 8 / (6 * 64) == bits_per_weight(4, 32) == 4.5
    assert bits_per_weight(8, 64) == 8.25


def test_only_experts_change_and_each_gets_its_bits():
    whole = model()
    rows = [[8, 16, 2, 4], [16, 16, 16, 3]]
    cut = quantised_model(whole, rows)
    before, after = whole.state_dict(), cut.state_dict()
    for name in before:
        if ".experts." not in name:
            assert torch.equal(before[name], after[name])
    for layer, row in enumerate(rows):
        bank = f"blocks.{layer}.moe.experts.down_proj"
        for expert, bits in enumerate(row):
            kept = torch.equal(before[bank][expert], after[bank][expert])
            assert kept == (bits == 16)
            if bits < 16:
                expected = quantise(before[bank][expert], bits).dequantise()
                assert torch.equal(after[bank][expert], expected)


def test_one_number_stands_for_all():
    assert bits_by_expert(model(), 3) == [[3] * 4] * 2
    assert bits_by_expert(model(), [3, 16]) == [[3] * 4, [16] * 4]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantise(torch.ones(2, 8), 1), "bits=1: choose 2 to 8"),
        (lambda: quantise(torch.ones(2, 8), 9), "bits=9: choose 2 to 8"),
        (lambda: quantise(torch.ones(2, 8), 4, 3), "group=3: choose a divisor of the 8"),
        (lambda: quantise(torch.ones(2, 8), 4, 0), "group=0: choose a divisor of the 8"),
        (lambda: quantise(torch.full((2, 8), torch.nan), 4, 4), "not finite"),
        (lambda: quantise(torch.full((2, 8), 1e9), 4, 4), "too large"),
        (lambda: quantised_model(model(), [[4] * 4]), "give one number, or 4 for each of 2 layers"),
        (lambda: quantised_model(model(), 1), "bits=1: choose 2 to 8, or 16"),
        (lambda: quantised_model(model(), 12), "bits=12: choose 2 to 8, or 16"),
    ],
)
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
