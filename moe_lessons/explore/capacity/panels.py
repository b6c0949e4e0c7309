"""The panels of the capacity explorable: the queues, the batch in order, both shares against the factor."""

from moe_lessons.explore.capacity.state import FACTORS, State, places
from moe_lessons.explore.handles import Along, handle
from moe_lessons.explore.scale import Scale, pointer, round_ticks
from moe_lessons.svg import ACCENT, WRONG, element, ink_on, marker, num, text, tint
from moe_lessons.svg.base import polyline

INK, MUTED, FAINT, PAPER = "#1a1a1a", "#595959", "#d9d9d9", "#ffffff"
SERVED, LOST, VOID = ACCENT, WRONG, "#8c8c8c"
DARK = LOST
MARGIN = 38
"""Room right of the queues for the number of one that does not fit."""
_CENTRED: dict[str, str | float] = {"text_anchor": "middle"}


def queue_scale(n_tokens: int, n_experts: int, k: int) -> int:
    """Places that the picture of the queues has room for: those at the largest factor, at least twelve.

    Neither factor nor skew nor draw moves it, so that a queue of more tokens is longer in every frame. A
    few queues of a skewed router do not fit; they are torn off.

    Examples
    --------
    >>> queue_scale(64, 8, 1)
    20
    """
    return max(places(n_tokens, n_experts, k, FACTORS[-1]), 12)


def queues(state: State, left: float, top: float, width: float, height: float, *, live: bool = False) -> str:
    """Draw one row per expert: served tokens, then hatched empty places or crossed-out dropped tokens.

    In a live frame the line at the last place can be dragged.
    """
    n_experts, capacity = len(state.queues), state.capacity
    row = height / n_experts
    tall = min(row * 0.8, 24)
    label = 24
    x0 = left + label
    full = queue_scale(state.params.n_tokens, n_experts, state.params.k)
    scale = Scale(0, full, x0, left + width - MARGIN)
    unit = (scale.end - x0) / full
    parts = [_ticks(scale, top + height)]
    free_from = top
    for e, queue in enumerate(state.queues):
        y = top + row * e + (row - tall) / 2
        if row >= 11 or e % 8 == 0:
            parts.append(text(left + 16, y + tall / 2 + 4, str(e), text_anchor="end", fill=MUTED))
        served = min(len(queue), capacity)
        parts.append(_cells(x0, y, unit, tall, queue[:served], 0, SERVED))
        parts.append(_hatched(x0 + served * unit, y, (capacity - served) * unit, tall))
        parts.append(_cells(x0, y, unit, tall, queue[served:full], served, LOST, torn=len(queue) > full))
        if len(queue) > full:
            # A number where the rows are tall enough, or where none stands just above.
            roomy = y + tall / 2 - 5 >= free_from
            parts.append(_torn(scale.end, y, tall, len(queue) if roomy else None))
            free_from = y + tall / 2 + 6 if roomy else free_from
    edge = scale.at(capacity)
    line: dict[str, str | float] = {"x1": edge, "x2": edge, "y1": top - 4, "y2": top + height}
    touch = _by_places(state, scale) if live else {}
    parts.append(element("line", **line, stroke=INK, stroke_dasharray="5 3", **touch))
    return "".join(parts)


def _by_places(state: State, scale: Scale) -> dict[str, str | float]:
    """Drag the factor by the places that it gives, before they are rounded up."""
    p = state.params
    even = p.n_tokens * p.k / p.n_experts
    ends = FACTORS[0], FACTORS[-1]
    along = Along("Capacity factor", (scale.free(ends[0] * even), scale.free(ends[1] * even)), ends)
    return handle("the last place of each queue", {"Capacity factor": p.factor}, x=along)


def _ticks(scale: Scale, foot: float) -> str:
    """How many places: the same numbers at the same spots, whatever the factor."""
    parts = []
    for tick in round_ticks(scale.high, 4):
        if tick <= scale.high:
            x = scale.at(tick)
            parts.append(element("line", x1=x, x2=x, y1=foot, y2=foot + 4, stroke=MUTED))
            parts.append(text(x, foot + 15, f"{tick:g}", fill=MUTED, font_size=11, **_CENTRED))
    return "".join(parts)


