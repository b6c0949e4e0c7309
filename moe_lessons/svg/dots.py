"""Rows of dots: one row per setting, one dot per seed, so that a tendency is seen with its spread."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from moe_lessons.svg.axes import nice_ticks
from moe_lessons.svg.base import Drawing, element, figure, text
from moe_lessons.svg.letters import text_width, wrap
from moe_lessons.svg.numbers import tick_label
from moe_lessons.svg.palette import ACCENT, FAINT, INK, MUTED

ROW = 30


def dot_rows(
    values: Mapping[str, Sequence[float]],
    *,
    title: str,
    x_label: str,
    marks: Mapping[str, float] | None = None,
    mark_label: str = "",
    dot_label: str = "a run",
    x_range: tuple[float, float] | None = None,
    value_format: str = "{:.1f}",
    width: float = 680,
    caption: str = "",
) -> Drawing:
    """Draw each row's values as dots on a common axis, with a line at their median and its value at the end.

    Parameters
    ----------
    values : mapping of str to sequence of float
        Finite values of each row, such as one per seed.
    x_label : str
        What the axis shows, with its unit.
    dot_label : str
        What a dot is.
    marks : mapping of str to float, optional
        A hollow square in a row, such as where it began; `mark_label` says in the legend what it is.
    x_range : tuple of float, optional
        By default from the smallest to the largest value.

    Raises
    ------
    ValueError
        If there is no row, a row is empty, or a value is not finite.

    Examples
    --------
    >>> dot_rows({"K=1": [2.0, 3.0, 4.0], "K=2": [7.0]}, title="K=2 stays even", x_label="experts").alt
    'K=2 stays even. experts, median [lowest, highest]. K=1: 3.0 [2.0, 4.0]; K=2: 7.0 [7.0, 7.0]'
    """
    marks = marks or {}
    every = [value for row in values.values() for value in row] + list(marks.values())
    if not values or not all(values.values()):
        raise ValueError("values has an empty row: give every row at least one value")
    if not all(map(math.isfinite, every)):
        raise ValueError("values holds NaN or infinity: leave such runs out and say so in the caption")
    low, high = x_range or (min(every), max(every))
    ticks = nice_ticks(low, high)
    low, high = (ticks[0], ticks[-1]) if x_range is None else x_range
    left, right = 24 + max(text_width(name, 12) for name in values), width - 54
    bottom = 30 + ROW * len(values)

    def x(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    parts = [text(8, 14, _legend(dot_label, mark_label if marks else ""), fill=MUTED)]
    for tick in (tick for tick in ticks if low <= tick <= high):
        parts.append(element("line", x1=x(tick), x2=x(tick), y1=26, y2=bottom, stroke=FAINT))
        parts.append(text(x(tick), bottom + 16, tick_label(tick), text_anchor="middle", fill=MUTED))
    words = []
    for i, (name, row) in enumerate(values.items()):
        y, middle = 30 + ROW * (i + 0.5), median(row)
        parts.append(text(left - 10, y + 4, name, text_anchor="end"))
        for j, value in enumerate(row):
            # Neighbours in a crowd would hide each other, so they take turns on three heights.
            parts.append(
                element("circle", cx=x(value), cy=y + 6 * (j % 3 - 1), r=3.4, fill=ACCENT, fill_opacity="0.7")
            )
        parts.append(
            element("line", x1=x(middle), x2=x(middle), y1=y - 12, y2=y + 12, stroke=INK, stroke_width=2.4)
        )
        if name in marks:
            at = x(marks[name])
            parts.append(
                element(
                    "rect",
                    x=at - 5,
                    y=y - 5,
                    width=10,
                    height=10,
                    fill="none",
                    stroke=INK,
                    stroke_width=2,
                )
            )
        parts.append(text(right + 10, y + 4, value_format.format(middle), font_weight="600"))
        shown = [value_format.format(v) for v in (middle, min(row), max(row))]
        words.append(f"{name}: {shown[0]} [{shown[1]}, {shown[2]}]")
    foot = wrap(x_label, right - left + 40, 12)
    parts += [text(left, bottom + 34 + 15 * i, line, fill=MUTED) for i, line in enumerate(foot)]
    desc = f"{x_label}, median [lowest, highest]. {'; '.join(words)}"
    return figure(width, bottom + 26 + 15 * len(foot), title, desc, "".join(parts), caption)


def _legend(dot_label: str, mark_label: str) -> str:
    square = f"    □ {mark_label}" if mark_label else ""
    return f"● {dot_label}    ┃ median, its value at the right{square}"
