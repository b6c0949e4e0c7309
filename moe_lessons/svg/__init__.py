"""State -> SVG: small deterministic drawings for lessons and explorables, no matplotlib, no numpy.

The same state gives the same bytes, so a stored drawing can be compared. Colour is never the only cue:
an expert also has its number and a marker shape, a line its dash pattern and a label at its end.
"""

from moe_lessons.svg.bars import bar
from moe_lessons.svg.base import (
    DASHES,
    MAX_WIDTH,
    Drawing,
    color,
    element,
    escape,
    figure,
    marker,
    num,
    text,
    visible,
)
from moe_lessons.svg.charts import bar_chart
from moe_lessons.svg.dots import dot_rows
from moe_lessons.svg.grids import Grid, grids
from moe_lessons.svg.letters import text_width, wrap
from moe_lessons.svg.lines import line_chart
from moe_lessons.svg.numbers import count, percent
from moe_lessons.svg.palette import ACCENT, COLORS, SERIES, WRONG, ink_on, rim, tint
from moe_lessons.svg.tables import heat_map, routing_strip

__all__ = [
    "ACCENT",
    "COLORS",
    "DASHES",
    "MAX_WIDTH",
    "SERIES",
    "WRONG",
    "Drawing",
    "Grid",
    "bar",
    "bar_chart",
    "color",
    "count",
    "dot_rows",
    "element",
    "escape",
    "figure",
    "grids",
    "heat_map",
    "ink_on",
    "line_chart",
    "marker",
    "num",
    "percent",
    "rim",
    "routing_strip",
    "text",
    "text_width",
    "tint",
    "visible",
    "wrap",
]
