import io
import subprocess
import sys

import pytest
from matplotlib.colors import to_hex

from moe_lessons.svg import plots

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
    bundle, metadata = plots.picture(plots.scatter_figure(GROUPS, **LABELS), "Words.")._repr_mimebundle_()
    assert set(bundle) == {"image/png"}
    assert metadata["image/png"]["alt"] == "Words."


@pytest.mark.parametrize("change", [{"width": 721}, {"title": ""}, {"y_label": ""}])
def test_a_figure_too_wide_or_unlabelled_is_refused(change):
    with pytest.raises(ValueError, match="figure"):
        plots.scatter_figure(GROUPS, **{**LABELS, **change})


def test_pyplot_is_never_loaded():
    code = "import sys, moe_lessons.svg.plots; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
