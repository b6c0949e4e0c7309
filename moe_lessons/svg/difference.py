"""Where two matrices differ, element by element: the first thing to look at when a kernel is wrong."""

import math
from collections.abc import Sequence

from moe_lessons.svg.base import Drawing, element, figure, text
from moe_lessons.svg.letters import text_width
from moe_lessons.svg.palette import FAINT, INK, MUTED, WRONG, ink_on

_SIDE = 14.0
_MARKS = {"right": "·", "differs": "×", "NaN": "?"}
_FILLS = {"right": "#f5f5f5", "differs": WRONG, "NaN": "#4d4d4d"}


def difference_map(
    got: Sequence[Sequence[float]],
    want: Sequence[Sequence[float]],
    *,
    title: str,
    row_label: str,
    column_label: str,
    tolerance: float = 1e-2,
    caption: str = "",
) -> Drawing:
    """Draw one cell for each element: a dot where it is right, a cross where it differs, ? where it is NaN.

    Parameters
    ----------
    got, want : sequences of rows
        What was computed and what should have been; at most 48 columns.
    title : str
        The one thing that the figure says.
    row_label, column_label : str
        What the rows and the columns are.
    tolerance : float
        Differences up to this much, absolute and relative, count as right.

    Examples
    --------
    >>> difference_map([[1.0, 5.0], [math.nan, 4.0]], [[1.0, 2.0], [3.0, 4.0]], title="Half of it is right",
    ...                row_label="row", column_label="column")
    Half of it is right. 2 of 4 elements are right, 1 differs, 1 is NaN. row 0: ·×; row 1: ?·.
    """
    kinds = [
        [_kind(float(g), float(w), tolerance) for g, w in zip(mine, theirs, strict=True)]
        for mine, theirs in zip(got, want, strict=True)
    ]
    if not kinds or not kinds[0] or len(kinds[0]) > 48:
        raise ValueError("difference_map needs 1 to 48 columns and at least one row")
    left, top = 14 + text_width(f"{row_label} ↓", 12), 40.0
    parts = [
        text(left, 14, f"{column_label} →", fill=MUTED),
        text(8, top - 6, f"{row_label} ↓", fill=MUTED),
    ]
    for j in range(0, len(kinds[0]), 4):
        parts.append(text(left + _SIDE * (j + 0.5), top - 6, str(j), text_anchor="middle", font_size=10))
    for i, row in enumerate(kinds):
        y = top + _SIDE * i
        parts.append(text(left - 6, y + 11, str(i), text_anchor="end", font_size=10))
        for j, kind in enumerate(row):
            x = left + _SIDE * j
            fill = _FILLS[kind]
            box = {"x": x, "y": y, "width": _SIDE - 1, "height": _SIDE - 1}
            parts.append(element("rect", **box, fill=fill, stroke=FAINT))
            ink = ink_on(fill) if kind != "right" else INK
            middle = x + _SIDE / 2 - 0.5
            parts.append(text(middle, y + 10.5, _MARKS[kind], text_anchor="middle", font_size=11, fill=ink))
    listed = "; ".join(f"{row_label} {i}: {''.join(_MARKS[k] for k in row)}" for i, row in enumerate(kinds))
    width = max(left + _SIDE * len(kinds[0]) + 12, 480.0)
    height = top + _SIDE * len(kinds) + 8
    return figure(width, height, title, f"{_counted(kinds)} {listed}.", "".join(parts), caption)


def _kind(got: float, want: float, tolerance: float) -> str:
    if math.isnan(got):
        return "NaN"
    return "right" if abs(got - want) <= tolerance * (1 + abs(want)) else "differs"


def _counted(kinds: list[list[str]]) -> str:
    flat = [kind for row in kinds for kind in row]
    right, differ, nan = (flat.count(kind) for kind in _MARKS)
    differs = f"{differ} differ{'s' if differ == 1 else ''}"
    return f"{right} of {len(flat)} elements are right, {differs}, {nan} {'is' if nan == 1 else 'are'} NaN."
