"""Static matplotlib figures in the course's style, for many points on logarithmic axes.

They become drawings like all others: SVG, in colours for both themes, with words for those who do not
see them. Figures are built with the object API: no pyplot, so no global state, and nothing to close.
"""

import io
import logging
import math
import re
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from moe_lessons.svg.base import MAX_WIDTH, Drawing, escape, num
from moe_lessons.svg.numbers import log_label, spaced, tick_label
from moe_lessons.svg.palette import INK, MUTED, PAPER, SERIES
from moe_lessons.svg.theme import ROOT_CLASS, style

# The first import on a machine lists its fonts and says so; in a lesson that line would only worry.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

DPI = 110
MARKERS = ("o", "s", "^", "D", "P", "v", "X", "h")
_STROKES = ("-", "--", "-.", ":")

Points = tuple[Sequence[float], Sequence[float]]


def scatter_figure(
    groups: Mapping[str, Points],
    *,
    title: str,
    x_label: str,
    y_label: str,
    labels: Mapping[str, Sequence[str]] | None = None,
    ratios: Sequence[float] = (),
    width: float = 640,
    height: float = 400,
) -> Figure:
    """Draw groups of points on logarithmic axes, a colour and a marker each, over lines of equal y / x.

    Parameters
    ----------
    groups : mapping of str to (x, y)
        Points of each group, all above 0.
    title : str
        One sentence: the one thing that the figure says.
    x_label, y_label : str
        Axis labels with units.
    labels : mapping of str to sequence of str, optional
        Names of a group's points; an empty name leaves its point without one.
    ratios : sequence of float
        Values of y / x to draw a line for.
    width, height : float
        Size in px; at most 720 wide.

    Raises
    ------
    ValueError
        If a figure is too wide, or lacks a title or the label of an axis.

    Examples
    --------
    >>> figure = scatter_figure({"top-2": ([13], [47])}, title="Few of many", x_label="active (B)",
    ...                         y_label="total (B)", labels={"top-2": ["Mixtral"]}, ratios=[1, 10])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1×', '10×', 'Mixtral']
    """
    if not 0 < width <= MAX_WIDTH:
        raise ValueError(f"a figure is at most {MAX_WIDTH} px wide, not {width}")
    if not (title and x_label and y_label):
        raise ValueError("a figure needs a title and a label on both axes")
    figure, axes = _paper(title, width, height)
    axes.set_xlabel(x_label, fontsize=9, color=MUTED)
    axes.set_ylabel(y_label, fontsize=9, color=MUTED)
    _lines_of_equal_ratio(axes, groups, ratios)
    for i, (name, (x, y)) in enumerate(groups.items()):
        shape, ink = MARKERS[i % len(MARKERS)], SERIES[i % len(SERIES)]
        axes.scatter(x, y, s=38, color=ink, marker=shape, edgecolors=PAPER, linewidths=0.6, label=name)
        for label, at_x, at_y in zip((labels or {}).get(name, ()), x, y, strict=False):
            axes.annotate(label, (at_x, at_y), (7, -3), textcoords="offset points", fontsize=7.5)
    if len(groups) > 1:
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def curve_figure(
    curves: Mapping[str, Points],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log_y: bool = True,
    width: float = 640,
    height: float = 360,
) -> Figure:
    """Draw lines over a logarithmic x axis, each with its own dashes and its name at its right end.

    Parameters
    ----------
    curves : mapping of str to (x, y)
        Points of each line, x above 0 and increasing.
    title : str
        One sentence: the one thing that the figure says.
    x_label, y_label : str
        Axis labels with units.
    log_y : bool
        Whether the y axis is logarithmic too; otherwise it begins at 0.
    width, height : float
        Size in px; at most 720 wide.

    Raises
    ------
    ValueError
        If a figure is too wide, or lacks a title or the label of an axis.

    Examples
    --------
    >>> figure = curve_figure({"dense": ([1, 10], [5, 5])}, title="Flat", x_label="batch", y_label="ms")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['dense']
    """
    if not 0 < width <= MAX_WIDTH:
        raise ValueError(f"a figure is at most {MAX_WIDTH} px wide, not {width}")
    if not (title and x_label and y_label):
        raise ValueError("a figure needs a title and a label on both axes")
    figure, axes = _paper(title, width, height)
    axes.set_xlabel(x_label, fontsize=9, color=MUTED)
    axes.set_ylabel(y_label, fontsize=9, color=MUTED)
    if not log_y:
        axes.set_yscale("linear")
        axes.yaxis.set_major_formatter(lambda value, _: tick_label(value))
        axes.set_ylim(bottom=0, top=1.05 * max(max(y) for _, y in curves.values()))
    for i, (x, y) in enumerate(curves.values()):
        axes.plot(x, y, color=SERIES[i % len(SERIES)], linestyle=_STROKES[i % len(_STROKES)], linewidth=2)
    axes.margins(x=0.02)
    along = math.log if log_y else float
    low, high = (along(limit) for limit in axes.get_ylim())
    ends = {name: (along(y[-1]) - low) / (high - low) for name, (_, y) in curves.items()}
    for name, at in _apart(ends).items():
        axes.text(1.01, at, name, transform=axes.transAxes, fontsize=8, va="center")
    return figure


