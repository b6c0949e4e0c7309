import xml.etree.ElementTree as ET

import pytest

from moe_lessons.svg import dot_rows


def shapes(drawing, tag):
    return [e for e in ET.fromstring(drawing.svg).iter() if e.tag.endswith("}" + tag)]


def test_a_dot_per_value_in_order_on_the_axis():
    drawing = dot_rows(
        {"one": [3.0, 1.0, 8.0], "two": [5.0]},
        title="Rows",
        x_label="experts",
        marks={"two": 8.0},
        mark_label="began",
        x_range=(1, 8),
    )
    dots = [float(dot.get("cx")) for dot in shapes(drawing, "circle")]
    assert len(dots) == 4
    assert dots[1] < dots[0] < dots[3] < dots[2]
    # A mark at the same value stands at the same place, in its own row.
    square = shapes(drawing, "rect")[-1]
    assert float(square.get("x")) + 5 == pytest.approx(dots[2], abs=0.1)
    texts = [t.text for t in shapes(drawing, "text")]
    assert {"one", "two", "3.0", "5.0", "experts"} <= set(texts)
    assert any("□ began" in t for t in texts)
    assert "one: 3.0 [1.0, 8.0]" in drawing.alt


def test_dots_stay_inside():
    drawing = dot_rows({"a": [0.0, 1.0], "a much longer name": [0.5]}, title="T", x_label="x", width=480)
    assert all(0 < float(dot.get("cx")) < 480 for dot in shapes(drawing, "circle"))
    assert dot_rows({"a": [2.0, 2.0]}, title="T", x_label="x").alt.endswith("a: 2.0 [2.0, 2.0]")


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="values has an empty row"):
        dot_rows({"a": []}, title="T", x_label="x")
    with pytest.raises(ValueError, match="values has an empty row"):
        dot_rows({}, title="T", x_label="x")
    with pytest.raises(ValueError, match="NaN or infinity"):
        dot_rows({"a": [float("nan")]}, title="T", x_label="x")
