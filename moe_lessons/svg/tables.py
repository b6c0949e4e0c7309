"""Routing strips and heat maps: pictures made of labelled cells."""

import math
from collections.abc import Sequence

from moe_lessons.svg.base import MONO, Drawing, color, element, figure, text, visible
from moe_lessons.svg.letters import text_width
from moe_lessons.svg.numbers import percent
from moe_lessons.svg.palette import FAINT, INK, MUTED, PAPER, ink_on, rim, tint
from moe_lessons.svg.signed import beyond, key, lean, shade


def routing_strip(
    tokens: Sequence[str],
    topk_ids: Sequence[Sequence[int]],
    topk_weights: Sequence[Sequence[float]] | None = None,
    *,
    title: str,
    width: float = 720,
    desc: str = "",
    caption: str = "",
) -> Drawing:
    """Draw a sentence token by token, and under each token the experts that it goes to.

    Parameters
    ----------
    tokens : sequence of str, length T
        The tokens' text; spaces and line ends are made visible.
    topk_ids : T sequences of K int
        Expert numbers of each token.
    topk_weights : T sequences of K float, optional
        Weights in [0, 1], shown in percent and as the filled part of the expert's cell.
    title : str
        The one thing that the figure says.

    Examples
    --------
    >>> routing_strip(["the", " cat"], [[0, 2], [2, 1]], [[0.7, 0.3], [0.6, 0.4]],
    ...               title="Each token picks two")
    Each token picks two. ‘the’ to experts 0 (70 %), 2 (30 %); ‘␣cat’ to experts 2 (60 %), 1 (40 %).
    """
    chosen = [[int(e) for e in row] for row in topk_ids]
    weights = [[float(w) for w in row] for row in topk_weights] if topk_weights is not None else None
    if len(chosen) != len(tokens) or (weights is not None and len(weights) != len(tokens)):
        raise ValueError(f"{len(tokens)} tokens need as many rows of expert ids and weights")
    if weights is not None and [len(row) for row in weights] != [len(row) for row in chosen]:
        raise ValueError("every expert id needs one weight")
    shown = [_shorten(visible(t)) for t in tokens]
    narrowest = 54 if weights is not None else 30
    widths = [max(narrowest, 8.4 * len(t) + 10) for t in shown]
    deep = max((len(row) for row in chosen), default=0)
    row_height = 26 + 19 * deep + 14
    parts, x, y = [], 8.0, 4.0
    for i, token in enumerate(shown):
        if x + widths[i] > width - 8 and x > 8:
            x, y = 8.0, y + row_height
        parts.append(
            text(x + widths[i] / 2, y + 17, token, text_anchor="middle", font_family=MONO, font_size=13)
        )
        for k, expert in enumerate(chosen[i]):
            weight = weights[i][k] if weights is not None else None
            parts.append(_chip(x, y + 24 + 19 * k, widths[i], expert, weight))
        x += widths[i] + 4
    if not desc:
        shares = [[f" ({percent(w)})" for w in row] for row in weights] if weights is not None else None
        listed = (
            f"‘{t}’ to expert{'s' if len(chosen[i]) != 1 else ''} "
            + ", ".join(f"{e}{shares[i][k] if shares else ''}" for k, e in enumerate(chosen[i]))
            for i, t in enumerate(shown)
        )
        desc = "; ".join(listed) + "."
    return figure(width, y + row_height, title, desc, "".join(parts), caption)


def _shorten(token: str, limit: int = 14) -> str:
    return token if len(token) <= limit else token[: limit - 1] + "…"


def _chip(x: float, y: float, width: float, expert: int, weight: float | None) -> str:
    """One expert's cell: a coloured badge with its number, then the weight over a bar of that length."""
    fill = color(expert)
    if weight is None:
        badge = width
        parts = []
    else:
        badge = 18.0 if expert < 100 else 26.0
        room = width - badge
        held = room * min(max(weight, 0.0), 1.0)
        parts = [
            element("rect", x=x + badge, y=y, width=room, height=17, fill="#f5f5f5"),
            element("rect", x=x + badge, y=y, width=held, height=17, fill=tint(fill, 0.35)),
            text(x + badge + room / 2, y + 12.5, percent(weight), text_anchor="middle", font_size=11),
        ]
    parts.append(element("rect", x=x, y=y, width=badge, height=17, fill=fill, **rim(fill)))
    number = {"text_anchor": "middle", "font_weight": "600", "fill": ink_on(fill)}
    parts.append(text(x + badge / 2, y + 13, str(expert), **number))
    return "".join(parts)