def picture(figure: Figure, alt: str) -> Drawing:
    """Turn a figure into a drawing with words, in colours for both themes.

    Parameters
    ----------
    figure : Figure
        As one of the functions above returns it.
    alt : str
        What the picture says, in words.

    Examples
    --------
    >>> figure = scatter_figure({"a": ([1], [2])}, title="One", x_label="x", y_label="y")
    >>> picture(figure, "One point at 1, 2.").alt
    'One point at 1, 2.'
    """
    file, words = io.StringIO(), spaced(alt)
    # Letters stay text, and the same figure gives the same bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "moe-lessons"}):
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    _, _, drawn = file.getvalue().partition("<svg ")
    box = re.search(r'viewBox="([^"]*)"', drawn)
    inside = re.sub(r'style="([^"]*)"', _paint, drawn.partition(">")[2])
    wide, high = (num(inches * DPI) for inches in figure.get_size_inches())
    title = escape(spaced(figure.axes[0].get_title(loc="left")))
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{wide}" '
        f'height="{high}" viewBox="{box[1] if box else ""}" role="img" aria-label="{title}" fill="{INK}" '
        f'style="max-width:100%;height:auto" class="{ROOT_CLASS}">'
    )
    said = f"<title>{title}</title><desc>{escape(words)}</desc>"
    return Drawing(f"{opening}{said}{style(inside)}{inside}", words)


def _paint(found: re.Match[str]) -> str:
    """Colours as attributes, where the drawing's style finds them; the rest as it was."""
    parts = [part.strip() for part in found[1].split(";") if part.strip()]
    paints = [part for part in parts if re.fullmatch(r"(fill|stroke): #[0-9a-f]{6}", part)]
    rest = "; ".join(part for part in parts if part not in paints)
    attributes = ['{}="{}"'.format(*part.split(": ")) for part in paints]
    return " ".join(attributes + ([f'style="{rest}"'] if rest else []))


def _apart(places: Mapping[str, float], least: float = 0.05) -> dict[str, float]:
    """Labels moved up as far as it takes not to overlap, from the lowest on."""
    moved: dict[str, float] = {}
    for name, at in sorted(places.items(), key=lambda item: item[1]):
        moved[name] = max(at, max(moved.values()) + least) if moved else at
    return moved


def _paper(title: str, width: float, height: float) -> tuple[Figure, Axes]:
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.08)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER, layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", wrap=True)
    axes.tick_params(which="both", labelsize=8, colors=MUTED)
    axes.spines[["top", "right"]].set_visible(False)
    for scale, axis in ((axes.set_xscale, axes.xaxis), (axes.set_yscale, axes.yaxis)):
        scale("log")
        axis.set_major_formatter(lambda value, _: log_label(value))
    return figure, axes


def _lines_of_equal_ratio(axes: Axes, groups: Mapping[str, Points], ratios: Sequence[float]) -> None:
    """Thin dotted lines across the points, each with its ratio at the right end."""
    every_x = [value for x, _ in groups.values() for value in x]
    left, right = min(every_x) / 1.5, max(every_x) * 2
    for ratio in ratios:
        axes.plot([left, right], [ratio * left, ratio * right], ":", color=MUTED, linewidth=1)
        axes.text(right * 1.05, ratio * right, f"{tick_label(ratio)}×", fontsize=8, color=MUTED, va="center")


__all__ = ["curve_figure", "picture", "scatter_figure"]
