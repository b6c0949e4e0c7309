"""Bars on a fixed scale, and signed cells: what is larger never looks smaller, what does not fit says so."""

import re

from hypothesis import given
from hypothesis import strategies as st

from moe_lessons import svg
from moe_lessons.svg.signed import ABOVE, BELOW

values = st.floats(0, 1e13)


def width(drawn):
    return float(re.search(r'<rect[^>]* width="([\d.]+)"', drawn)[1])


def draw(value, full=1e12):
    return svg.bar(0, 0, 18, value, full, 300, f"{value:g}", "#0072B2")


@given(values, values)
def test_a_larger_value_never_has_a_shorter_bar(a, b):
    assert (width(draw(a)) <= width(draw(b))) or a > b


@given(values)
def test_what_does_not_fit_is_torn_and_says_so(value):
    drawn = draw(value)
    assert ("off the scale" in drawn) == ("<polygon" in drawn) == (value > 1e12)
    assert width(drawn) <= 300


def cells(matrix, **options):
    labels = {"title": "t", "row_label": "r", "column_label": "c", "unit": "u", "value_format": "{:.3f}"}
    drawn = svg.heat_map(matrix, **labels, **options).svg
    return re.findall(r'<rect[^>]* fill="(#\w{6})" stroke=', drawn), drawn


def test_opposite_signs_have_opposite_colours_and_a_sign():
    (plus, minus), drawn = cells([[0.363, -0.363]])
    assert (plus, minus) == (ABOVE.lower(), BELOW.lower())
    assert "+0.363" in drawn
    assert "\u22120.363" in drawn


def test_without_negative_numbers_there_is_no_sign():
    assert "+" not in cells([[0.5, 0.1]])[1]


def test_rows_that_are_different_quantities_have_scales_of_their_own():
    together, _ = cells([[100.0, 50.0], [1.0, 0.5]])
    apart, drawn = cells([[100.0, 50.0], [1.0, 0.5]], row_scales=True)
    assert together[2] != ABOVE.lower()
    assert apart[0] == apart[2] == ABOVE.lower()
    assert apart[1] == apart[3]
    assert "shaded row by row" in drawn
