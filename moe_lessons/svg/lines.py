"""Lines over labelled axes, each with its own dashes and its name at its end."""

import math
from collections.abc import Mapping, Sequence

from moe_lessons.svg.axes import Axis, below, covering, label_lines, left_of, within, x_axis, y_axis
from moe_lessons.svg.base import DASHES, Drawing, color, element, figure, marker, num, polyline, text
from moe_lessons.svg.ends import End, draw_ends, room_for
from moe_lessons.svg.palette import LINE_INKS, MUTED, PAPER, SERIES, edge

Run = list[tuple[float, float]]


def line_chart(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    references: Mapping[str, float] | None = None,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    experts: bool = False,
    width: float = 640,
    height: float = 300,
    desc: str = "",
    caption: str = "",
) -> Drawing:
    """Draw lines, each with its own dashes and its name at its end, over labelled reference levels.

    Parameters
    ----------
    series : mapping of str to (x, y)
        Points of each line, x increasing; a NaN in y breaks the line. May be empty (before training).
    title : str
        The one thing that the figure says.
    x_label, y_label : str
        Axis labels with units.
    references : mapping of str to float, optional
        Horizontal lines, such as baselines.
    x_range, y_range : (low, high), optional
        Fixed axes, for pictures that are compared or grow while training. Points left or right of them are
        left out; a line that goes above or below has a triangle there, and how far it goes.
    log_x, log_y : bool
        Whether an axis is logarithmic; all its values are above 0 then.
    experts : bool
        Whether line i is expert i: it then has the colour and the marker that it has everywhere.

    Examples
    --------
    >>> line_chart({"loss": ([0, 100], [5.5, 2.5])}, title="The loss falls", x_label="step",
    ...            y_label="loss (nats per byte)", references={"bigram": 2.4})
    The loss falls. loss (nats per byte) against step: loss ends at 2.5; bigram: 2.4.
    """
    lines = {name: _finite_runs(x, y) for name, (x, y) in series.items()}
    levels = dict(references or {})
    xs = [x for runs in lines.values() for run in runs for x, _ in run] or [1.0, 10.0]
    ys = [y for runs in lines.values() for run in runs for _, y in run] + list(levels.values()) or [1.0, 10.0]
    for name, values, log in (("x", [*xs, *(x_range or ())], log_x), ("y", [*ys, *(y_range or ())], log_y)):
        if log and min(values) <= 0:
            raise ValueError(f"a logarithmic axis needs values above 0, and {name} has {min(values):g}")
    whole = all(x.is_integer() for x in xs)  # steps and layers have no halves
    across = within(*(x_range or (min(xs), max(xs))), log=log_x, whole=whole and not log_x)
    lines = {name: _between(runs, across) for name, runs in lines.items()}
    up = covering(*(y_range or (min(ys), max(ys))), log=log_y)
    over, under = label_lines(y_label, width), label_lines(x_label, width)
    gutter = room_for([*lines, *levels], width)
    left, right = left_of(up), width - 8 - gutter
    top, bottom = 19 + 15 * len(over), height - 27 - 15 * len(under)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + across.at(x) * (right - left), bottom - up.at(y) * (bottom - top)

    parts = [y_axis(up, over, left, right, top, bottom), x_axis(across, left, right, bottom)]
    parts.append(below(under, (left + right) / 2, width, bottom + 34))
    ends = []
    for level, value in levels.items():
        _, y = place(across.low, value)
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, stroke=MUTED, stroke_dasharray="2 4"))
        ends.append(End(right, y, level + (", off the scale" if up.beyond(value) else ""), MUTED))
    for i, (name, runs) in enumerate(lines.items()):
        spots = [[place(x, y) for x, y in run] for run in runs]
        parts.append(_line(i, spots, experts))
        parts += [_leaves(*place(*point), point[1], up, _name_ink(i, experts)) for point in _farthest(runs)]
        if spots:
            ends.append(End(*spots[-1][-1], name, _name_ink(i, experts)))
    parts.append(draw_ends(ends, width, top, bottom))
    if not desc:
        last = [f"{n} ends at {runs[-1][-1][1]:.4g}" for n, runs in lines.items() if runs]
        listed = "; ".join(last + [f"{n}: {v:.4g}" for n, v in levels.items()]) or "no points yet"
        desc = f"{y_label} against {x_label}: {listed}.{_scales(across, up)}"
    return figure(width, height, title, desc, "".join(parts), caption)


def _name_ink(i: int, experts: bool) -> str:
    return LINE_INKS[i % len(LINE_INKS)] if experts else SERIES[i % len(SERIES)]


def _line(i: int, runs: list[Run], experts: bool) -> str:
    """One line and what stands at its end: an expert's marker, or a dot."""
    ink = color(i) if experts else SERIES[i % len(SERIES)]
    dash = DASHES[i % len(DASHES)]
    style = {"stroke_dasharray": dash} if dash else {}
    parts = []
    for run in runs:
        if edge(ink) != ink:  # too light for a thin line on white: between two darker ones
            parts.append(polyline(run, stroke=edge(ink), stroke_width=3.2, **style))
        parts.append(polyline(run, stroke=ink, stroke_width=2, **style))
    if runs:
        x, y = runs[-1][-1]
        rim: dict[str, str | float] = {"stroke": PAPER, "stroke_width": 1} if edge(ink) == ink else {}
        dot = element("circle", cx=x, cy=y, r=3, fill=ink)
        parts.append(marker(i, x, y, 4, **rim) if experts else dot)
    return "".join(parts)


def _between(runs: list[Run], across: Axis) -> list[Run]:
    """What of a line lies on the axis."""
    kept = [[point for point in run if not across.beyond(point[0])] for run in runs]
    return [run for run in kept if run]


def _farthest(runs: list[Run]) -> list[tuple[float, float]]:
    """The points at which a line is highest and lowest."""
    points = [point for run in runs for point in run]
    return [best(points, key=lambda point: point[1]) for best in (max, min)] if points else []


def _leaves(x: float, y: float, value: float, up: Axis, ink: str) -> str:
    """A triangle that points off the chart, and the value there; nothing for a value on the axis."""
    side = up.beyond(value)
    if not side:
        return ""
    corners = f"{num(x)},{num(y - 9 * side)} {num(x - 5)},{num(y)} {num(x + 5)},{num(y)}"
    halo: dict[str, str | float] = {"paint_order": "stroke", "stroke": PAPER, "stroke_width": 3}
    said = text(x + 8, y + (11 if side > 0 else -4), f"{value:.4g}", fill=ink, font_size=12, **halo)
    return element("polygon", points=corners, fill=ink) + said


def _scales(across: Axis, up: Axis) -> str:
    named = [name for name, axis in (("across", across), ("up", up)) if axis.log]
    return f" Logarithmic {' and '.join(named)}." if named else ""


def _finite_runs(xs: Sequence[float], ys: Sequence[float]) -> list[Run]:
    """Split a line where a value is missing."""
    if len(xs) != len(ys):
        raise ValueError(f"a line needs as many x as y, got {len(xs)} and {len(ys)}")
    runs: list[Run] = [[]]
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            runs[-1].append((float(x), float(y)))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
