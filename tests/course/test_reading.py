"""Numbers as people write them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.course.reading import read_number

whole = st.integers(-(10**12), 10**12)
decimals = st.integers(-(10**9), 10**9).map(lambda n: n / 1000)


def written(value, digits=3):
    return f"{value:.{digits}f}"


@given(decimals)
def test_a_decimal_comma_is_a_decimal_point_unless_it_marks_thousands(value):
    # Two digits after the comma are never a group of three.
    assert read_number(written(value, 2).replace(".", ",")) == float(written(value, 2))


@given(whole, st.sampled_from(", '_\u00a0\u202f’"))
def test_marks_between_groups_of_three_are_no_part_of_the_number(value, mark):
    assert read_number(f"{value:,}".replace(",", mark)) == value


@given(whole, st.integers(0, 99))
def test_both_ways_to_write_a_long_decimal_are_read(value, cents):
    english = f"{value:,}.{cents:02d}"
    other = english.replace(",", " ").replace(".", ",").replace(" ", ".")
    assert read_number(english) == float(f"{value}.{cents:02d}")
    if abs(value) >= 1000:
        assert read_number(other) == read_number(english)


@given(whole, st.integers(1, 10**6), st.sampled_from(["/", " / ", "/ "]))
def test_a_fraction_is_a_division(above, below, slash):
    assert read_number(f"{above}{slash}{below}") == above / below


@given(decimals, st.sampled_from(["%", " %", "  %", " percent", "\u202f%"]))
def test_a_percentage_is_a_share(value, sign):
    assert read_number(f"{written(value)}{sign}") == float(written(value)) / 100


@given(st.floats(1, 10), st.integers(0, 12))
def test_powers_of_ten(value, power):
    raised = str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    want = pytest.approx(float(written(value)) * 10**power)
    for text in (
        f"{written(value)}e{power}",
        f"{written(value)} × 10^{power}",
        f"{written(value)}*10{raised}",
    ):
        assert read_number(text) == want


@given(st.one_of(st.text(), st.text("0123456789.,'/%^*eE+- ⁹")))
def test_any_text_is_a_finite_number_or_one_sentence(text):
    said = None
    try:
        assert math.isfinite(read_number(text))
    except ValueError as error:
        said = str(error)
    assert said is None or (said.endswith(".") and "\n" not in said)


@given(st.text("abcdefgh ", min_size=1))
def test_words_are_no_number(text):
    with pytest.raises(ValueError, match=r"is not a number; write for example 0.25, 1/4, 25 % or 1e9"):
        read_number(text)


@pytest.mark.parametrize("text", ["24.8 GB", "24.8GB", "1,250 rows", "3/4 of it", "5 $", "12 µs", "3 GB/s"])
def test_a_unit_is_named_and_to_be_left_out(text):
    with pytest.raises(ValueError, match=r"has a unit; write the number alone: [0-9,./]+\.$"):
        read_number(text)


@pytest.mark.parametrize("text", ["0,250", "0.250", ".25", ",25", "25%", "1/4", "2^-2", "\u22121/\u22124"])
def test_a_quarter(text):
    assert read_number(text) == 0.25


@pytest.mark.parametrize(
    "answer", [10**400, "1e999", "9^999", 10**5000, "1" * 400], ids=lambda a: str(type(a))
)
def test_what_is_too_large_is_said_in_one_line(answer):
    with pytest.raises(ValueError, match=r"large|finite"):
        read_number(answer)


def test_anything_with_a_value_is_a_number():
    assert read_number(torch.tensor([0.5])) == 0.5
    for answer in ([1], None, torch.ones(2), {}):
        with pytest.raises(ValueError, match="is not a number"):
            read_number(answer)