def _largest(rows: Sequence[Sequence[float]]) -> float:
    return max((abs(v) for row in rows for v in row if math.isfinite(v)), default=0) or 1.0


def heat_map(
    matrix: Sequence[Sequence[float]],
    *,
    title: str,
    row_label: str,
    column_label: str,
    unit: str,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    value_format: str = "{:.2g}",
    highest: float | None = None,
    row_scales: bool = False,
    width: float = 560,
    desc: str = "",
    caption: str = "",
) -> Drawing:
    """Draw a small matrix: the darker a cell the larger its number, which is written in it.

    Where there are negative numbers the scale diverges: blue above zero, orange below, each number has its
    sign, and a bar under it leans to the right or to the left. A cell beyond ``highest`` has a mark.

    Parameters
    ----------
    matrix : sequence of rows
        Values; cells are shaded from 0 (white) to ``highest`` in absolute value.
    row_scales : bool
        Shade each row to its own largest value: for rows that are different quantities.
    title : str
        The one thing that the figure says.
    row_label, column_label : str
        What the rows and the columns are.
    unit : str
        Unit of the cells.
    rows, columns : sequence of str, optional
        Names; numbers by default.
    highest : float, optional
        Value of the darkest cell, for pictures that are compared.

    Examples
    --------
    >>> heat_map([[1, 0], [0, 1]], title="Each goes home", row_label="token",
    ...          column_label="expert", unit="weight")
    Each goes home. weight, token by expert; 0: 1, 0; 1: 0, 1.
    """
    cells = [[float(v) for v in row] for row in matrix]
    if not cells or not cells[0] or any(len(row) != len(cells[0]) for row in cells):
        raise ValueError("heat_map needs rows of one and the same non-zero length")
    row_names = list(rows) if rows is not None else [str(i) for i in range(len(cells))]
    column_names = list(columns) if columns is not None else [str(i) for i in range(len(cells[0]))]
    if len(row_names) != len(cells) or len(column_names) != len(cells[0]):
        raise ValueError("as many names as rows and columns, please")
    full = [highest or _largest([row] if row_scales else cells) for row in cells]
    signed = any(v < 0 for row in cells for v in row)
    note = ", shaded row by row" if row_scales else ""
    left = 26 + max(text_width(n, 12) for n in row_names)
    side = min(76.0, (width - left - 12) / len(cells[0]))
    tall = min(34.0, max(20.0, side))
    top = 44.0
    parts = [
        text(left, 14, f"{column_label} →   (cells: {unit}{note})", fill=MUTED),
        text(8, top - 8, f"{row_label} ↓", fill=MUTED),
    ]
    for j, name in enumerate(column_names):
        parts.append(text(left + side * (j + 0.5), top - 8, name, text_anchor="middle"))
    for i, row in enumerate(cells):
        y = top + tall * i
        parts.append(text(left - 8, y + tall / 2 + 4, row_names[i], text_anchor="end"))
        for j, value in enumerate(row):
            known = math.isfinite(value)
            fill = shade(value, full[i]) if known else FAINT
            box = {"x": left + side * j, "y": y, "width": side - 1, "height": tall - 1}
            parts.append(element("rect", **box, fill=fill if fill != PAPER else "#fbfbfb", stroke=FAINT))
            shown = value_format.format(value) if known else "·"
            shown = f"+{shown}" if signed and value > 0 else shown.replace("-", "−")
            middle = left + side * (j + 0.5)
            ink = ink_on(fill) if known else INK
            if known and signed:
                parts.append(lean(box["x"] + 4, y + tall - 6, side - 9, value, full[i], ink))
            elif known and value > full[i]:
                parts.append(beyond(box["x"] + side - 1, y, ink))
            parts.append(
                text(
                    middle,
                    y + tall / 2 + (1.5 if signed else 4),
                    shown,
                    text_anchor="middle",
                    font_size=min(12, side / 2.4),
                    fill=ink,
                )
            )
    if not desc:
        listed = "; ".join(
            f"{n}: " + ", ".join(value_format.format(v) for v in row)
            for n, row in zip(row_names, cells, strict=True)
        )
        desc = f"{unit}, {row_label} by {column_label}; {listed}."
    used = max(left + side * len(cells[0]) + 12, min(width, 360.0))
    foot = top + tall * len(cells) + 10
    if signed:
        parts.append(key(min(left, used - 318), foot + 10))
        foot += 18
    return figure(used, foot, title, desc, "".join(parts), caption)
