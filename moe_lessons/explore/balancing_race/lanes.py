"""The lanes of the balancing race: each with its letter, its columns of load and its two numbers."""

from moe_lessons.explore.balancing_race.state import E, State
from moe_lessons.svg import SERIES, color, element, ink_on, rim, text

INK, MUTED, FAINT, PAPER = "#1a1a1a", "#595959", "#d9d9d9", "#ffffff"
INKS = (SERIES[3], SERIES[1], SERIES[0], SERIES[2])
"""One per lane: its letter stands on it, and no expert has it."""
LETTERS = "NLBE"
HALO: dict[str, str | float] = {"paint_order": "stroke", "stroke": PAPER, "stroke_width": 3}
FULL = 3.0
"""Height of a column's box, in even shares: 37.5 % with eight experts."""


def thousandths(difference: float) -> str:
    """Write a difference of errors in thousandths, with its sign.

    Examples
    --------
    >>> thousandths(0.0421), thousandths(-0.279), thousandths(0.0001)
    ('+42', '−279', '0')
    """
    rounded = round(1000 * difference)
    return f"{rounded:+d}".replace("-", "−") if rounded else "0"


def badge(lane: int, x: float, y: float, radius: float = 9) -> str:
    """A lane's letter on its colour."""
    disc = element("circle", cx=x, cy=y, r=radius, fill=INKS[lane], stroke="#ffffff", stroke_width=1.5)
    letter: dict[str, str | float] = {
        "text_anchor": "middle",
        "font_weight": "700",
        "fill": ink_on(INKS[lane]),
        "font_size": 11,
    }
    return disc + text(x, y + 4, LETTERS[lane], **letter)


def lane_of(state: State, lane: int, left: float, top: float, width: float) -> str:
    """One lane: its name and setting, a column per expert over the even share, MaxVio and error."""
    p, one = state.params, state.lanes[lane]
    setting = ("", f", alpha {p.alpha:g}", f", step {p.rate:g}", "")[lane]
    head = badge(lane, left + 9, top + 8) + text(left + 24, top + 12, one.name + setting, font_weight="600")
    numbers = text(left + width + 8, top + 40, f"MaxVio {one.vio:.2f}") + text(
        left + width + 8, top + 56, f"error {one.error:.3f}"
    )
    return head + numbers + columns(one.load_E, left, top + 18, width, 46)


def columns(load_E: list[float], left: float, top: float, width: float, height: float) -> str:
    """Draw a column per expert, up to three even shares; one that is higher is torn and has its number."""
    step, base = width / E, top + height
    even = base - height / FULL
    parts = [element("rect", x=left, y=top, width=width, height=height, fill="#f7f7f7")]
    numbers = []
    for e, share in enumerate(load_E):
        x, tall = left + step * e, min(share * E / FULL, 1.0) * height
        shape = {"x": x + 3, "y": base - tall, "width": step - 6, "height": max(tall, 0.5)}
        parts.append(element("rect", **shape, fill=color(e), **rim(color(e))))
        middle = x + step / 2
        if share * E > FULL:
            gap = f"M{x + 1:.1f} {top + 9:.1f}l{step - 2:.1f} -4"
            parts.append(element("path", d=gap, stroke=PAPER, stroke_width=3))
            said = f"{100 * share:.0f} %"
            numbers.append(text(middle, top - 1, f"▲ {said}", text_anchor="middle", font_size=10, **HALO))
        if width > 200:
            parts.append(text(middle, base + 12, str(e), text_anchor="middle", font_size=10, fill=MUTED))
    parts.append(
        element("line", x1=left, x2=left + width, y1=even, y2=even, stroke=INK, stroke_dasharray="2 3")
    )
    return "".join(parts + numbers)
