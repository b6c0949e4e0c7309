"""Strips of tokens: a dot for each that stays, a square for each that slips, along a scale."""

from collections.abc import Sequence
from functools import lru_cache

from moe_lessons.explore.scale import Scale, pointer
from moe_lessons.explore.slip.state import recorded
from moe_lessons.svg import ACCENT, SERIES, element, num, text
from moe_lessons.svg.numbers import log_label
from moe_lessons.svg.palette import FAINT, INK, MUTED

STAYS, SLIPS = SERIES[3], ACCENT
LEFT, RIGHT, FAR = 98.0, 440.0, 566.0
"""Where the strips of the layers, and those of the log ratios, begin and end."""
SCALES = {
    "place": Scale(0, 63, LEFT + 6, RIGHT - 6),
    "letter": Scale(10, 100_000, LEFT, RIGHT, log=True),
    "margin": Scale(1e-5, 1, LEFT, RIGHT, log=True),
}
RATIOS = Scale(1e-7, 1, LEFT, FAR, log=True)
SPREAD = 13.0
"""Height over which the dots of a strip are spread, so that neighbours do not cover each other."""


def values(order: str, layer: int) -> Sequence[float]:
    """What the tokens of a layer are sorted by.

    Examples
    --------
    >>> values("place", 0)[62:66]
    [62, 63, 0, 1]
    """
    found = recorded()
    if order == "place":
        return [t % found.window for t in range(found.n_tokens)]
    if order == "letter":
        return [found.seen[letter] for letter in found.text]
    return found.margins[layer]


def strip(where: Sequence[float], slipped: Sequence[bool], scale: Scale, middle: float) -> str:
    """Draw tokens along a scale: dots for those that stay, squares in front of them for those that slip.

    Examples
    --------
    >>> strip((1.0,), (True,), Scale(0, 2, 0, 10), 20)
    '<path d="M5,13.5h0" stroke="#5b3fb0" stroke-width="5" stroke-linecap="square"/>'
    """
    places = _places(tuple(where), scale, middle)
    parts = []
    for slips, ink, width, cap in ((False, STAYS, 3.2, "round"), (True, SLIPS, 5, "square")):
        # A line of no length is all cap: one path for hundreds of marks.
        drawn = "".join(place for place, is_so in zip(places, slipped, strict=True) if is_so is slips)
        if drawn:
            parts.append(element("path", d=drawn, stroke=ink, stroke_width=width, stroke_linecap=cap))
    for beyond in {scale.beyond(value) for value in where} - {0}:
        end = scale.end if beyond > 0 else scale.start
        parts.append(pointer(end + 5 * beyond, middle, beyond, 0, MUTED, 7))
    return "".join(parts)


def spot(value: float, token: int, scale: Scale, middle: float) -> tuple[float, float]:
    """Where a token's mark lies.

    Examples
    --------
    >>> spot(1.0, 0, Scale(0, 2, 0, 10), 20)
    (5.0, 13.5)
    """
    return scale.at(value), middle + SPREAD * (5 * token % 13 / 12 - 0.5)


@lru_cache(maxsize=128)
def _places(where: tuple[float, ...], scale: Scale, middle: float) -> tuple[str, ...]:
    spots = (spot(value, token, scale, middle) for token, value in enumerate(where))
    return tuple(f"M{num(x)},{num(y)}h0" for x, y in spots)


def axis(scale: Scale, top: float, bottom: float, every: int = 1) -> str:
    """Draw faint lines through the strips, and below them the label of each, or of every n-th."""
    parts = []
    for i, tick in enumerate(_ticks(scale)):
        x, label = scale.at(tick), f"{tick:.0f}" if not scale.log else log_label(tick)
        parts.append(element("line", x1=x, x2=x, y1=top, y2=bottom + 4, stroke=FAINT))
        if i % every == 0:
            parts.append(text(x, bottom + 16, label, text_anchor="middle", fill=MUTED))
    parts.append(element("line", x1=scale.start, x2=scale.end, y1=bottom, y2=bottom, stroke=INK))
    return "".join(parts)


def _ticks(scale: Scale) -> list[float]:
    if not scale.log:
        return [0, 16, 32, 48, 63]
    return [10.0**power for power in range(-7, 6) if scale.low * 0.99 <= 10.0**power <= scale.high * 1.01]
