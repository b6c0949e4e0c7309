"""The panels of the load-loss surface: the plane of pairs, the tokens behind one pair, the loss on a line."""

import math
from collections.abc import Sequence
from functools import cache

from moe_lessons.explore.handles import Along, handle
from moe_lessons.explore.scale import Scale
from moe_lessons.explore.surface.state import LOWEST, State
from moe_lessons.svg import ACCENT, element, marker, num, text, tint

INK, MUTED, FAINT = "#1a1a1a", "#595959", "#d9d9d9"
ABOVE, BELOW = "#9A3F00", "#00548A"
LEVELS = (1.75, 1.5, 1.25, 0.9, 0.8, 0.6)
HALO: dict[str, str | float] = {"paint_order": "stroke", "stroke": "#ffffff", "stroke_width": 3}
# Drawn with lines and dots as well as colour; a drawing has these definitions once, however many planes.
PATTERNS = (
    '<defs><pattern id="surface-no" width="7" height="7" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect width="7" height="7" fill="#ececec"/>'
    '<rect width="1.6" height="7" fill="#9a9a9a"/></pattern>'
    '<pattern id="surface-co" width="12" height="12" patternUnits="userSpaceOnUse">'
    '<circle cx="6" cy="6" r="1.1" fill="#8a3d00"/></pattern></defs>'
)


def plane(state: State, left: float, top: float, side: float) -> str:
    """Draw all pairs: shade for the loss, dots where co-sorted, hatching where no tokens can be."""
    f, P = state.params.f, state.params.P
    x, y = f * side, (1 - P) * side
    fill = "#ffffff" if state.reachable else "#9a9a9a"
    parts = [_background(side)]
    parts.append(element("line", x1=x, x2=x, y1=side, y2=y, stroke=INK, stroke_dasharray="3 3"))
    parts.append(element("line", x1=0, x2=x, y1=y, y2=y, stroke=INK, stroke_dasharray="3 3"))
    if side > 300:
        parts.append(_push(state, x, y, side))
    touch: dict[str, str | float] = {}
    if side > 300:
        across, upwards = Along("f₁ (%)", (0, side), (0, 100)), Along("P₁ (%)", (side, 0), (0, 100))
        touch = handle("the point", {"f₁ (%)": 100 * f, "P₁ (%)": 100 * P}, x=across, y=upwards)
    parts.append(element("circle", cx=x, cy=y, r=7, fill=fill, stroke=INK, stroke_width=2.5, **touch))
    return element("g", "".join(parts), transform=f"translate({num(left)} {num(top)})")


@cache
def _background(side: float) -> str:
    """Everything on the plane that does not move."""
    large = side > 300
    half = side / 2
    parts = []
    for i, j in ((0, 0), (1, 1), (0, 1), (1, 0)):
        alike = i != j  # up and right, or down and left: y runs downwards
        box = {"x": half * i, "y": half * j, "width": half, "height": half}
        parts.append(element("rect", **box, fill=tint(ABOVE if alike else BELOW, 0.12)))
        if alike:
            parts.append(element("rect", **box, fill="url(#surface-co)"))
    for level in LEVELS:
        for mirrored in (False, True):
            parts.append(_band(level, mirrored, side))
    for corner in ([(0, 0.5), (0, 1), (1, 1)], [(0, 0), (1, 0), (1, 0.5)]):
        points = " ".join(f"{num(u * side)},{num((1 - v) * side)}" for u, v in corner)
        parts.append(element("polygon", points=points, fill="url(#surface-no)", stroke=MUTED))
    for at in ({"x1": half, "x2": half, "y1": 0, "y2": side}, {"x1": 0, "x2": side, "y1": half, "y2": half}):
        parts.append(element("line", **at, stroke=INK, stroke_width=1.6))
    parts.append(element("rect", x=0, y=0, width=side, height=side, fill="none", stroke="#8c8c8c"))
    for u, v in (LOWEST, (1 - LOWEST[0], 1 - LOWEST[1])):
        parts.append(marker(3, u * side, (1 - v) * side, 6 if large else 4.5, fill=INK))
        if large:
            down = v < 0.5
            parts.append(
                text(
                    u * side + (12 if down else -12),
                    (1 - v) * side + (16 if down else -8),
                    "0.875",
                    font_weight="700",
                    text_anchor="start" if down else "end",
                    **HALO,
                )
            )
    if large:
        parts += _words(side)
    parts += _axes(side, large)
    return "".join(parts)