def _torn(x: float, y: float, tall: float, length: int | None) -> str:
    """The end of a queue that goes on beyond the scale: a gap, an arrow and how long it is."""
    wide = min(5.0, max(2.0, tall / 3))
    slant = f"l{num(wide)} {num(-tall - 2)}h{num(wide)}l{num(-wide)} {num(tall + 2)}z"
    parts = [element("path", d=f"M{num(x - 3 * wide)} {num(y + tall + 1)}{slant}", fill=PAPER)]
    parts.append(pointer(x + 1, y + tall / 2, 1, 0, DARK, min(9, 0.7 * tall)))
    if length is not None:
        parts.append(text(x + 12, y + tall / 2 + 4, str(length), fill=DARK, font_weight="700"))
    return "".join(parts)


def _cells(
    x0: float,
    y: float,
    unit: float,
    tall: float,
    tokens: tuple[int, ...],
    start: int,
    ink: str,
    *,
    torn: bool = False,
) -> str:
    """Tokens side by side: numbered where there is room; dropped ones are crossed out.

    The last one of a torn queue has no number, for the gap would cut it.
    """
    if not tokens:
        return ""
    x, wide = x0 + start * unit, len(tokens) * unit
    lost = ink == LOST
    body = element("rect", x=x, y=y, width=wide, height=tall, fill=tint(LOST, 0.3) if lost else ink)
    if unit >= 3:  # lines between the tokens
        steps = "".join(f"M{num(x + i * unit)} {num(y)}v{num(tall)}" for i in range(1, len(tokens)))
        body += element("path", d=steps, stroke=PAPER, stroke_width=1) if steps else ""
    numbered = unit >= 17 and tall >= 16
    if lost:
        reach = min(unit, tall) * (0.42 if numbered else 0.36)
        step = max(1, round(5 / unit))  # no more crosses than can be told apart
        crosses = "".join(
            _cross(x + (i + 0.5) * unit, y + tall / 2, max(reach, 1.6)) for i in range(0, len(tokens), step)
        )
        # Under a number the cross is broad and pale, so that the number can be read.
        style: dict[str, str | float] = {"stroke": DARK, "stroke_width": 1.4}
        if numbered:
            style = {"stroke": tint(LOST, 0.6), "stroke_width": 3}
        body += element("path", d=crosses, fill="none", **style)
    if numbered:
        fill = INK if lost else ink_on(SERVED)
        for i, token in enumerate(tokens[: len(tokens) - torn]):
            middle = x + (i + 0.5) * unit
            body += text(middle, y + tall / 2 + 4, str(token), fill=fill, font_size=11, **_CENTRED)
    return body


def _cross(x: float, y: float, r: float) -> str:
    d = num(2 * r)
    return f"M{num(x - r)} {num(y - r)}l{d} {d}m-{d} 0l{d} -{d}"


def _hatched(x: float, y: float, width: float, height: float) -> str:
    """An empty stretch of places: an outline with slanting lines, clipped by arithmetic."""
    if width <= 0:
        return ""
    lines, at = [], 4.0
    while at < width + height:
        # From the bottom (or the left edge) up to the right by 45 degrees.
        x1, y1 = (at, height) if at <= width else (width, height - (at - width))
        x2, y2 = (at - height, 0.0) if at >= height else (0.0, height - at)
        lines.append(f"M{num(x + x1)} {num(y + y1)}L{num(x + x2)} {num(y + y2)}")
        at += 6
    box = element("rect", x=x, y=y, width=width, height=height, fill=PAPER, stroke=VOID, stroke_width=0.8)
    return box + element("path", d="".join(lines), stroke=VOID, stroke_width=0.8)


def in_order(state: State, left: float, top: float, width: float) -> str:
    """Draw the tokens of the batch from first to last, the ones that lost a choice crossed out below."""
    n_tokens = len(state.drops_T)
    unit = (width - 24) / n_tokens
    x0 = left + 24
    line = element("rect", x=x0, y=top, width=width - 24, height=9, fill=tint(SERVED, 0.75))
    lost = [t for t, drops in enumerate(state.drops_T) if drops]
    gone = "".join(
        f"M{num(x0 + t * unit)} {num(top)}h{num(max(unit, 1))}v9h-{num(max(unit, 1))}z" for t in lost
    )
    crosses = "".join(_cross(x0 + (t + 0.5) * unit, top + 15, 2.4) for t in lost)
    parts = [line]
    if lost:
        parts.append(element("path", d=gone, fill=tint(LOST, 0.45)))
        parts.append(element("path", d=crosses, stroke=DARK, stroke_width=1.2, fill="none"))
    last = n_tokens - 1
    words = f"tokens of the batch in order, 0 to {last}; × a choice of this token was dropped"
    parts.append(text(x0, top + 33, words, fill=MUTED))
    return "".join(parts)


