"""Small tables of numbers side by side: what went in, what came out, what was wanted."""

from collections.abc import Sequence
from dataclasses import dataclass

from moe_lessons.svg.base import MAX_WIDTH, MONO, Drawing, element, figure, text
from moe_lessons.svg.letters import text_width
from moe_lessons.svg.palette import ACCENT, FAINT, INK, MUTED, PAPER, WRONG, tint

_SIDE, _GAP = 26.0, 26.0
_FILLS = {"given": PAPER, "wanted": tint(INK, 0.1), "yours": tint(ACCENT, 0.14)}
_MARKED = tint(WRONG, 0.3)


@dataclass(frozen=True)
class Grid:
    """One table: its name, its cells as text row by row, and the cells that are marked with a cross.

    ``look`` is its ground: plain for what is "given", tinted for what is "wanted" and what is "yours". A
    table that is too large or too deep to draw has no cells, only its name.
    """

    label: str
    cells: Sequence[Sequence[str]] = ()
    marked: frozenset[tuple[int, int]] = frozenset()
    look: str = "given"

    @property
    def side(self) -> float:
        """Width of a cell in px."""
        longest = max((len(cell) for row in self.cells for cell in row), default=1)
        return max(_SIDE, 7.6 * longest + 14)

    @property
    def width(self) -> float:
        """Width in px, with the numbers of the rows."""
        columns = max((len(row) for row in self.cells), default=0)
        return max(_left(self) + self.side * columns, text_width(self.label, 12.5, bold=True)) + 2

    @property
    def height(self) -> float:
        """Height in px, with the name and the numbers of the columns."""
        return 22 + (12 + _SIDE * len(self.cells) if self.cells else 0) + 8

    def __str__(self) -> str:
        rows = [
            " ".join(f"{cell}×" if (i, j) in self.marked else cell for j, cell in enumerate(row))
            for i, row in enumerate(self.cells)
        ]
        return f"{self.label}: {'; '.join(rows)}" if rows else self.label


def grids(
    panels: Sequence[Grid], *, title: str, together: int = 1, caption: str = "", width: float = MAX_WIDTH
) -> Drawing:
    """Draw tables from left to right, and on in a new line where they do not fit.

    Parameters
    ----------
    panels : sequence of Grid
    title : str
        The one thing that the figure says.
    together : int
        So many of the last tables stay in one line, to be compared.
    caption : str
        Text under the drawing.
    width : float
        The most px that a line may take.

    Examples
    --------
    >>> panels = [Grid("x", [["1", "2"]]), Grid("yours", [["1", "3"]], frozenset({(0, 1)}), "yours")]
    >>> grids(panels, title="One cell of two differs")
    One cell of two differs. x: 1 2 | yours: 1 3×.
    """
    parts, x, y, deep, used = [], 8.0, 4.0, 0.0, 0.0
    for place, panel in enumerate(panels):
        beside = panels[place:] if place == len(panels) - together else (panel,)
        needed = sum(one.width for one in beside) + _GAP * (len(beside) - 1)
        if x > 8 and x + needed > width - 8:
            x, y, deep = 8.0, y + deep, 0.0
        parts.append(element("g", _panel(panel), transform=f"translate({x:.0f} {y:.0f})"))
        deep, used = max(deep, panel.height), max(used, x + panel.width)
        x += round(panel.width) + _GAP
    desc = " | ".join(map(str, panels)) + "."
    return figure(min(width, max(used + 8, 420.0)), y + deep, title, desc, "".join(parts), caption)


def _left(panel: Grid) -> float:
    return 16.0 if len(panel.cells) > 1 else 0.0


def _panel(panel: Grid) -> str:
    parts = [text(0, 14, panel.label, font_weight="600", font_size=12.5)]
    left, side = _left(panel), panel.side
    columns = len(panel.cells[0]) if panel.cells else 0
    single = len(panel.cells) == columns == 1
    small: dict[str, str | float] = {"font_size": 10, "fill": MUTED}
    if not single:
        parts += [
            text(left + side * (j + 0.5), 30, str(j), text_anchor="middle", **small) for j in range(columns)
        ]
    framed: list[str] = []
    for i, row in enumerate(panel.cells):
        y = 34 + _SIDE * i
        if left:
            parts.append(text(left - 5, y + 17, str(i), text_anchor="end", **small))
        for j, shown in enumerate(row):
            marked = (i, j) in panel.marked
            (framed if marked else parts).append(_cell(left + side * j, y, side, shown, panel, marked=marked))
    return "".join(parts + framed)  # frames lie over their neighbours' edges


def _cell(x: float, y: float, side: float, shown: str, panel: Grid, *, marked: bool) -> str:
    frame = {"stroke": INK if marked else FAINT, "stroke_width": 2 if marked else 1}
    fill = _MARKED if marked else _FILLS[panel.look]
    box = element("rect", x=x, y=y, width=side, height=_SIDE, fill=fill, **frame)
    number = text(x + side / 2, y + 18, shown, text_anchor="middle", font_family=MONO, font_size=12)
    cross = (
        text(x + side - 3, y + 9, "×", text_anchor="end", font_size=11, font_weight="700") if marked else ""
    )
    return box + number + cross
