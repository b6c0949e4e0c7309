"""Bars and lines with labelled axes."""

import math
from collections.abc import Mapping, Sequence

from moe_lessons.svg.base import (
    COLORS,
    DASHES,
    FAINT,
    INK,
    MUTED,
    Drawing,
    color,
    element,
    figure,
    marker,
    num,
    polyline,
    text,
)

# The hues of COLORS in the same order, darker where a thin line or small text would fade on white.
LINE_INKS = ("#0072B2", "#9A6A00", "#00805E", "#B0568A", "#277AA9", "#C45500", "#827500", "#4d4d4d")


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round positions that cover ``low`` to ``high``, about ``count`` of them.

    >>> nice_ticks(0, 100)
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    """
    # Values that agree to rounding are one level, not a range to zoom into.
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-9):
        high = low + (abs(low) or 1.0)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def tick_label(value: float) -> str:
    """Write a tick without a tail of zeros.

    >>> tick_label(0.25), tick_label(3000.0)
    ('0.25', '3,000')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.6g}"


def _y_axis(ticks: Sequence[float], label: str, left: float, right: float, top: float, bottom: float) -> str:
    """Grid lines, tick labels and the axis label, which lies flat above the axis so that it can be read."""
    span = ticks[-1] - ticks[0]
    parts = [text(8, 16, label, fill=MUTED)]
    for tick in ticks:
        y = bottom - (tick - ticks[0]) / span * (bottom - top)
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, stroke=FAINT))
        parts.append(text(left - 6, y + 4, tick_label(tick), text_anchor="end", fill=MUTED))
    return "".join(parts)


def bar_chart(
    values: Sequence[float],
    *,
    title: str,
    y_label: str,
    x_label: str = "expert",
    names: Sequence[str] | None = None,
    uniform: float | None = None,
    uniform_label: str = "uniform share",
    y_max: float | None = None,
    value_format: str = "{:.0f}",
    width: float = 560,
    height: float = 240,
    desc: str = "",
    caption: str = "",
) -> Drawing:
    """Draw one bar per expert, with the share that each would have if the load were uniform.

    Parameters
    ----------
    values : sequence of float, length E
        Non-negative height of each bar.
    title : str
        The one thing that the figure says.
    y_label, x_label : str
        Axis labels; ``y_label`` names its unit.
    names : sequence of str, optional
        Text under each bar; the expert's number by default.
    uniform : float, optional
        Height of the dashed reference line.
    y_max : float, optional
        Fixed top of the axis, for pictures that are compared.

    Examples
    --------
    >>> bar_chart([75, 25], title="Expert 0 takes three quarters", y_label="tokens (%)", uniform=50)
    Expert 0 takes three quarters. tokens (%) by expert: 0: 75, 1: 25; uniform share: 50.
    """
    heights = [float(v) for v in values]
    if not heights or not all(math.isfinite(v) and v >= 0 for v in heights):
        raise ValueError(f"bar_chart needs at least one value, all finite and >= 0, got {values!r}")
    labels = list(names) if names is not None else [str(i) for i in range(len(heights))]
    if len(labels) != len(heights):
        raise ValueError(f"{len(heights)} values but {len(labels)} names")
    ticks = nice_ticks(0, y_max or max(*heights, uniform or 0, 1e-9))
    left, right, top, bottom = 56, width - 16, 48, height - 42
    step = (right - left) / len(heights)
    bar = min(56, step * 0.72)
    roomy = step >= 26
    # Past the palette a colour would no longer say which expert.
    many = len(heights) > len(COLORS)
    parts = [_y_axis(ticks, y_label, left, right, top, bottom)]
    for i, (value, label) in enumerate(zip(heights, labels, strict=True)):
        middle = left + step * (i + 0.5)
        tall = min(value / ticks[-1], 1) * (bottom - top)
        parts.append(
            element(
                "rect",
                x=middle - bar / 2,
                y=bottom - tall,
                width=bar,
                height=tall,
                fill=color(0 if many else i),
            )
        )
        if roomy:
            shown = value_format.format(value)
            # A white halo keeps the number legible where the uniform line crosses it.
            parts.append(text(middle, bottom - tall - 5, shown, text_anchor="middle", **_HALO))
        if roomy or i % math.ceil(26 / step) == 0:
            parts.append(
                text(middle + (5 if roomy and not many else 0), bottom + 16, label, text_anchor="middle")
            )
        if roomy and not many and len(label) < 3:
            parts.append(marker(i, middle - 8, bottom + 12, 3.5))
    if uniform is not None:
        y = bottom - uniform / ticks[-1] * (bottom - top)
        note = f"{uniform_label} {value_format.format(uniform)}"
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, stroke=INK, stroke_dasharray="5 4"))
        parts.append(text(right, 16, f"- - {note}", text_anchor="end"))
    parts.append(element("line", x1=left, x2=right, y1=bottom, y2=bottom, stroke=INK))
    parts.append(text((left + right) / 2, height - 8, x_label, text_anchor="middle", fill=MUTED))
    if not desc:
        listed = ", ".join(f"{n}: {value_format.format(v)}" for n, v in zip(labels, heights, strict=True))
        tail = f"; {uniform_label}: {value_format.format(uniform)}" if uniform is not None else ""
        desc = f"{y_label} by {x_label}: {listed}{tail}."
    return figure(width, height, title, desc, "".join(parts), caption)