def shares(state: State, left: float, top: float, width: float, height: float) -> str:
    """Draw both expected shares against the capacity factor, with this draw's as marks."""
    x0, x1, y0, y1 = left + 34, left + width - 6, top + height - 34, top + 30

    def place(factor: float, share: float) -> tuple[float, float]:
        span = FACTORS[-1] - FACTORS[0]
        return x0 + (factor - FACTORS[0]) / span * (x1 - x0), y0 - min(share, 1.0) * (y0 - y1)

    parts = [text(left, top + 12, "share (%)", fill=MUTED)]
    for percent in (0, 25, 50, 75, 100):
        _, y = place(1.0, percent / 100)
        parts.append(element("line", x1=x0, x2=x1, y1=y, y2=y, stroke=FAINT))
        parts.append(text(x0 - 5, y + 4, str(percent), text_anchor="end", fill=MUTED))
    for factor in (0.5, 1.0, 1.5, 2.0, 2.5):
        x, _ = place(factor, 0)
        parts.append(text(x, y0 + 15, f"{factor:g}", fill=MUTED, **_CENTRED))
    parts.append(text((x0 + x1) / 2, y0 + 31, "capacity factor", fill=MUTED, **_CENTRED))
    c = state.curves
    dropped = [place(f, s) for f, s in zip(FACTORS, c.dropped, strict=True)]
    empty = [place(f, s) for f, s in zip(FACTORS, c.empty, strict=True)]
    parts.append(polyline(empty, stroke=MUTED, stroke_width=2, stroke_dasharray="6 3"))
    parts.append(polyline(dropped, stroke=LOST, stroke_width=2))
    now, _ = place(state.params.factor, 0)
    drag = Along("Capacity factor", (x0, x1), (FACTORS[0], FACTORS[-1]))
    touch = handle("the capacity line", {"Capacity factor": state.params.factor}, x=drag)
    parts.append(
        element(
            "line",
            x1=now,
            x2=now,
            y1=y1,
            y2=y0,
            stroke=INK,
            stroke_width=1.6,
            stroke_dasharray="2 3",
            **touch,
        )
    )
    parts.append(element("circle", cx=now, cy=y1, r=5, fill=INK))
    x, y = place(state.params.factor, state.empty)
    parts.append(marker(1, x, y, 5, fill=PAPER, stroke=MUTED, stroke_width=2))
    x, y = place(state.params.factor, state.dropped)
    parts.append(element("path", d=_cross(x, y, 5), stroke=DARK, stroke_width=2.5, fill="none"))
    return "".join(parts)


def legend(state: State, left: float, top: float) -> str:
    """Name the two shares, drawn and expected, beside their signs."""
    sign = element("path", d=_cross(left + 8, top + 4, 5), stroke=DARK, stroke_width=2.5, fill="none")
    rows = [("rows dropped", state.dropped, state.expected_dropped)]
    rows.append(("places empty", state.empty, state.expected_empty))
    parts = [sign, marker(1, left + 8, top + 24, 5, fill=PAPER, stroke=MUTED, stroke_width=2)]
    for i, (name, drawn, expected) in enumerate(rows):
        y = top + 8 + 20 * i
        parts.append(text(left + 22, y, name))
        parts.append(text(left + 156, y, f"{100 * drawn:.1f} %", text_anchor="end", font_weight="700"))
        line: dict[str, str | float] = {"stroke": LOST if i == 0 else MUTED, "stroke_width": 2}
        if i:
            line["stroke_dasharray"] = "6 3"
        parts.append(element("line", x1=left + 164, x2=left + 180, y1=y - 4, y2=y - 4, **line))
        parts.append(text(left + 185, y, f"mean {100 * expected:.1f} %"))
    return "".join(parts)
