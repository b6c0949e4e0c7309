"""Names at the ends of lines: beside the end, pushed apart where they would overlap, then with a leader."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from moe_lessons.svg.base import polyline, text
from moe_lessons.svg.letters import text_width, wrap
from moe_lessons.svg.palette import PAPER

SIZE, ROW, GAP, FAR = 12.0, 14.0, 9.0, 16.0
"""Of a name: its letters, the height of its line, its distance from an end, and its distance once moved."""
MOST = 0.34
"""The largest part of a picture's width that names may take; longer ones have two lines."""
MOVED = 5.0
"""From here on a name that was pushed away has a line to its end."""


@dataclass(frozen=True)
class End:
    """Where a line ends, its name, and the colour of the name."""

    x: float
    y: float
    name: str
    ink: str


def room_for(names: Sequence[str], width: float) -> float:
    """Room in px that the names need to the right of the lines.

    >>> room_for([], 640), room_for(["loss"], 640) < room_for(["a longer name"], 640)
    (8.0, True)
    """
    widest = max((text_width(line, SIZE) for name in names for line in _lines(name, width)), default=-FAR)
    return 8 + FAR + widest


def draw_ends(ends: Sequence[End], width: float, top: float, bottom: float) -> str:
    """Write the names; those whose places to the right of their ends overlap keep apart.

    >>> draw_ends([End(100, 50, "one", "#5b3fb0"), End(100, 50, "two", "#1a1a1a")], 200, 0, 90).count("<text")
    2
    """
    parts = []
    for group in _columns(ends, width):
        spots = _apart(group, width, top, bottom)
        moved = any(abs(spot - end.y) > MOVED for end, spot in zip(group, spots, strict=True))
        for end, spot in zip(group, spots, strict=True):
            if abs(spot - end.y) > MOVED:
                leader = [(end.x + 5, end.y), (end.x + FAR - 2, spot)]
                parts.append(polyline(leader, stroke=end.ink, stroke_width=0.8))
            lines = _lines(end.name, width)
            x, first = end.x + (FAR if moved else GAP), spot + 4 - ROW * (len(lines) - 1) / 2
            halo: dict[str, str | float] = {"paint_order": "stroke", "stroke": PAPER, "stroke_width": 3}
            parts += [text(x, first + ROW * i, line, fill=end.ink, **halo) for i, line in enumerate(lines)]
    return "".join(parts)


def _lines(name: str, width: float) -> list[str]:
    return wrap(name, MOST * width, SIZE)


def _columns(ends: Sequence[End], width: float) -> list[list[End]]:
    """Ends whose names lie above each other at least in part; each group from top to bottom."""
    groups: list[tuple[float, float, list[End]]] = []
    for end in sorted(ends, key=lambda end: end.x):
        right = end.x + FAR + max(text_width(line, SIZE) for line in _lines(end.name, width))
        if groups and end.x <= groups[-1][1]:
            left, reach, group = groups.pop()
            groups.append((left, max(reach, right), [*group, end]))
        else:
            groups.append((end.x, right, [end]))
    return [sorted(group, key=lambda end: (end.y, end.name)) for *_, group in groups]


def _apart(group: Sequence[End], width: float, top: float, bottom: float) -> list[float]:
    """Middles of the names: each at its end's height, or as near to it as the others leave room."""
    tall = [ROW * len(_lines(end.name, width)) for end in group]
    squeeze = min(1.0, (bottom - top + ROW) / sum(tall))
    need = [squeeze * (a + b) / 2 for a, b in pairwise(tall)]
    spots: list[float] = []
    for i, end in enumerate(group):
        spots.append(max(end.y, spots[-1] + need[i - 1]) if spots else end.y)
    # Half of what was pushed down goes back up, so that a crowd stays around its ends.
    crowd = 0
    for i in range(1, len(spots) + 1):
        if i == len(spots) or spots[i] > spots[i - 1] + need[i - 1] + 1e-6:
            shift = sum(spots[j] - group[j].y for j in range(crowd, i)) / (i - crowd)
            least = spots[crowd - 1] + need[crowd - 1] if crowd else top - 4
            up = min(shift, max(spots[crowd] - least, 0.0))
            spots[crowd:i] = [spot - up for spot in spots[crowd:i]]
            crowd = i
    lowest = bottom + 4
    for i in range(len(spots) - 1, -1, -1):
        spots[i] = min(spots[i], lowest)
        lowest = spots[i] - (need[i - 1] if i else 0.0)
    return spots
