"""Axes, linear and logarithmic: where a value lies, where the ticks are, and how they are drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from moe_lessons.svg.base import element, text
from moe_lessons.svg.letters import text_width, wrap
from moe_lessons.svg.numbers import log_label, tick_label
from moe_lessons.svg.palette import FAINT, INK, MUTED

MOST_DECADES = 7


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round positions that cover ``low`` to ``high``, about ``count`` of them.

    >>> nice_ticks(0, 100)
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    """
    # Values that agree to rounding are one level, not a range to zoom into.
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-9):
        high = low + (abs(low) or 1.0)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from ``low`` to ``high``; where there are few, also their doubles and halves.

    >>> log_ticks(1, 10_000), log_ticks(1, 64)
    ([1.0, 10.0, 100.0, 1000.0, 10000.0], [1.0, 2.0, 5.0, 10.0, 20.0, 50.0])
    """
    decades = _steps(low, high, (1,))
    if len(decades) >= 3:
        every = -(-len(decades) // MOST_DECADES)
        return decades[::every]
    finer = _steps(low, high, (1, 2, 5))
    return finer if len(finer) >= 3 else [t for t in nice_ticks(low, high) if low <= t <= high]


def _steps(low: float, high: float, digits: Sequence[int]) -> list[float]:
    """Every digit times a power of ten, from low to high."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in digits]
    return [value for value in every if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


@dataclass(frozen=True)
class Axis:
    """From where to where, on which scale, with which ticks.

    >>> Axis(1, 100, (1, 10, 100), log=True).at(10)
    0.5
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """Place of a value: 0 at the lower end, 1 at the upper one, and never beyond."""
        low, high, here = self.low, self.high, value
        if self.log:
            low, high, here = (math.log(max(v, 1e-300)) for v in (low, high, value))
        return min(max((here - low) / (high - low), 0.0), 1.0)

    def beyond(self, value: float) -> int:
        """-1 below the axis, 1 above it, 0 on it, give or take rounding."""
        slack = 1e-9 * (self.high - self.low)
        return int(value > self.high + slack) - int(value < self.low - slack)

    def label(self, tick: float) -> str:
        """The tick as it is written."""
        return log_label(tick) if self.log else tick_label(tick)


def covering(low: float, high: float, *, log: bool) -> Axis:
    """Make an axis that begins and ends at a tick.

    >>> covering(3, 98, log=False).ticks, covering(3, 98, log=True).ticks
    ((0.0, 20.0, 40.0, 60.0, 80.0, 100.0), (2.0, 5.0, 10.0, 20.0, 50.0, 100.0))
    """
    if not log:
        ticks = nice_ticks(low, high)
        return Axis(ticks[0], ticks[-1], tuple(ticks))
    high = high if high > low else 10 * low
    around = _steps(low / 10, high * 10, (1, 2, 5))
    low = max(v for v in around if v <= low * (1 + 1e-9))
    high = min(v for v in around if v >= high * (1 - 1e-9))
    return Axis(low, high, tuple(log_ticks(low, high)), log=True)


def within(low: float, high: float, *, log: bool, whole: bool = False) -> Axis:
    """Make an axis that begins and ends just there, with the ticks that lie inside.

    >>> within(0, 3, log=False, whole=True).ticks
    (0.0, 1.0, 2.0, 3.0)
    """
    high = high if high > low else (10 * low if log else low + 1)
    ticks = log_ticks(low, high) if log else nice_ticks(low, high)
    kept = (t for t in ticks if low <= t <= high * (1 + 1e-9) and (t.is_integer() or not whole))
    return Axis(low, high, tuple(kept), log)


def left_of(axis: Axis) -> float:
    """Room in px that the labels of an upright axis need.

    >>> left_of(Axis(0, 1, (0, 1)))
    44
    """
    return max(44, 14 + max(text_width(axis.label(t), 12) for t in axis.ticks))


def y_axis(axis: Axis, label: Sequence[str], left: float, right: float, top: float, bottom: float) -> str:
    """Grid lines, tick labels and the lines of the axis label, flat above the axis so that it can be read."""
    parts = [text(8, 16 + 15 * i, line, fill=MUTED) for i, line in enumerate(label)]
    for tick in axis.ticks:
        y = bottom - axis.at(tick) * (bottom - top)
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, stroke=FAINT))
        parts.append(text(left - 6, y + 4, axis.label(tick), text_anchor="end", fill=MUTED))
    return "".join(parts)


def x_axis(axis: Axis, left: float, right: float, bottom: float) -> str:
    """Ticks and their labels under a line; on a logarithmic axis also short ticks between them."""
    parts = []

    def tick_at(value: float, long: float) -> float:
        x = left + axis.at(value) * (right - left)
        parts.append(element("line", x1=x, x2=x, y1=bottom, y2=bottom + long, stroke=INK))
        return x

    decades = math.log10(axis.high / axis.low) if axis.log else 0
    if 1 <= decades <= MOST_DECADES - 1:
        for between in set(_steps(axis.low, axis.high, range(1, 10))) - set(axis.ticks):
            tick_at(between, 2.5)
        parts.sort()
    for tick in axis.ticks:
        x = tick_at(tick, 5)
        parts.append(text(x, bottom + 18, axis.label(tick), text_anchor="middle", fill=MUTED))
    parts.append(element("line", x1=left, x2=right, y1=bottom, y2=bottom, stroke=INK))
    return "".join(parts)


def below(label: Sequence[str], middle: float, width: float, y: float) -> str:
    """The lines of the label under an axis: centred on it, and moved where they would leave the picture."""
    parts = []
    for i, line in enumerate(label):
        half = text_width(line, 12) / 2
        x = min(max(middle, 8 + half), width - 8 - half)
        parts.append(text(x, y + 15 * i, line, text_anchor="middle", fill=MUTED))
    return "".join(parts)


def label_lines(label: str, width: float) -> list[str]:
    """The label of an axis, broken where the picture ends."""
    return wrap(label, width - 16, 12)