def _band(level: float, mirrored: bool, side: float) -> str:
    """The part of a quadrant beyond a contour (2f - 1)(2P - 1) = level - 1, from the curve to its corner."""
    product = level - 1
    turn = 1 if product > 0 else -1
    steps = 10
    low = abs(product)
    us = [low * (1 / low) ** (i / steps) for i in range(steps + 1)]
    curve = [(u, product / u) for u in us] + [(1.0, float(turn))]
    signed = [(-u, -v) if mirrored else (u, v) for u, v in curve]
    points = " ".join(f"{num((1 + u) / 2 * side)},{num((1 - v) / 2 * side)}" for u, v in signed)
    return element(
        "polygon",
        points=points,
        fill=ABOVE if turn > 0 else BELOW,
        fill_opacity="0.16",
        stroke=ABOVE if turn > 0 else BELOW,
        stroke_width=0.8,
    )


def _words(side: float) -> list[str]:
    """Names of the regions and of the contours that have room for one."""
    small: dict[str, str | float] = {"text_anchor": "middle", "font_size": 11.5, **HALO}
    at: Sequence[tuple[float, float, str]] = (
        (0.77, 0.53, "co-sorted: 1 or more"),
        (0.23, 0.45, "co-sorted: 1 or more"),
        (0.19, 0.925, "no tokens can do this"),
        (0.83, 0.07, "no tokens can do this"),
        (0.86, 0.46, "below 1"),
        (0.14, 0.53, "below 1"),
        (0.90, 0.81, "1.5"),
        (0.80, 0.70, "1.25"),
        (0.955, 0.915, "1.75"),
        (0.10, 0.17, "1.5"),
        (0.20, 0.29, "1.25"),
        (0.045, 0.075, "1.75"),
    )
    return [text(u * side, (1 - v) * side, words, **small) for u, v, words in at]


def _axes(side: float, large: bool) -> list[str]:
    parts = []
    for share in (0, 25, 50, 75, 100):
        at = share / 100 * side
        if large or share in (0, 50, 100):
            parts.append(text(at, side + 15, str(share), text_anchor="middle", fill=MUTED))
            parts.append(text(-5, side - at + 4, str(share), text_anchor="end", fill=MUTED))
    if large:
        parts.append(text(side / 2, side + 32, "f₁: tokens that go to expert 1 (%)", text_anchor="middle"))
    return parts


def _push(state: State, x: float, y: float, side: float) -> str:
    """Where one step of gradient descent pushes P; nothing at an even load."""
    if abs(state.slope) < 0.02:
        return ""
    # Never hidden by the point itself, and longer the harder the push.
    tall = math.copysign(20, state.slope) + 14 * state.slope
    tail, tip = y, y + tall
    if not 0 <= tip <= side:
        # No room: as long as ever, beside the point, with its tip at the edge.
        tip = min(max(tip, 0), side)
        tail = tip - tall
        x += 14 if x < side / 2 else -14
    back = -7 if tall > 0 else 7
    head = f"{num(x - 5)},{num(tip + back)} {num(x + 5)},{num(tip + back)} {num(x)},{num(tip)}"
    line = element("line", x1=x, x2=x, y1=tail, y2=tip, stroke=INK, stroke_width=3)
    return line + element("polygon", points=head, fill=INK)


