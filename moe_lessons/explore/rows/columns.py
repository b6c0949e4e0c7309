"""The columns of a picture of sorted rows: tokens, slots, rows, experts, and the lines between them."""

from dataclasses import dataclass

from moe_lessons.explore.handles import keyed, pick
from moe_lessons.explore.rows.plan import Plan
from moe_lessons.svg import color, element, marker, text, tint

INK, MUTED, FAINT = "#1a1a1a", "#595959", "#d0d0d0"


@dataclass(frozen=True)
class Column:
    """Where a column stands: left edge, width, top of the first row and the height of one slot's row."""

    x: float
    width: float
    top: float
    row: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    def middle(self, place: int) -> float:
        """Height of the middle of a slot's row."""
        return self.top + self.row * (place + 0.5)


def heading(column: Column, words: tuple[str, str], on: bool) -> str:
    """Name a column in two lines above it."""
    style: dict[str, str | float] = {"text_anchor": "middle", "fill": INK if on else "#737373"}
    middle = column.x + column.width / 2
    return text(middle, column.top - 22, words[0], font_weight="600", **style) + text(
        middle, column.top - 8, words[1], font_size=11, **style
    )


def tokens(plan: Plan, column: Column, on: bool, letter: str, *, live: bool = False) -> str:
    """Draw one box per token, as tall as its K slots; `letter` is x for inputs and y for outputs.

    On a live picture a click follows the token.
    """
    parts = []
    # The followed one last: its thick frame lies over its neighbours.
    for t in sorted(range(len(plan.ids)), key=plan.token.__eq__):
        followed = t == plan.token
        tall = plan.top_k * column.row
        box = _box(column, t * tall, tall, "#ffffff", followed and on, on)
        if on:
            weight = "700" if followed else "400"
            at = column.top + (t + 0.5) * tall + 4
            box += text(
                column.x + column.width / 2, at, f"{letter}{t}", text_anchor="middle", font_weight=weight
            )
        parts.append(element("g", box, **pick(Token=t)) if live else box)
    return "".join(parts)


def rows(
    plan: Plan,
    column: Column,
    order: tuple[int, ...],
    on: bool,
    *,
    letter: str = "",
    key: str = "",
    origin: str = "",
) -> str:
    """Draw one box per slot in the given order, with the slot's number and its expert's marker.

    On a live picture the column has a `key`: its rows keep their identity from frame to frame, and come from
    the column `origin` when they appear. A click follows the row's token.
    """
    parts = []
    size = min(12.0, column.row - 3)
    for place, slot in sorted(enumerate(order), key=lambda row: row[1] in plan.slots):
        followed = slot in plan.slots
        fill = tint(color(plan.expert(slot)), 0.45 if followed else 0.16)
        row = _box(column, place * column.row, column.row, fill if on else "#ffffff", followed and on, on)
        if on:
            y = column.middle(place)
            weight = "700" if followed else "400"
            shown = f"{letter}{slot}"
            row += text(column.x + 6, y + 0.36 * size, shown, font_size=size, font_weight=weight)
            row += marker(plan.expert(slot), column.right - 8, y, min(4.2, column.row / 3.4))
        if on and key:
            came = f"{origin} {slot}" if origin else ""
            row = element("g", row, **keyed(f"{key} {slot}", came), **pick(Token=slot // plan.top_k))
        parts.append(row)
    return "".join(parts)


def links(plan: Plan, left: Column, right: Column, ends: dict[int, tuple[float, float]], on: bool) -> str:
    """Draw a line for each slot from its height on the left to its height on the right."""
    parts = []
    for slot in sorted(ends, key=lambda s: s in plan.slots):
        followed = slot in plan.slots
        y1, y2 = ends[slot]
        look: dict[str, str | float] = {"stroke": FAINT, "stroke_width": 0.8}
        if followed:
            look = {"stroke": INK, "stroke_width": 2.2}
            if slot != plan.slots[0]:
                look["stroke_dasharray"] = "6 3"
        if on:
            parts.append(element("line", x1=left.right + 1, x2=right.x - 1, y1=y1, y2=y2, **look))
    return "".join(parts)


def positions(plan: Plan, column: Column, on: bool, size: float = 10) -> str:
    """Number the sorted positions, left of their boxes; on a white rim, for lines end there."""
    rim: dict[str, str | float] = {"paint_order": "stroke", "stroke": "#ffffff", "stroke_width": 3}
    places = range(len(plan.row_ids)) if on else ()
    return "".join(
        text(
            column.x - 4, column.middle(p) + 3.5, str(p), text_anchor="end", font_size=size, fill=MUTED, **rim
        )
        for p in places
    )


def boundaries(plan: Plan, column: Column, on: bool, size: float = 11) -> str:
    """Draw each expert's range beside the sorted rows, with its ends."""
    if not on:
        return ""
    x = column.right + 3
    parts = []
    for start, end in zip(plan.starts, plan.ends, strict=True):
        top, bottom = column.top + start * column.row, column.top + end * column.row
        if end > start:
            parts.append(
                element("polyline", points=_bracket(x, top + 2, bottom - 2), fill="none", stroke=INK)
            )
    shown = sorted({0, *plan.ends})
    for bound in shown:
        y = column.top + bound * column.row
        parts.append(text(x + 6, y + 4, str(bound), font_size=size, font_weight="600"))
    return "".join(parts)


def experts(plan: Plan, column: Column, on: bool) -> str:
    """Draw each expert's matrix beside its rows; an idle one has none."""
    if not on:
        return _box(column, 0, len(plan.row_ids) * column.row, "#ffffff", False, on)
    parts = []
    for e in range(len(plan.ends)):
        start, end = plan.starts[e], plan.ends[e]
        if end == start:
            continue
        tall = (end - start) * column.row
        parts.append(_box(column, start * column.row + 1, tall - 2, tint(color(e), 0.3), False, on))
        center, middle = column.x + column.width / 2, column.top + start * column.row + tall / 2
        # One row has no room for two lines.
        name, mark = ((0, -2), (0, 9)) if tall > 30 else ((-6, 4), (11, 0))
        parts.append(
            text(center + name[0], middle + name[1], f"W{e}", text_anchor="middle", font_weight="600")
        )
        parts.append(marker(e, center + mark[0], middle + mark[1], 4))
    return "".join(parts)


def legend(plan: Plan, x: float, y: float) -> str:
    """Name the experts' markers and how many rows each has."""
    parts = []
    for e in range(len(plan.ends)):
        size = plan.ends[e] - plan.starts[e]
        said = f"{size} row{'s' if size > 1 else ''}" if size else "idle"
        parts.append(marker(e, x + 130 * e + 6, y - 4, 5))
        parts.append(text(x + 130 * e + 16, y, f"expert {e}: {said}", fill=MUTED))
    return "".join(parts)


def _box(column: Column, top: float, tall: float, fill: str, followed: bool, on: bool) -> str:
    look: dict[str, str | float] = {"stroke": "#8c8c8c" if on else FAINT, "stroke_width": 0.8}
    if followed:
        look = {"stroke": INK, "stroke_width": 2}
    if not on:
        look["stroke_dasharray"] = "2 3"
    return element("rect", x=column.x, y=column.top + top, width=column.width, height=tall, fill=fill, **look)


def _bracket(x: float, top: float, bottom: float) -> str:
    return f"{x:.1f},{top:.1f} {x + 4:.1f},{top:.1f} {x + 4:.1f},{bottom:.1f} {x:.1f},{bottom:.1f}"
