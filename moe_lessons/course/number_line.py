"""A learner's number and the true one, on one line."""

import math

from moe_lessons.svg.base import SANS, element, num, text

WIDTH, HEIGHT, EDGE = 460, 78, 34
INK, MUTED = "var(--moe-ink, #1b1b1b)", "var(--moe-muted, #595959)"
_AXIS_Y = 39
_LOG_FROM = 20
"""From this ratio on, the line is logarithmic."""


def number_line(yours: float, truth: float) -> str:
    """Draw both numbers as SVG: yours above the line, an open ring; the truth below it, a filled one.

    The line is logarithmic where one of two positive numbers is at least 20 times the other; it says so.

    Examples
    --------
    >>> drawn = number_line(0.5, 0.75)
    >>> 'aria-label="Your number, 0.5, and the true one, 0.75, on a line from 0 to 0.8"' in drawn
    True
    """
    positive = yours > 0 and truth > 0
    ratio = max(yours, truth) / min(yours, truth) if positive else 1.0
    logarithmic = ratio >= _LOG_FROM
    low, high = _ends(yours, truth, logarithmic)

    def place(value: float) -> float:
        at, left, right = (math.log(v) if logarithmic else v for v in (value, low, high))
        return EDGE + (at - left) / (right - left) * (WIDTH - 2 * EDGE)

    label = (
        f"Your number, {short(yours)}, and the true one, {short(truth)}, on a line "
        f"from {short(low)} to {short(high)}{', each step a factor' if logarithmic else ''}"
    )
    parts = [
        element("line", x1=EDGE, x2=WIDTH - EDGE, y1=_AXIS_Y, y2=_AXIS_Y, stroke=MUTED, stroke_width=1.5),
        *(_end(place(value), short(value)) for value in (low, high)),
        _mark(place(truth), _AXIS_Y + 32, f"the answer: {short(truth)}", INK),
        _mark(place(yours), _AXIS_Y - 19, f"you: {short(yours)}", "none"),
    ]
    if logarithmic:
        away = {"text_anchor": "start"} if place(truth) > WIDTH / 2 else {"text_anchor": "end"}
        at = 0 if place(truth) > WIDTH / 2 else WIDTH
        parts.append(text(at, HEIGHT - 7, "log scale", fill=MUTED, font_size=11, **away))
    return element(
        "svg",
        "".join(parts),
        xmlns="http://www.w3.org/2000/svg",
        width=WIDTH,
        height=HEIGHT,
        viewBox=f"0 0 {num(WIDTH)} {num(HEIGHT)}",
        role="img",
        aria_label=label,
        font_family=SANS,
        font_size=12.5,
        fill=INK,
        style="max-width:100%;height:auto",
    )


def short(value: float) -> str:
    """A number as it is written on the line.

    Examples
    --------
    >>> short(86016.0), short(0.75), short(1.3862943611198906), short(2.5e12)
    ('86,016', '0.75', '1.386', '2.5e+12')
    """
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.4g}"


def _ends(yours: float, truth: float, logarithmic: bool) -> tuple[float, float]:
    """Round ends that hold both numbers, and 0 where both are on one side of it and the line is linear."""
    if logarithmic:
        return (
            10.0 ** math.floor(math.log10(min(yours, truth))),
            10.0 ** math.ceil(math.log10(max(yours, truth)) + 1e-9),
        )
    step = 10.0 ** math.floor(math.log10(max(abs(yours), abs(truth)) or 1.0))
    low, high = min(yours, truth, 0.0), max(yours, truth, 0.0)
    step = next(s for s in (step / 5, step / 2, step, 2 * step, 5 * step) if (high - low) / s <= 10)
    return math.floor(low / step) * step, (math.ceil(high / step + 1e-9) or 1) * step


def _end(x: float, label: str) -> str:
    tick = element("line", x1=x, x2=x, y1=_AXIS_Y - 4, y2=_AXIS_Y + 4, stroke=MUTED, stroke_width=1.5)
    return tick + text(x, _AXIS_Y + 18, label, fill=MUTED, text_anchor="middle", font_size=11)


def _mark(x: float, y: float, label: str, fill: str) -> str:
    anchor = "start" if x < 90 else "end" if x > WIDTH - 90 else "middle"
    at = x - 6 if anchor == "start" else x + 6 if anchor == "end" else x
    ring = element(
        "circle", cx=x, cy=_AXIS_Y, r=6 if fill == "none" else 3.5, fill=fill, stroke=INK, stroke_width=2
    )
    return ring + text(at, y, label, text_anchor=anchor, font_weight="600")
