"""Scales that stand still: where a value lies on an axis, and what is drawn of one that lies beyond it.

A picture that is dragged is read against the frame before it. So the ends of a scale may depend on what
names the picture, such as the model or the numbers of tokens and experts, never on the value that moves.
"""

import math
from dataclasses import dataclass

from moe_lessons.svg import element, num


@dataclass(frozen=True)
class Scale:
    """An axis from ``low`` at the coordinate ``start`` to ``high`` at ``end``, linear or logarithmic.

    Parameters
    ----------
    low, high : float
        The values at its ends; above 0 where it is logarithmic.
    start, end : float
        Their coordinates in px; ``end`` may be the smaller one, as on an axis that points upwards.
    log : bool
        Equal steps for equal factors instead of equal differences.

    Examples
    --------
    >>> height = Scale(-20, 100, start=300, end=60)
    >>> height.at(40), height.at(400), height.beyond(400)
    (180.0, 60.0, 1)
    >>> Scale(1, 10_000, 0, 200, log=True).at(100)
    100.0
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            above = ", both above 0" if self.log else ""
            raise ValueError(f"a scale from {self.low} to {self.high}: low must be less than high{above}")

    def free(self, value: float) -> float:
        """Where a value lies, on the scale or beyond its ends."""
        return self.start + (self.end - self.start) * self._share(value)

    def at(self, value: float) -> float:
        """Where a value is drawn: at an end if it lies beyond it. Then draw a mark, too."""
        return self.start + (self.end - self.start) * min(max(self._share(value), 0.0), 1.0)

    def beyond(self, value: float) -> int:
        """-1 below the scale, 1 above it, 0 on it."""
        return int(value > self.high) - int(value < self.low)

    def _share(self, value: float) -> float:
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        return math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else 0.0


def pointer(x: float, y: float, right: int, down: int, fill: str, size: float = 9) -> str:
    """Draw a triangle on (x, y) that points away from it: what belongs here lies further on.

    Examples
    --------
    >>> pointer(10, 20, 0, 1, "#000000")
    '<polygon points="10,29 4.1,20 15.9,20" fill="#000000"/>'
    """
    tip = (x + right * size, y + down * size)
    side = (-down * 0.65 * size, right * 0.65 * size)
    corners = (tip, (x + side[0], y + side[1]), (x - side[0], y - side[1]))
    return element("polygon", points=" ".join(f"{num(a)},{num(b)}" for a, b in corners), fill=fill)


def apart(places: list[float], gap: float, low: float, high: float) -> list[float]:
    """Move places that lie closer than ``gap``, as little as it takes, within ``low`` to ``high``.

    Parameters
    ----------
    places : list of float
        In rising order.

    Examples
    --------
    >>> apart([10.0, 12.0, 90.0], 20, 0, 100)
    [10.0, 30.0, 90.0]
    >>> apart([95.0, 99.0], 20.0, 0.0, 100.0)
    [80.0, 100.0]
    """
    spots: list[float] = []
    for place in places:
        spots.append(min(max(place, spots[-1] + gap if spots else low), high))
    for i in range(len(spots) - 2, -1, -1):
        spots[i] = min(spots[i], spots[i + 1] - gap)
    return spots


def round_ticks(high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers from 0 until ``high`` is covered.

    Examples
    --------
    >>> round_ticks(93.4), round_ticks(20, 4)
    ([0.0, 20.0, 40.0, 60.0, 80.0, 100.0], [0.0, 5.0, 10.0, 15.0, 20.0])
    """
    power = 10.0 ** math.floor(math.log10(high / count))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= 0.999 * high / count)
    return [float(f"{i * step:.12g}") for i in range(math.ceil(high / step - 1e-9) + 1)]
