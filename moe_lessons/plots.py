"""Static matplotlib figures in the course's style, for pictures with many points or logarithmic axes.

Figures are built with the object API: no pyplot, so no global state, and nothing to close.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from moe_lessons.svg import COLORS, MAX_WIDTH

DPI = 110
MARKERS = ("o", "s", "^", "D", "P", "v", "X", "h")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")
_DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (8, 2)), (0, (5, 1, 1, 1)), (0, (3, 3)), (0, (1, 2)))
_MUTED = "#595959"

Line = tuple[Sequence[float], Sequence[float]]


def new_figure(
    title: str, x_label: str, y_label: str, *, width: float = 640, height: float = 340
) -> tuple[Figure, Axes]:
    """Start a figure in the course's style: white paper, its message above, both axes labelled.

    Parameters
    ----------
    title : str
        One sentence: the one thing that the figure says.
    x_label, y_label : str
        Axis labels with units.
    width, height : float
        Size in px; at most 720 wide.

    Examples
    --------
    >>> figure, axes = new_figure("Loss falls", "step", "loss (nats)")
    >>> axes.get_xlabel()
    'step'
    """
    if not 0 < width <= MAX_WIDTH:
        raise ValueError(f"a figure is at most {MAX_WIDTH} px wide, not {width}")
    if not (title and x_label and y_label):
        raise ValueError("a figure needs a title and a label on both axes")
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.08)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", wrap=True)
    axes.set_xlabel(x_label, fontsize=9, color=_MUTED)
    axes.set_ylabel(y_label, fontsize=9, color=_MUTED)
    axes.tick_params(labelsize=8, colors=_MUTED)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5")
    axes.set_axisbelow(True)
    return figure, axes


def line_figure(
    series: Mapping[str, Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    references: Mapping[str, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    width: float = 640,
    height: float = 340,
) -> Figure:
    """Draw lines with their own dashes and markers, over labelled horizontal baselines.

    Parameters
    ----------
    series : mapping of str to (x, y)
        Points of each line.
    references : mapping of str to float, optional
        Baselines, dotted and named at their right end.

    Examples
    --------
    >>> figure = line_figure({"held out": ([0, 100], [5.5, 2.5])}, title="Loss falls", x_label="step",
    ...                      y_label="loss (nats)", references={"bigram": 2.6})
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['held out']
    """
    figure, axes = new_figure(title, x_label, y_label, width=width, height=height)
    for i, (name, (x, y)) in enumerate(series.items()):
        n = len(COLORS)
        # Few markers: they tell lines apart, they don't stand for points.
        axes.plot(
            x,
            y,
            color=_ink(i),
            linestyle=_DASHES[i % n],
            marker=MARKERS[i % n],
            markevery=max(1, len(x) // 8),
            markersize=4,
            label=name,
        )
    for name, level in (references or {}).items():
        axes.axhline(level, color=_MUTED, linestyle=":", linewidth=1)
        spot = axes.get_yaxis_transform()
        axes.text(1.01, level, name, transform=spot, fontsize=8, color=_MUTED, va="center")
    _scales(axes, log_x, log_y)
    if series:
        axes.legend(frameon=False, fontsize=8)
    return figure


def scatter_figure(
    groups: Mapping[str, Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    labels: Mapping[str, Sequence[str]] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    width: float = 640,
    height: float = 380,
) -> Figure:
    """Draw groups of points, a colour and a marker shape each, optionally with a name beside each point.

    Parameters
    ----------
    groups : mapping of str to (x, y)
        Points of each group.
    labels : mapping of str to sequence of str, optional
        Names of a group's points.

    Examples
    --------
    >>> figure = scatter_figure({"top-2": ([8], [2])}, title="Few of many", x_label="experts",
    ...                         y_label="experts per token", labels={"top-2": ["Mixtral"]})
    >>> figure.axes[0].texts[0].get_text()
    'Mixtral'
    """
    figure, axes = new_figure(title, x_label, y_label, width=width, height=height)
    for i, (name, (x, y)) in enumerate(groups.items()):
        shape = MARKERS[i % len(MARKERS)]
        axes.scatter(x, y, s=34, color=_ink(i), marker=shape, edgecolors="white", linewidths=0.6, label=name)
        for label, at_x, at_y in zip((labels or {}).get(name, ()), x, y, strict=False):
            axes.annotate(label, (at_x, at_y), (5, 4), textcoords="offset points", fontsize=7.5)
    _scales(axes, log_x, log_y)
    if len(groups) > 1:
        axes.legend(frameon=False, fontsize=8)
    return figure


def bar_figure(
    values: Mapping[str, float],
    *,
    title: str,
    x_label: str,
    y_label: str,
    uniform: float | None = None,
    width: float = 640,
    height: float = 320,
) -> Figure:
    """Draw one bar per name, hatched as a second cue, with an optional uniform-share line.

    Examples
    --------
    >>> figure = bar_figure({"0": 75, "1": 25}, title="Expert 0 takes most", x_label="expert",
    ...                     y_label="tokens (%)", uniform=50)
    >>> len(figure.axes[0].patches)
    2
    """
    figure, axes = new_figure(title, x_label, y_label, width=width, height=height)
    bars = axes.bar(list(values), list(values.values()), width=0.72, edgecolor="white")
    for i, bar in enumerate(bars):
        bar.set_facecolor(_ink(i))
        bar.set_hatch(HATCHES[i % len(HATCHES)])
    if uniform is not None:
        axes.axhline(
            uniform, color="#1a1a1a", linestyle="--", linewidth=1, label=f"uniform share {uniform:.4g}"
        )
        axes.legend(frameon=False, fontsize=8)
    return figure


def load_figure(
    steps: Sequence[float],
    loads: Sequence[Sequence[float]],
    *,
    title: str,
    x_label: str = "step",
    y_label: str = "share of routed tokens (%)",
    width: float = 640,
    height: float = 340,
) -> Figure:
    """Stack the experts' loads over time: bands of equal height mean a balanced router.

    Parameters
    ----------
    steps : sequence of float, length N
        When each load was measured.
    loads : N sequences of E float
        Loads, any unit: every step is scaled to sum to 100 %.

    Examples
    --------
    >>> figure = load_figure([0, 1], [[1, 1], [3, 1]], title="Expert 0 takes over")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0', '1']
    """
    figure, axes = new_figure(title, x_label, y_label, width=width, height=height)
    totals = [sum(row) or 1.0 for row in loads]
    bands = [
        [100 * row[e] / total for row, total in zip(loads, totals, strict=True)] for e in range(len(loads[0]))
    ]
    areas = axes.stackplot(steps, *bands, colors=[_ink(e) for e in range(len(bands))])
    floor, spot = 0.0, float("-inf")
    for e, (area, band) in enumerate(zip(areas, bands, strict=True)):
        area.set(hatch=HATCHES[e % len(HATCHES)], edgecolor="white", linewidth=0.8)
        # The number stands at the right end of its band, clear of the one below.
        spot = max(floor + band[-1] / 2, spot + 4.5)
        axes.text(1.01, spot, str(e), transform=axes.get_yaxis_transform(), fontsize=8, va="center")
        floor += band[-1]
    axes.set_xlim(min(steps), max(steps))
    axes.set_ylim(0, 100)
    return figure


def _ink(index: int) -> str:
    return COLORS[index % len(COLORS)]


def _scales(axes: Axes, log_x: bool, log_y: bool) -> None:
    if log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.10g}")
    if log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:,.10g}")


__all__ = ["bar_figure", "line_figure", "load_figure", "new_figure", "scatter_figure"]
