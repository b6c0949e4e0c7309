"""Reads an explorable's picture back: where its marks lie, how long they are, and what stands beside them.

A picture is true when the numbers can be read off it. So the tests collect (number, px) from many frames of
one landmark and ask for one straight line through all of them (`assert_one_scale`). A view that rescales
from frame to frame, or draws a number where it does not belong, breaks the line.
"""

import random
import xml.etree.ElementTree as ET
from collections import defaultdict
from dataclasses import dataclass

ROUNDING = 0.75
"""Coordinates are written with one decimal, and the smallest bars are widened to 0.6 px."""


@dataclass(frozen=True)
class Mark:
    """One element: its kind, its box on the page, and what it says."""

    kind: str
    left: float
    top: float
    right: float
    bottom: float
    fill: str
    stroke: str
    said: str
    points: tuple[tuple[float, float], ...] = ()

    @property
    def width(self):
        return self.right - self.left

    @property
    def height(self):
        return self.bottom - self.top

    @property
    def x(self):
        return (self.left + self.right) / 2

    @property
    def y(self):
        return (self.top + self.bottom) / 2

    def has(self, name, value):
        """Whether it is as wanted: text equal, a number to 0.06 px."""
        mine = getattr(self, name)
        return mine == value if isinstance(value, str) else abs(mine - value) < 0.06

    def meets(self, other):
        """Whether the two boxes overlap."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def marks(svg):
    """All rectangles, circles, lines, polygons and texts, in the order in which they are drawn."""
    found = []
    _walk(ET.fromstring(svg), 0.0, 0.0, found)
    return found


def of(found, kind, **wanted):
    """The marks of a kind whose numbers are as wanted (to 0.06 px) and whose fill is."""
    return [mark for mark in found if mark.kind == kind and all(map(mark.has, wanted, wanted.values()))]


def said(found):
    """Everything that is written, with plain spaces."""
    return [mark.said for mark in found if mark.kind == "text"]


def _walk(element, dx, dy, found):
    name = element.tag.split("}")[-1]
    get = lambda key: float(element.get(key, 0))  # noqa: E731
    if name == "g" and "translate" in element.get("transform", ""):
        shift = [float(v) for v in element.get("transform").removeprefix("translate(").rstrip(")").split()]
        dx, dy = dx + shift[0], dy + shift[1]
    elif name == "svg" and element.get("x"):
        view = [float(v) for v in element.get("viewBox").split()]
        dx, dy = dx + get("x") - view[0], dy + get("y") - view[1]
    elif name in ("rect", "circle", "line", "polygon", "polyline", "text"):
        points = _points(name, element, get)
        xs, ys = [x + dx for x, _ in points], [y + dy for _, y in points]
        words = " ".join((element.text or "").split())
        look = (element.get("fill", ""), element.get("stroke", ""), words)
        corners = tuple(zip(xs, ys, strict=True))
        found.append(Mark(name, min(xs), min(ys), max(xs), max(ys), *look, corners))
    for child in element:
        _walk(child, dx, dy, found)


def _points(name, element, get):
    if name == "rect":
        return [(get("x"), get("y")), (get("x") + get("width"), get("y") + get("height"))]
    if name == "circle":
        r = get("r")
        return [(get("cx") - r, get("cy") - r), (get("cx") + r, get("cy") + r)]
    if name == "line":
        return [(get("x1"), get("y1")), (get("x2"), get("y2"))]
    if name == "text":
        size = float(element.get("font-size", 12))
        wide = 0.55 * size * len(element.text or "")
        start = {"end": 1.0, "middle": 0.5}.get(element.get("text-anchor", ""), 0.0) * wide
        return [(get("x") - start, get("y") - 0.75 * size), (get("x") - start + wide, get("y"))]
    return [tuple(map(float, pair.split(","))) for pair in element.get("points").split()]


N = 40
"""Settings of each explorable that are drawn."""


def some(make, n=N):
    """Draw the same settings in every run."""
    rng = random.Random(7)
    return [make(rng) for _ in range(n)]


class Readings:
    """(number, px) of many frames, apart for each landmark; and what lay off the scale."""

    def __init__(self):
        self.on = defaultdict(list)
        self.off = []

    def add(self, landmark, value, px):
        """A number that the picture draws at, or as long as, so many px."""
        self.on[landmark].append((value, px))

    def beyond(self, value, marked):
        """A number off the scale, and whether the picture says so."""
        self.off.append((value, marked))


def assert_one_scale(readings, slack=ROUNDING):
    """A larger number never has the shorter mark, and all of a landmark lie on one line."""
    assert readings.on
    for landmark, pairs in readings.on.items():
        pairs = sorted(pairs)
        (low, first), (high, last) = pairs[0], pairs[-1]
        if high == low:
            assert max(px for _, px in pairs) - min(px for _, px in pairs) < slack, landmark
            continue
        longest = first
        for value, px in pairs:
            assert px >= longest - slack, f"{landmark}: {value} is drawn shorter than a smaller number"
            longest = max(longest, px)
            line = first + (last - first) * (value - low) / (high - low)
            assert abs(px - line) < slack, f"{landmark}: {value} is drawn at {px}, not at {line:.1f}"


def assert_marked(readings):
    """Whatever lies off the scale is marked as such; and there is something to mark."""
    assert readings.off
    assert not [value for value, marked in readings.off if not marked]
