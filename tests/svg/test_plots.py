import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from matplotlib.colors import to_hex

from moe_lessons.svg import plots
from moe_lessons.svg.palette import COLORS, MUTED, PAPER, SERIES

SVG = "{http://www.w3.org/2000/svg}"

LABELS = {"title": "One thing", "x_label": "active (B)", "y_label": "total (B)"}
GROUPS = {"few": ([1, 2, 4], [3.0, 2.0, 10.0]), "many": ([1, 4], [20.0, 150.0])}


def test_it_renders_at_the_promised_size():
    figure = plots.scatter_figure(GROUPS, ratios=[1, 10], **LABELS)
    figure.savefig(io.BytesIO())
    assert figure.dpi == 110
    assert figure.get_size_inches()[0] * figure.dpi <= 720
    axes = figure.axes[0]
    assert (axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()) == tuple(LABELS.values())
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_groups_differ_in_more_than_colour():
    first, second = plots.scatter_figure(GROUPS, **LABELS).axes[0].collections
    assert to_hex(first.get_facecolor()[0]) != to_hex(second.get_facecolor()[0])
    assert len(first.get_paths()[0].vertices) != len(second.get_paths()[0].vertices)


def test_a_line_of_equal_ratio_has_that_ratio():
    (line,) = plots.scatter_figure(GROUPS, ratios=[10], **LABELS).axes[0].lines
    assert line.get_ydata() == pytest.approx([10 * x for x in line.get_xdata()])


def test_a_picture_keeps_its_words_where_jupyter_looks_for_them():
    drawing = plots.picture(plots.scatter_figure(GROUPS, **LABELS), "Words: 18% of it.")
    root = ET.fromstring(drawing._repr_svg_())
    assert root.get("role") == "img"
    assert root.get("aria-label") == root.findtext(f"{SVG}title") == LABELS["title"]
    assert root.findtext(f"{SVG}desc") == drawing.alt == "Words: 18 % of it."


def test_a_picture_has_colours_for_both_themes_and_the_same_bytes_each_time():
    first, second = (plots.picture(plots.scatter_figure(GROUPS, **LABELS), "Words.").svg for _ in range(2))
    assert first == second
    head, _, body = first.partition("</style>")
    painted = set(re.findall(r'\b(fill|stroke)="(#\w{6})"', body))
    assert {("fill", PAPER), ("fill", SERIES[0]), ("stroke", MUTED)} <= painted
    assert all(f'[{how}="{color}"]' in head for how, color in painted)
    assert not re.search(r"(fill|stroke): ?#", body)
    assert not {color for _, color in painted} & {color.lower() for color in COLORS}


@pytest.mark.parametrize("change", [{"width": 721}, {"title": ""}, {"y_label": ""}])
def test_a_figure_too_wide_or_unlabelled_is_refused(change):
    with pytest.raises(ValueError, match="figure"):
        plots.scatter_figure(GROUPS, **{**LABELS, **change})


def test_pyplot_is_never_loaded():
    code = "import sys, moe_lessons.svg.plots; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
