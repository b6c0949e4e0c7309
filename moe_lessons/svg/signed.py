"""Numbers with a sign in small cells: two hues, and a bar that leans to the side of the sign."""

from moe_lessons.svg.base import element, num, text
from moe_lessons.svg.palette import INK, MUTED, tint

ABOVE, BELOW = "#00548A", "#9A3F00"
"""The darkest cell above zero, and below."""
_BAR = 4.0


def shade(value: float, full: float) -> str:
    """Colour of a number: white at 0, blue above it, orange below, darkest from ``full`` on.

    >>> shade(0.5, 0.5), shade(-0.5, 0.5), shade(0, 0.5)
    ('#00548a', '#9a3f00', '#ffffff')
    """
    return tint(BELOW if value < 0 else ABOVE, min(abs(value) / full, 1.0))


def lean(x: float, y: float, width: float, value: float, full: float, ink: str) -> str:
    """Draw a number as a thin bar from the middle of ``width``: to the right above 0, to the left below.

    Its direction is the sign and its length the size, for whoever cannot tell the hues apart. One that is
    beyond ``full`` ends in an arrow.

    >>> lean(0, 0, 40, 0.25, 0.5, "#000000")
    '<rect x="20" y="0" width="10" height="4" fill="#000000"/>'
    """
    middle, half = x + width / 2, width / 2
    long = half * min(abs(value) / full, 1.0)
    start = middle - long if value < 0 else middle
    bar = element("rect", x=start, y=y, width=long, height=_BAR, fill=ink)
    if abs(value) <= full:
        return bar
    side = -1 if value < 0 else 1
    tip, back = middle + side * half, middle + side * (half - 6)
    corners = ((tip + side * 3, y + _BAR / 2), (back, y - 3), (back, y + _BAR + 3))
    arrow = element("polygon", points=" ".join(f"{num(a)},{num(b)}" for a, b in corners), fill=ink)
    return bar + arrow


def beyond(x: float, y: float, ink: str) -> str:
    """Mark the upper right corner (x, y) of a cell whose number is larger than the darkest shade says."""
    return element(
        "polygon", points=f"{num(x - 8)},{num(y)} {num(x)},{num(y)} {num(x)},{num(y + 8)}", fill=ink
    )


def key(x: float, y: float) -> str:
    """Say what the two hues and the two directions mean."""
    parts = []
    for side, hue, words, at in (
        (-1, BELOW, "below 0, bar to the left", 0),
        (1, ABOVE, "above 0, to the right", 172),
    ):
        parts.append(element("rect", x=x + at, y=y - 10, width=20, height=12, fill=tint(hue, 0.5)))
        parts.append(lean(x + at + 1, y - 3, 18, side, 1, INK))
        parts.append(text(x + at + 26, y, words, fill=MUTED, font_size=11))
    return "".join(parts)
