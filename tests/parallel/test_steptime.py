"""The model of a layer's time, and the network in two numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.parallel import StepModel, fit_alpha_beta
from moe_lessons.parallel.steptime import fit_line

SIZES = [1e3, 4e3, 16e3, 64e3, 256e3, 1e6, 4e6]


@given(st.floats(1, 1000), st.floats(0.01, 100))
def test_two_numbers_are_found_again(latency_us, gigabytes_per_s):
    seconds = [1e-6 * latency_us + size / (1e9 * gigabytes_per_s) for size in SIZES]
    fit = fit_alpha_beta(SIZES, seconds)
    assert fit.latency_us == pytest.approx(latency_us, rel=1e-4)
    assert fit.gigabytes_per_s == pytest.approx(gigabytes_per_s, rel=1e-4)
    assert fit.worst < 1e-6


def test_large_messages_do_not_drown_the_latency():
    """10 % on the largest message is a hundred latencies: fitted absolutely, alpha would be lost."""
    exact = [100e-6 + size / 1e9 for size in SIZES]
    off = [*exact[:-1], 1.1 * exact[-1]]
    assert fit_alpha_beta(SIZES, off).latency_us == pytest.approx(100, rel=0.1)
    terms_N2 = torch.tensor([[1.0, size] for size in SIZES], dtype=torch.float64)
    absolute = torch.linalg.lstsq(terms_N2, torch.tensor(off, dtype=torch.float64).unsqueeze(1)).solution
    assert abs(1e6 * absolute[0].item() - 100) > 10


def test_no_time_is_negative():
    a, b, worst = fit_line([1.0, 2.0, 3.0], [1.0, 2.2, 3.6])
    assert a == 0
    assert 1 < b < 1.2
    assert worst < 0.15


@pytest.mark.parametrize(
    ("sizes", "seconds", "message"),
    [
        ([1.0, 2.0], [1.0], "2 sizes and 1 times"),
        ([1.0, 1.0], [1.0, 2.0], "of two sizes or more"),
        ([1.0, 2.0], [1.0, 0.0], "give positive times"),
        ([1.0, 2.0], [2.0, 1.0], "don't grow"),
    ],
)
def test_what_cannot_be_fitted_is_refused(sizes, seconds, message):
    with pytest.raises(ValueError, match=message):
        fit_alpha_beta(sizes, seconds)


MODEL = StepModel(100.0, 1.0, 50.0, 2.0, 10.0, 1.0)
EVEN = torch.tensor([[10, 10], [10, 10]]), torch.tensor([10, 10])


def test_all_wait_for_the_last_one():
    plain = MODEL.predict_us(*EVEN, row_bytes=1000)
    late = MODEL.predict_us(*EVEN, row_bytes=1000, late_us_G=torch.tensor([0.0, 400.0]))
    assert late["total"] - plain["total"] == 400
    assert late["experts"] - plain["experts"] == 400


def test_the_fullest_rank_decides():
    full = MODEL.predict_us(torch.tensor([[10, 10], [20, 0]]), EVEN[1], row_bytes=1000)
    assert full["experts"] == 50 + 2 * 30
    assert full["exchanges"] == 4 * (100 + 20)  # the busiest rank gets 20 rows of 1 us


def test_an_exchange_of_nothing_still_takes_its_latency():
    at_home = MODEL.predict_us(torch.tensor([[10, 0], [0, 10]]), EVEN[1], row_bytes=1000, backward=False)
    assert at_home["exchanges"] == 2 * 100
