"""Horizontal bars on a fixed scale: a longer bar is a larger number, and one that does not fit says so."""

from moe_lessons.svg.base import element, num, text
from moe_lessons.svg.palette import PAPER

TEAR = 7.0
"""Width of the gap that marks a bar as torn off at the end of the scale."""


def bar(
    x: float, y: float, height: float, value: float, full: float, width: float, label: str, fill: str
) -> str:
    """Draw a bar from ``x`` to the right, with its label at its end.

    Parameters
    ----------
    value, full : float
        The number, and the number whose bar has the whole ``width``. Keep ``full`` the same from frame to
        frame: what is longer is then more.
    label : str
        The number in words; "off the scale" follows it where ``value`` exceeds ``full``.

    Examples
    --------
    >>> "off the scale" in bar(0, 0, 18, 3, 4, 100, "3 GB", "#5b3fb0")
    False
    >>> "5 GB, off the scale" in bar(0, 0, 18, 5, 4, 100, "5 GB", "#5b3fb0")
    True
    """
    wide = max(width * min(value / full, 1.0), 0.6)
    parts = [element("rect", x=x, y=y, width=wide, height=height, fill=fill)]
    middle = y + height / 2 + 5
    if value <= full:
        return "".join([*parts, text(x + wide + 5, middle, label)])
    # A slanted gap near the end, as in a torn strip.
    at, low, high = x + wide - 2.2 * TEAR, y + height + 1, y - 1
    corners = ((0, low), (1, high), (1.6, high), (0.6, low))
    gap = " ".join(f"{num(at + right * TEAR)},{num(down)}" for right, down in corners)
    parts.append(element("polygon", points=gap, fill=PAPER))
    return "".join([*parts, text(x + wide + 5, middle, f"{label}, off the scale")])
