"""One bar for each expert, or for anything else that is counted or measured once."""

import math
from collections.abc import Sequence

from moe_lessons.svg.axes import below, covering, label_lines, left_of, y_axis
from moe_lessons.svg.base import Drawing, color, element, figure, marker, text
from moe_lessons.svg.letters import text_width, wrap
from moe_lessons.svg.palette import ACCENT, COLORS, INK, PAPER, rim

_HALO: dict[str, str | float] = {
    "paint_order": "stroke",
    "stroke": PAPER,
    "stroke_width": 3,
    "stroke_linejoin": "round",
}


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
    experts: bool | None = None,
    value_format: str = "{:.0f}",
    width: float = 560,
    height: float = 240,
    desc: str = "",
    caption: str = "",
) -> Drawing:
    """Draw one bar per expert or per name, with the share that each would have if the load were uniform.

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
        Fixed top of the axis, for pictures that are compared; an arrow says that a bar is taller.
    experts : bool, optional
        Whether bar i is expert i and has its colour and its marker; by default where `x_label` begins with
        "expert". Everything else is drawn in the accent colour.

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
    theirs = x_label.startswith("expert") if experts is None else experts
    # Past the palette a colour would no longer say which expert.
    theirs = theirs and len(heights) <= len(COLORS)
    up = covering(0, y_max or max(*heights, uniform or 0, 1e-9), log=False)
    over, under = label_lines(y_label, width), label_lines(x_label, width)
    left, right = left_of(up), width - 16.0
    step = (right - left) / len(heights)
    roomy = step >= 26
    feet = [wrap(label, step - 4, 12) if roomy else [label] for label in labels]
    note = f"{uniform_label} {value_format.format(uniform)}" if uniform is not None else ""
    # Beside the axis label where there is room, else below it.
    beside = text_width(over[-1] + note, 12) + 60 < width
    top = 33 + 15 * (len(over) + (1 if note and not beside else 0))
    bottom = height - 27 - 15 * len(under) - 14 * (max(map(len, feet)) - 1)
    parts = [y_axis(up, over, left, right, top, bottom)]
    middles = [left + step * (i + 0.5) for i in range(len(heights))]
    talls = [up.at(value) * (bottom - top) for value in heights]
    for i, (middle, tall) in enumerate(zip(middles, talls, strict=True)):
        parts.append(_bar(middle, bottom, min(56, step * 0.72), tall, color(i) if theirs else ACCENT))
    if uniform is not None:
        y = bottom - up.at(uniform) * (bottom - top)
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, stroke=INK, stroke_dasharray="5 4"))
        parts.append(text(right, 1 + 15 * (len(over) + (not beside)), f"- - {note}", text_anchor="end"))
    for i, (value, middle, tall) in enumerate(zip(heights, middles, talls, strict=True)):
        if roomy:
            shown = value_format.format(value) + (" ↑" if value > up.high else "")
            # A halo in the paper's colour keeps the number legible where the uniform line crosses it.
            parts.append(text(middle, bottom - tall - 5, shown, text_anchor="middle", **_HALO))
        marked = roomy and theirs and len(labels[i]) < 3
        if roomy or i % math.ceil(26 / step) == 0:
            at = middle + (5 if marked else 0)
            parts += [text(at, bottom + 16 + 14 * j, w, text_anchor="middle") for j, w in enumerate(feet[i])]
        if marked:
            parts.append(marker(i, middle - 8, bottom + 12, 3.5))
    parts.append(element("line", x1=left, x2=right, y1=bottom, y2=bottom, stroke=INK))
    parts.append(below(under, (left + right) / 2, width, height - 8 - 15 * (len(under) - 1)))
    if not desc:
        listed = ", ".join(f"{n}: {value_format.format(v)}" for n, v in zip(labels, heights, strict=True))
        tail = f"; {uniform_label}: {value_format.format(uniform)}" if uniform is not None else ""
        desc = f"{y_label} by {x_label}: {listed}{tail}."
    return figure(width, height, title, desc, "".join(parts), caption)


def _bar(middle: float, bottom: float, wide: float, tall: float, fill: str) -> str:
    box = {"x": middle - wide / 2, "y": bottom - tall, "width": wide, "height": tall}
    return element("rect", **box, fill=fill, **rim(fill))
