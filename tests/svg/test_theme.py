"""Light and dark: colours have counterparts, text and marks stand out in both, numbers have one form."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moe_lessons import explore, svg
from moe_lessons.svg import axes, letters, numbers
from moe_lessons.svg.palette import (
    ACCENT,
    COLORS,
    INK,
    LINE_INKS,
    MUTED,
    PAPER,
    SERIES,
    VARIABLES,
    WRONG,
    contrast,
    dark,
    edge,
    luminance,
)
from moe_lessons.svg.theme import PAGE, style

DARK_PAPER = dark(PAPER)
shades = st.integers(0, 0xFFFFFF).map(lambda n: f"#{n:06x}")
EXPLORABLES = [name for name in explore.__all__ if name != "LiveView"]


@pytest.mark.parametrize("ink", [INK, MUTED, ACCENT, WRONG, *SERIES, *LINE_INKS])
def test_text_stands_out_on_both_papers(ink):
    assert contrast(ink, PAPER) >= 4.5
    assert contrast(dark(ink), DARK_PAPER) >= 4.5


@pytest.mark.parametrize("ink", [*COLORS, *SERIES, WRONG])
def test_marks_stand_out_on_both_papers(ink):
    """Where white paper swallows an expert's colour its edge does not."""
    assert max(contrast(ink, PAPER), contrast(edge(ink), PAPER)) >= 3
    assert contrast(dark(ink), DARK_PAPER) >= 3


def test_an_expert_keeps_its_colour_in_the_dark_and_nothing_else_has_it():
    assert [dark(color) for color in COLORS[:7]] == list(COLORS[:7])
    assert not {*SERIES, ACCENT, WRONG, MUTED} & {*COLORS}


@given(shades, shades)
def test_contrasts_are_kept_in_the_dark(one, other):
    """But for experts' colours, what nears black, and the small step over which inks turn."""
    if {one, other} & {c.lower() for c in COLORS} or min(luminance(one), luminance(other)) < 0.015:
        return
    kept = contrast(dark(one), dark(other)) / contrast(one, other)
    assert 0.8 < kept < 1.25


# Near the step over which inks turn, where one step of one channel decides.
@given(shades)
@example("#747a38")
@example("#57871b")
@example("#2a8712")
def test_numbers_on_any_colour_are_legible_in_the_dark(fill):
    ink = svg.ink_on(fill)
    turned = ink if ink in ("#ffffff", "#000000") else dark(ink)
    assert contrast(dark(fill), turned) >= 4.5


def test_the_page_names_the_colours_in_both_themes():
    for light, name in VARIABLES.items():
        assert f"{name}:{light};" in PAGE
        assert f"{name}:{dark(light)};" in PAGE
        assert f"var({name},light-dark({light},{dark(light)}))" in style(f'<rect fill="{light}"/>')


def frames():
    for name in EXPLORABLES:
        explorable = getattr(explore, name)(locked=False)
        yield name, explorable.static().svg
        yield name, explorable.frame()


def charts():
    yield "bars", svg.bar_chart([60, 12288], title="64% of 100 %", y_label="%", value_format="{:,.0f}").svg
    points = {"a": ([1, 10, 20_000], [0.1, 3, 70_000.0])}
    labels = {"title": "Lines end at 5%", "x_label": "x", "y_label": "y"}
    yield "lines", svg.line_chart(points, **labels).svg
    yield "logarithmic", svg.line_chart(points, log_x=True, log_y=True, **labels).svg
    yield "strip", svg.routing_strip(["a"], [[0, 7]], [[0.75, 0.25]], title="t").svg
    yield "dots", svg.dot_rows({"a": [1.0, 30_000.0]}, title="t", x_label="x", value_format="{:,.0f}").svg


DRAWN = [*frames(), *charts()]


