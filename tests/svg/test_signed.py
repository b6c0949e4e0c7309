"""Signed cells: the hue and the side of the bar are the sign, its length is the size."""

import itertools
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons import svg
from moe_lessons.svg import signed, tables

numbers = st.floats(-9, 9).map(lambda value: round(value, 2))
matrices = st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=4)


def draw(matrix, **options):
    labels = {"title": "t", "row_label": "r", "column_label": "c", "unit": "u", "value_format": "{:.3f}"}
    return ET.fromstring(svg.heat_map(matrix, **labels, **options).svg)


def rectangles(root):
    return [e for e in root.iter() if e.tag.endswith("}rect")]


def leaning(root):
    """Each cell's bar, as px from the cell's middle to its far end: negative to the left."""
    cells = [e for e in rectangles(root) if e.get("stroke")]
    bars = [e for e in rectangles(root) if e.get("height") == "4"][: len(cells)]
    found = []
    for cell, bar in zip(cells, bars, strict=True):
        # The bar's track is the cell without its margins of 4 px.
        middle = float(cell.get("x")) + float(cell.get("width")) / 2
        left, right = float(bar.get("x")), float(bar.get("x")) + float(bar.get("width"))
        found.append(left - middle if middle - left > right - middle else right - middle)
    return found


def agrees(matrix, **options):
    """Whether larger numbers reach further to the right in every cell that is drawn on the same scale."""
    pairs = sorted(zip((v for row in matrix for v in row), leaning(draw(matrix, **options)), strict=True))
    rising = all(b >= a - 0.2 for (_, a), (_, b) in itertools.pairwise(pairs))
    return rising and all(px * value > 0 or abs(px) < 0.6 for value, px in pairs)


@given(matrices)
def test_a_larger_number_reaches_further_to_the_right(matrix):
    if any(v < 0 for row in matrix for v in row):
        assert agrees(matrix)


def test_a_map_of_absolute_values_is_caught(monkeypatch):
    """What lesson 05 once showed: -0.363 like +0.363."""
    lean = signed.lean
    monkeypatch.setattr(tables, "lean", lambda x, y, w, value, *more: lean(x, y, w, abs(value), *more))
    assert not agrees([[0.363, -0.121, -0.363]])


@given(matrices)
def test_the_hue_is_the_sign(matrix):
    cells = [e.get("fill") for e in rectangles(draw(matrix)) if e.get("stroke")]
    for value, fill in zip((v for row in matrix for v in row), cells, strict=True):
        red, blue = int(fill[1:3], 16), int(fill[5:7], 16)
        assert (red - blue) * value <= 0


@pytest.mark.parametrize("matrix", [[[3.0, -1.0]], [[3.0, 1.0]]])
def test_a_cell_beyond_the_darkest_shade_is_marked(matrix):
    def drawn(highest):
        return [e for e in draw(matrix, highest=highest).iter() if e.tag.endswith("}polygon")]

    assert len(drawn(2.0)) == 1
    assert not drawn(3.0)


def test_a_key_says_what_hue_and_side_mean_where_there_is_a_sign():
    words = [e.text for e in draw([[1.0, -1.0]]).iter() if e.tag.endswith("}text")]
    assert {"below 0, bar to the left", "above 0, to the right"} <= set(words)
    assert not [e.text for e in draw([[1.0, 0.5]]).iter() if "below 0" in (e.text or "")]
