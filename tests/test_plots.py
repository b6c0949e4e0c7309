import io
import subprocess
import sys

import pytest
from matplotlib.colors import to_hex

from moe_lessons import plots

LABELS = {"title": "One thing", "x_label": "step", "y_label": "loss (nats)"}
LINES = {"a": ([1, 2, 4], [3.0, 2.0, 1.0]), "b": ([1, 4], [2.0, 1.5])}
MAKERS = [
    lambda: plots.line_figure(LINES, references={"bigram": 2.5}, **LABELS),
    lambda: plots.line_figure(LINES, log_x=True, log_y=True, **LABELS),
    lambda: plots.scatter_figure(LINES, labels={"a": ["x", "y", "z"]}, log_x=True, **LABELS),
    lambda: plots.bar_figure({"0": 1, "1": 2}, uniform=1.5, **LABELS),
    lambda: plots.load_figure([0, 1], [[1, 2, 1], [0, 0, 4]], title="One thing"),
    lambda: plots.load_figure([0, 1], [[0, 0], [1, 0]], title="A step without tokens"),
]


@pytest.mark.parametrize("make", MAKERS)
def test_figures_render_at_the_promised_size(make):
    figure = make()
    png = io.BytesIO()
    figure.savefig(png)
    assert figure.dpi == 110
    assert figure.get_size_inches()[0] * figure.dpi <= 720
    axes = figure.axes[0]
    assert axes.get_title(loc="left")
    assert axes.get_xlabel()
    assert axes.get_ylabel()


def test_lines_differ_in_more_than_colour():
    drawn = plots.line_figure(LINES, **LABELS).axes[0].lines
    assert drawn[0].get_linestyle() != drawn[1].get_linestyle()
    assert drawn[0].get_marker() != drawn[1].get_marker()


def test_bars_differ_in_more_than_colour():
    bars = plots.bar_figure({str(e): 1 for e in range(8)}, **LABELS).axes[0].patches
    assert len({bar.get_hatch() for bar in bars}) == 8
    assert len({to_hex(bar.get_facecolor()) for bar in bars}) == 8


def test_loads_are_scaled_to_a_hundred_per_cent():
    figure = plots.load_figure([0, 1], [[1, 3], [30, 10]], title="Shares")
    tops = [max(y for _, y in area.get_paths()[0].vertices) for area in figure.axes[0].collections]
    assert tops == pytest.approx([75, 100])


@pytest.mark.parametrize("change", [{"width": 721}, {"title": ""}, {"y_label": ""}])
def test_a_figure_too_wide_or_unlabelled_is_refused(change):
    with pytest.raises(ValueError, match="figure"):
        plots.new_figure(**{**LABELS, **change})


def test_pyplot_is_never_loaded():
    code = "import sys, moe_lessons.plots; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