@pytest.mark.parametrize(("name", "drawing"), DRAWN, ids=[name for name, _ in DRAWN])
def test_every_colour_has_its_rule_and_every_number_its_form(name, drawing):
    head, _, body = drawing.partition("</style>")
    for how, color in set(re.findall(r'\b(fill|stroke)="([^"]+)"', body)):
        if color == "none" or color.startswith("url("):
            continue
        assert re.fullmatch(r"#[0-9a-fA-F]{6}", color), color
        fixed = dark(color).lower() == color.lower()
        assert fixed or f'[{how}="{color}"]{{{how}:' in head
    words = re.findall(r"<(?:text|title|desc)[^>]*>([^<]*)<", drawing)
    for said in words:
        assert not re.search(r"\d[\u202f\u00a0]?%", said), said
        assert not re.search(r"(?<![\d.,])\d{5,}(?![\d.])", said), said


def test_what_is_wrong_is_found():
    """The two checks above can fail."""
    assert re.search(r"\d[\u202f\u00a0]?%", "18%")
    assert re.search(r"(?<![\d.,])\d{5,}(?![\d.])", "of 12288 rows")
    assert not re.search(r"(?<![\d.,])\d{5,}(?![\d.])", "of 12,288 rows, 0.123456")


def test_the_same_expert_has_the_same_colour_in_bars_and_lines():
    bars = svg.bar_chart([1] * 8, title="t", y_label="y").svg
    lines = svg.line_chart(
        {str(e): ([0, 1], [e, e]) for e in range(8)}, title="t", x_label="x", y_label="y", experts=True
    ).svg
    for color in COLORS:
        assert f'fill="{color}"' in bars
        assert f'stroke="{color}" stroke-width="2"' in lines


def test_what_is_no_expert_has_no_experts_colour():
    ways = svg.bar_chart([1, 2], names=["a", "b"], title="t", y_label="y", x_label="way").svg
    lines = svg.line_chart({"a": ([0, 1], [0, 1])}, title="t", x_label="x", y_label="y").svg
    dots = svg.dot_rows({"a": [1.0]}, title="t", x_label="x", marks={"a": 2.0}, mark_label="m").svg
    for drawing in (ways, lines, dots):
        assert not {f'"{color}"' for color in COLORS} & set(re.findall(r'"#\w{6}"', drawing))


@given(st.floats(1e-8, 1e8), st.floats(1.5, 1e6))
def test_logarithmic_ticks_lie_inside_and_are_few(low, factor):
    ticks = axes.log_ticks(low, low * factor)
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in ticks)
    assert len(ticks) <= 12
    assert ticks == sorted(set(ticks))


def test_a_logarithmic_axis_has_ticks_in_their_own_unit():
    chart = svg.line_chart(
        {"a": ([1, 10_000], [1, 2])}, title="t", x_label="tokens", y_label="y", log_x=True
    ).svg
    places = {t: float(x) for x, t in re.findall(r'<text x="([\d.]+)"[^>]*>([^<]*)<', chart)}
    xs = [places[t] for t in ("1", "10", "100", "1k", "10k") if t in places]
    assert len(xs) == 5
    assert max(b - a for a, b in pairwise(xs)) - (xs[1] - xs[0]) < 1


def test_a_logarithmic_axis_refuses_zero():
    with pytest.raises(ValueError, match="above 0, and x has 0"):
        svg.line_chart({"a": ([0, 1], [1, 2])}, title="t", x_label="x", y_label="y", log_x=True)


def test_widths_are_those_of_the_widest_face():
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    assert matplotlib
    for bold in (False, True):
        face = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
        for words in ("More experts cost a token nothing", "WIDE MWQ%@", "196,533 tokens − 18 %"):
            # A mark after the words, so that their own advance is what is measured.
            wide = TextPath((0, 0), words + "I", size=100, prop=face).get_extents().x1
            alone = TextPath((0, 0), "I", size=100, prop=face).get_extents().x1
            assert letters.text_width(words, 100, bold) == pytest.approx(wide - alone, rel=0.03)


@given(st.text(st.characters(codec="ascii"), max_size=200), st.floats(20, 500))
def test_lines_fit_and_lose_no_word(words, width):
    lines = letters.wrap(words, width, 12)
    assert all(letters.text_width(line, 12) <= width + 1e-6 or len(line) == 1 for line in lines)
    assert "".join("".join(lines).split()) == "".join(words.split())


def test_one_form_of_percent():
    assert numbers.percent(0.184) == "18 %"
    assert numbers.spaced("64% of 3 % and width:100%") == "64 % of 3 % and width:100 %"
