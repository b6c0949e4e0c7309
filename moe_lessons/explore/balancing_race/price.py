"""The price of balance: error against MaxVio, with a strip above and below for what is off the scale."""

from moe_lessons.explore.balancing_race.lanes import (
    FAINT,
    INK,
    INKS,
    LETTERS,
    MUTED,
    badge,
    thousandths,
)
from moe_lessons.explore.balancing_race.state import State
from moe_lessons.explore.scale import Scale, apart, pointer
from moe_lessons.svg import element, ink_on, num, text

LOWEST, HIGHEST, MOST_VIO = -20.0, 100.0, 1.5
"""The map's limits: the difference of errors in thousandths, and MaxVio; no setting has a larger MaxVio.

They hold the end of the race, where thousandths matter. At its beginning some lanes lie far outside, and
a scale with room for them would put all the lanes of the end on one spot.
"""
STRIP, PILL = 34.0, 54.0


def price(state: State, left: float, top: float, width: float, height: float) -> str:
    """Draw every setting of both knobs as a curve from low to high, and the four lanes as badges.

    What lies above or below the scale has an arrow in the strip there, and its number.
    """
    x = Scale(0, MOST_VIO, left, left + width)
    y = Scale(LOWEST, HIGHEST, top + height - STRIP, top + STRIP)
    parts = [text(left - 34, 14, "error above that without balancing (thousandths)", fill=MUTED)]
    parts += [_axes(x, y, top, height)]
    for lane, curve, dash in ((1, state.loss_curve, "7 3"), (2, state.bias_curve, "")):
        spots = [(vio, _cost(state, error)) for vio, error in curve]
        parts.append(_curve(spots, x, y, INKS[lane], dash))
    for side in (1, -1):
        parts.append(_strip(state, side, x, y))
    parts += _inside(state, x, y)
    return "".join(parts)


def _cost(state: State, error: float) -> float:
    return 1000 * (error - state.lanes[0].error)


def _axes(x: Scale, y: Scale, top: float, height: float) -> str:
    parts = []
    for strip in (top, top + height - STRIP):
        parts.append(element("rect", x=x.start, y=strip, width=x.end - x.start, height=STRIP, fill="#f0f0f0"))
        outwards = strip + (0 if strip == top else 8)  # away from the tick label at the strip's edge
        for i, word in enumerate(("off the", "scale")):
            place: dict[str, str | float] = {"text_anchor": "end", "font_size": 10}
            parts.append(text(x.start - 13, outwards + 9 + 11 * i, word, fill=MUTED, **place))
    for level in (-20, 0, 20, 40, 60, 80, 100):
        at = y.at(level)
        stroke = INK if level == 0 else FAINT
        parts.append(element("line", x1=x.start, x2=x.end, y1=at, y2=at, stroke=stroke))
        # Clear of a badge that stands on the axis.
        parts.append(text(x.start - 13, at + 4, thousandths(level / 1000), text_anchor="end", fill=MUTED))
    foot = top + height
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4):
        parts.append(text(x.at(tick), foot + 14, f"{tick:g}", text_anchor="middle", fill=MUTED))
    axis = "MaxVio: the fullest expert's excess (even is 0)"
    parts.append(text((x.start + x.end) / 2, foot + 30, axis, text_anchor="middle", fill=MUTED))
    return "".join(parts)


def _curve(spots: list[tuple[float, float]], x: Scale, y: Scale, ink: str, dash: str) -> str:
    """A line that leaves the picture where it leaves the scale; dots on it, arrows where it is outside."""
    line = " ".join(f"{num(x.free(vio))},{num(y.free(cost))}" for vio, cost in spots)
    style: dict[str, str | float] = {"stroke_dasharray": dash} if dash else {}
    drawn = element("polyline", points=line, fill="none", stroke=ink, stroke_width=1.5, **style)
    box = {"x": x.start, "y": y.end, "width": x.end - x.start, "height": y.start - y.end}
    view = " ".join(num(value) for value in box.values())
    parts = [element("svg", drawn, **box, viewBox=view)]  # a nested <svg> clips
    for vio, cost in spots:
        out = y.beyond(cost)
        at = (x.at(vio), y.at(cost))
        parts.append(
            pointer(*at, 0, -out, ink, 5) if out else element("circle", cx=at[0], cy=at[1], r=2.8, fill=ink)
        )
    return "".join(parts)


def _strip(state: State, side: int, x: Scale, y: Scale) -> str:
    """Lanes above (side 1) or below (-1) the scale: an arrow at their MaxVio, letter and number behind it."""
    costs = [_cost(state, lane.error) for lane in state.lanes]
    outside = sorted((state.lanes[i].vio, i) for i, cost in enumerate(costs) if y.beyond(cost) == side)
    edge = y.end if side > 0 else y.start
    if not outside:
        return ""
    middles = apart([x.at(vio) for vio, _ in outside], PILL + 3, x.start + PILL / 2 - 9, x.end - PILL / 2 + 4)
    middle_y = edge - side * 22
    parts = []
    for (vio, lane), middle in zip(outside, middles, strict=True):
        at = x.at(vio)
        parts.append(pointer(at, edge, 0, -side, INKS[lane], 11))
        box = {"x": middle - PILL / 2, "y": middle_y - 9, "width": PILL, "height": 18}
        parts.append(element("rect", **box, rx=9, fill=INKS[lane], stroke="#ffffff", stroke_width=1.5))
        label: dict[str, str | float] = {"text_anchor": "middle", "fill": ink_on(INKS[lane]), "font_size": 11}
        said = f"{LETTERS[lane]} {thousandths(costs[lane] / 1000)}"
        parts.append(text(middle, middle_y + 4, said, font_weight="700", **label))
    return "".join(parts)


def _inside(state: State, x: Scale, y: Scale) -> list[str]:
    """The badges of lanes on the scale; one that would hide another steps aside, tied to its spot."""
    parts: list[str] = []
    placed: list[tuple[float, float]] = []
    steps = ((0, 0), (0, -20), (20, 0), (0, 20), (-20, 0), (18, -18), (18, 18), (0, -40), (38, 0))
    for lane in (0, 3, 1, 2):
        one = state.lanes[lane]
        if y.beyond(_cost(state, one.error)):
            continue
        spot = (x.at(one.vio), y.at(_cost(state, one.error)))
        free = [
            (spot[0] + dx, spot[1] + dy)
            for dx, dy in steps
            if all((spot[0] + dx - a) ** 2 + (spot[1] + dy - b) ** 2 > 18**2 for a, b in placed)
            and (dx == dy == 0 or _within(spot[0] + dx, spot[1] + dy, x, y))
        ]
        at = free[0] if free else spot
        if at != spot:
            parts.append(element("line", x1=spot[0], y1=spot[1], x2=at[0], y2=at[1], stroke=INKS[lane]))
            parts.append(element("circle", cx=spot[0], cy=spot[1], r=4, fill="#ffffff", stroke=INKS[lane]))
        placed.append(at)
        parts.append(badge(lane, *at))
    return parts


def _within(at_x: float, at_y: float, x: Scale, y: Scale) -> bool:
    """Whether a whole badge lies on the map, right of the tick labels."""
    return x.start <= at_x <= x.end - 9 and y.end + 9 <= at_y <= y.start - 9
