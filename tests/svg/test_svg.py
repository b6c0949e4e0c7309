import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons import svg
from moe_lessons.svg.axes import nice_ticks
from moe_lessons.svg.palette import LINE_INKS

SPACE = "{http://www.w3.org/2000/svg}"
finite = st.floats(-1e6, 1e6)
heights = st.lists(st.floats(0, 1e6), min_size=1, max_size=70)


def parsed(drawing):
    """The figure as XML, after the checks that hold for every figure."""
    root = ET.fromstring(drawing.svg)
    assert root.tag == f"{SPACE}svg"
    assert root.get("role") == "img"
    assert float(root.get("width")) <= svg.MAX_WIDTH
    assert root.find(f"{SPACE}title").text
    assert root.find(f"{SPACE}desc").text == drawing.alt
    return root


def words(root):
    return [element.text for element in root.iter(f"{SPACE}text")]


def bars(values=(60, 30, 10), **more):
    return svg.bar_chart(values, title="Expert 0 leads", y_label="tokens (%)", uniform=33.3, **more)


def lines(**more):
    series = {"training": ([0, 1, 2], [5, 4, 3]), "held out": ([0, 2], [5.2, 3.1])}
    more = {"title": "Loss falls", "x_label": "step", "y_label": "loss (nats)"} | more
    return svg.line_chart(series, references={"bigram": 3.5}, **more)


def strip(tokens=("The", " cat"), **more):
    return svg.routing_strip(tokens, [[0, 7], [3, 1]], [[0.75, 0.25], [0.5, 0.5]], title="Two each", **more)


def heat(matrix=((1, 0.5), (0, 2)), **more):
    labels = {"row_label": "token", "column_label": "expert", "unit": "logit"}
    return svg.heat_map(matrix, title="Logits", **labels, **more)


FIGURES = [bars, lines, strip, heat]


@pytest.mark.parametrize("make", FIGURES)
def test_figures_are_valid_and_deterministic(make):
    parsed(make())
    assert make().svg == make().svg