_HALO: dict[str, str | float] = {
    "paint_order": "stroke",
    "stroke": "#ffffff",
    "stroke_width": 3,
    "stroke_linejoin": "round",
}


def line_chart(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    references: Mapping[str, float] | None = None,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
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
        Fixed axes, for pictures that are compared or grow while training.

    Examples
    --------
    >>> line_chart({"loss": ([0, 100], [5.5, 2.5])}, title="The loss falls", x_label="step",
    ...            y_label="loss (nats per byte)", references={"bigram": 2.4})
    The loss falls. loss (nats per byte) against step: loss ends at 2.5; bigram: 2.4.
    """
    lines = {name: _finite_runs(x, y) for name, (x, y) in series.items()}
    levels = dict(references or {})
    xs = [x for runs in lines.values() for run in runs for x, _ in run]
    ys = [y for runs in lines.values() for run in runs for _, y in run] + list(levels.values())
    x0, x1 = x_range or (min(xs, default=0.0), max(xs, default=1.0))
    x1 = x1 if x1 > x0 else x0 + 1
    y_ticks = nice_ticks(*(y_range or (min(ys, default=0.0), max(ys, default=1.0))))
    names = [*lines, *levels]
    gutter = min(190, max((7 * len(n) for n in names), default=0) + 20)
    left, right, top, bottom = 56, width - 16 - gutter, 34, height - 42

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x0) / (x1 - x0) * (right - left)
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (bottom - top)
        return left + min(max(across, 0), right - left), bottom - min(max(up, 0), bottom - top)

    parts = [_y_axis(y_ticks, y_label, left, right, top, bottom)]
    whole = all(x.is_integer() for x in xs)  # steps and layers have no halves
    for tick in nice_ticks(x0, x1):
        if x0 <= tick <= x1 and (tick.is_integer() or not whole):
            x, _ = place(tick, y_ticks[0])
            parts.append(element("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, stroke=INK))
            parts.append(text(x, bottom + 17, tick_label(tick), text_anchor="middle", fill=MUTED))
    parts.append(element("line", x1=left, x2=right, y1=bottom, y2=bottom, stroke=INK))
    parts.append(text((left + right) / 2, height - 8, x_label, text_anchor="middle", fill=MUTED))
    ends: list[tuple[float, str, str, float]] = []
    for level in levels:
        _, y = place(x0, levels[level])
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, stroke=MUTED, stroke_dasharray="2 4"))
        ends.append((y, level, MUTED, right))
    for i, (name, runs) in enumerate(lines.items()):
        ink, dash = LINE_INKS[i % len(LINE_INKS)], DASHES[i % len(DASHES)]
        for run in runs:
            style = {"stroke_dasharray": dash} if dash else {}
            parts.append(polyline([place(x, y) for x, y in run], stroke=ink, stroke_width=2, **style))
        if runs:
            x, y = place(*runs[-1][-1])
            parts.append(marker(i, x, y, 3.5, fill=ink))
            ends.append((y, name, ink, x))
    parts += _end_labels(ends, right, top, bottom)
    if not desc:
        last = [f"{n} ends at {runs[-1][-1][1]:.4g}" for n, runs in lines.items() if runs]
        listed = "; ".join(last + [f"{n}: {v:.4g}" for n, v in levels.items()]) or "no points yet"
        desc = f"{y_label} against {x_label}: {listed}."
    return figure(width, height, title, desc, "".join(parts), caption)


def _finite_runs(xs: Sequence[float], ys: Sequence[float]) -> list[list[tuple[float, float]]]:
    """Split a line where a value is missing."""
    if len(xs) != len(ys):
        raise ValueError(f"a line needs as many x as y, got {len(xs)} and {len(ys)}")
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            runs[-1].append((float(x), float(y)))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _end_labels(ends: list[tuple[float, str, str, float]], x: float, top: float, bottom: float) -> list[str]:
    """Names beside the lines' ends, pushed apart until none overlaps another."""
    ends = sorted(ends)
    gap = min(14.0, (bottom - top + 14) / max(len(ends), 1))
    spots: list[float] = []
    for y, *_ in ends:
        spots.append(max(y, spots[-1] + gap) if spots else y)
    overflow = max(0.0, spots[-1] - bottom - 4) if spots else 0.0
    for i in range(len(spots) - 1, -1, -1):
        limit = spots[i + 1] - gap if i + 1 < len(spots) else spots[i] - overflow
        spots[i] = min(spots[i], limit)
    parts = []
    for (y, name, ink, _), spot in zip(ends, spots, strict=True):
        if abs(spot - y) > 2:
            path = f"{num(x + 5)},{num(y)} {num(x + 12)},{num(spot)}"
            parts.append(element("polyline", points=path, fill="none", stroke=ink, stroke_width=0.8))
        parts.append(text(x + 14, spot + 4, name, fill=ink))
    return parts