def tokens(state: State, left: float, top: float, width: float, height: float, note: str = "") -> str:
    """Draw tokens that produce the pair: a column for each expert's tokens; the filled area is P."""
    parts = [text(left, top - 8, note or "probability of expert 1 (%), by token", fill=MUTED)]
    x0, full = left + 30, width - 30
    f = state.params.f
    split = x0 + f * full
    parts.append(element("rect", x=x0, y=top, width=full, height=height, fill="#ffffff", stroke="#8c8c8c"))
    if state.sure is None:
        parts.append(
            element("rect", x=x0, y=top, width=full, height=height, fill="url(#surface-no)", stroke="#8c8c8c")
        )
        reach = f"P₁ has to lie between {100 * state.low:.4g} and {100 * state.high:.4g} %"
        parts.append(_centred(x0 + full / 2, top + height / 2 - 4, "no tokens can do this:"))
        parts.append(_centred(x0 + full / 2, top + height / 2 + 14, reach))
    else:
        for group, (start, wide) in enumerate(((x0, split - x0), (split, x0 + full - split))):
            tall = state.sure[group] * height
            y = top + height - tall
            parts.append(element("rect", x=start, y=y, width=wide, height=tall, fill=tint(ACCENT, 0.35)))
            if wide > 46:
                value = f"{100 * state.sure[group]:.3g} %"
                inside = min(y + 15, top + height - 6) if tall > 22 else y - 5
                parts.append(_centred(start + wide / 2, inside, value))
        parts.append(element("line", x1=split, x2=split, y1=top, y2=top + height, stroke=INK, stroke_width=2))
        middle = top + height / 2
        parts.append(
            element("line", x1=x0, x2=x0 + full, y1=middle, y2=middle, stroke=INK, stroke_dasharray="6 4")
        )
    for share in (0, 50, 100):
        y = top + height * (1 - share / 100) + 4
        parts.append(text(x0 - 5, y, str(share), text_anchor="end", fill=MUTED))
    foot = top + height + 16
    for name, start, end in (("1", x0, split), ("2", split, x0 + full)):
        label = f"go to expert {name}" if end - start > 84 else f"to {name}" if end - start > 26 else name
        if end - start > 8:
            parts.append(_centred((start + end) / 2, foot, label))
    return "".join(parts)


def _centred(x: float, y: float, words: str) -> str:
    return text(x, y, words, text_anchor="middle", **HALO)


def gauge(state: State, left: float, top: float, width: float) -> str:
    """Draw the loss on a line from 0 to 2, all that it can be, with the balanced value and the lowest."""
    at = Scale(0, 2, left, left + width).at
    y = top + 30
    parts = [text(left, top, f"loss {state.loss:.3f}", font_size=15, font_weight="600")]
    for low, high, fill in ((0.875, 1, tint(BELOW, 0.35)), (1, 2, tint(ABOVE, 0.28))):
        parts.append(element("rect", x=at(low), y=y - 7, width=at(high) - at(low), height=14, fill=fill))
    below = {"x": at(0), "y": y - 7, "width": at(0.875) - at(0), "height": 14}
    parts.append(element("rect", **below, fill="url(#surface-no)"))
    for value, label, shift in (
        (0, "0", 0),
        (0.5, "0.5", 0),
        (0.875, "0.875", -9),
        (1, "1", 5),
        (1.5, "1.5", 0),
        (2, "2", 0),
    ):
        parts.append(element("line", x1=at(value), x2=at(value), y1=y - 10, y2=y + 10, stroke=INK))
        parts.append(text(at(value) + shift, y + 25, label, text_anchor="middle", fill=MUTED))
    x = at(state.loss)
    head = f"{num(x - 6)},{num(y - 19)} {num(x + 6)},{num(y - 19)} {num(x)},{num(y - 8)}"
    return "".join(parts) + element("polygon", points=head, fill=INK)