def test_bytes_do_not_depend_on_the_process():
    code = "from tests.test_svg import FIGURES; print(*[make().svg for make in FIGURES])"
    code = code.replace("from tests.test_svg", "import sys; sys.path.insert(0, 'tests/svg'); from test_svg")
    runs = [
        subprocess.run(
            [sys.executable, "-X", "utf8", "-c", code],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert runs[0].strip() == " ".join(make().svg for make in FIGURES)


@pytest.mark.parametrize("make", FIGURES)
def test_a_front_end_gets_svg_and_a_terminal_the_message(make):
    drawing = make()
    assert drawing._repr_svg_() == drawing.svg
    assert repr(drawing) == drawing.alt
    assert not hasattr(drawing, "_repr_html_")


def test_bars_carry_labels_numbers_and_unit():
    shown = words(parsed(bars()))
    assert {"tokens (%)", "expert", "60", "30", "10", "0", "1", "2"} <= set(shown)
    assert any("uniform share 33" in word for word in shown)


def test_bars_are_as_tall_as_their_values():
    rects = [r for r in parsed(bars(y_max=100)).iter(f"{SPACE}rect") if r.get("fill") in svg.COLORS]
    tall = [float(r.get("height")) for r in rects]
    assert tall[0] == pytest.approx(2 * tall[1], abs=0.2)
    assert tall[0] == pytest.approx(6 * tall[2], abs=0.5)


def test_lines_differ_in_dashes_and_are_named():
    root = parsed(lines())
    drawn = [p for p in root.iter(f"{SPACE}polyline") if p.get("stroke-width") == "2"]
    assert len({p.get("stroke-dasharray") for p in drawn}) == 2
    assert {"training", "held out", "bigram", "step", "loss (nats)"} <= set(words(root))


def test_a_nan_breaks_a_line_and_no_points_are_fine():
    nan = float("nan")
    root = parsed(svg.line_chart({"a": ([0, 1, 2, 3], [1, nan, 2, 3])}, title="t", x_label="x", y_label="y"))
    assert len([p for p in root.iter(f"{SPACE}polyline") if p.get("stroke-width") == "2"]) == 2
    empty = svg.line_chart({}, title="Not started", x_label="step", y_label="loss")
    assert "no points yet" in empty.alt
    parsed(empty)


def test_end_labels_keep_apart():
    flat = {str(e): ([0, 1], [1, 1]) for e in range(8)}
    root = parsed(svg.line_chart(flat, title="Balanced", x_label="step", y_label="load (%)"))
    named = sorted(
        float(t.get("y")) for t in root.iter(f"{SPACE}text") if t.get("fill") not in (None, "#595959")
    )
    assert min(b - a for a, b in pairwise(named)) >= 13


def test_strip_shows_tokens_experts_and_weights():
    shown = words(parsed(strip()))
    assert {"The", "␣cat", "0", "7", "75 %", "25 %"} <= set(shown)
    assert "‘The’ to experts 0 (75 %), 7 (25 %)" in strip().alt


def test_a_long_strip_wraps_inside_its_width():
    root = parsed(svg.routing_strip(["word"] * 60, [[1]] * 60, title="Long"))
    assert max(float(t.get("x")) for t in root.iter(f"{SPACE}text")) < 720


def test_heat_map_writes_each_number():
    assert {"1", "0.5", "0", "2", "token ↓"} <= set(words(parsed(heat())))
    parsed(heat([[float("nan"), 1]]))


@pytest.mark.parametrize(
    "bad",
    [
        lambda: bars([]),
        lambda: bars([-1]),
        lambda: bars([float("nan")]),
        lambda: bars([1, 2], names=["a"]),
        lambda: bars(width=721),
        lambda: svg.line_chart({"a": ([1, 2], [1])}, title="t", x_label="x", y_label="y"),
        lambda: svg.routing_strip(["a", "b"], [[0]], title="t"),
        lambda: svg.routing_strip(["a"], [[0, 1]], [[1.0]], title="t"),
        lambda: heat([[1, 2], [3]]),
        lambda: heat([]),
        lambda: heat([[1]], rows=["a", "b"]),
        lambda: svg.num(float("inf")),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(ValueError, match=r"needs?|names|wide|finite"):
        bad()


@given(heights)
def test_any_loads_draw(values):
    parsed(bars(values))


@given(st.text(min_size=1), st.text(max_size=8))
def test_any_text_makes_valid_xml(title, token):
    parsed(svg.bar_chart([1], title=title + ".", y_label="tokens (%)", names=[token]))
    parsed(svg.routing_strip([token], [[1]], title="Any bytes"))


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=30))
def test_any_line_draws(points):
    x, y = zip(*sorted(points), strict=True)
    parsed(svg.line_chart({"a": (x, y)}, title="t", x_label="x", y_label="y"))


@given(finite, st.floats(1e-6, 1e6))
def test_ticks_cover_the_range(low, span):
    ticks = nice_ticks(low, low + span)
    assert 2 <= len(ticks) <= 12
    slack = 1e-6 * (ticks[-1] - ticks[0]) + 1e-9 * abs(low)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + span - slack


@given(st.floats(-1e9, 1e9))
def test_numbers_are_short_and_near(value):
    assert abs(float(svg.num(value)) - value) <= 0.051
    assert svg.num(value) != "-0"


def test_the_palette_has_a_second_cue():
    shapes = {svg.marker(i, 0, 0, fill="#000000") for i in range(8)}
    assert len(shapes) == 8
    assert len(set(svg.COLORS)) == len(set(svg.DASHES)) == 8


def contrast(one, other):
    """Contrast ratio of WCAG 2.2."""

    def luminance(code):
        channel = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channel]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("fill", [*svg.COLORS, *(f"#{grey:02x}{grey:02x}{grey:02x}" for grey in range(256))])
def test_numbers_on_colours_are_legible(fill):
    assert contrast(fill, svg.ink_on(fill)) >= 4.5


@pytest.mark.parametrize("ink", LINE_INKS)
def test_names_of_lines_are_legible(ink):
    assert contrast(ink, "#ffffff") >= 4.5


@pytest.mark.parametrize(("top", "marks"), [(0.4, 0), (1.0, 0), (6.25, 1)])
def test_a_line_that_leaves_its_chart_says_so(top, marks):
    """Clamped without a mark, 6.25 would be drawn like 1."""
    drawn = svg.line_chart(
        {"loss": ([0, 1, 2], [0.3, top, 0.2])}, title="t", x_label="x", y_label="y", y_range=(0, 1)
    ).svg
    assert drawn.count("<polygon") == marks
    assert ("6.25" in drawn) == bool(marks)


def test_a_level_off_the_scale_says_so_and_points_beside_the_axis_are_left_out():
    drawn = svg.line_chart(
        {"loss": ([0, 1, 2, 300], [0.3, 0.4, 0.2, 0.9])},
        title="t",
        x_label="x",
        y_label="y",
        x_range=(0, 2),
        y_range=(0, 1),
        references={"chance": 3.0},
    )
    assert "chance, off the scale" in drawn.svg
    assert "loss ends at 0.2" in drawn.alt
