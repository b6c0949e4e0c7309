"""Tables side by side: what is marked is marked twice, what belongs together stays together."""

import re

import pytest

from moe_lessons.svg import MAX_WIDTH, Grid, grids

ROWS = [["1", "2"], ["3", "4"]]


def places(drawing):
    return [tuple(map(float, pair)) for pair in re.findall(r'translate\((\d+) (\d+)\)"><text', drawing.svg)][
        -9:
    ]


def test_a_marked_cell_has_a_cross_and_a_frame_as_well():
    plain, marked = (grids([Grid("x", ROWS, frozenset(where))], title="t") for where in ((), {(1, 0)}))
    assert plain.svg.count("×") == plain.svg.count('stroke-width="2"') == 0
    assert marked.svg.count("×</text>") == marked.svg.count('stroke-width="2"') == 1
    assert "x: 1 2; 3× 4" in marked.alt
    assert "×" not in plain.alt


def test_yours_and_wanted_stay_in_one_line():
    wide = Grid("given", [["1"] * 12])
    together = places(grids([wide, wide, Grid("yours", ROWS), Grid("wanted", ROWS)], title="t", together=2))
    assert together[-1][1] == together[-2][1] > together[0][1]
    assert together[-1][0] > together[-2][0]


def test_nothing_lies_outside():
    panels = [Grid(f"table {n} with a long name", [["0.25"] * (n + 1)] * 3) for n in range(8)]
    drawing = grids(panels, title="t", together=2)
    width = float(re.search(r'width="(\d+)', drawing.svg)[1])
    assert width <= MAX_WIDTH
    for (x, _), panel in zip(places(drawing), panels, strict=True):
        assert x + panel.width <= width


@pytest.mark.parametrize("panel", [Grid("too deep [2, 2, 2]"), Grid("n = 4")], ids=str)
def test_a_table_without_cells_is_its_name(panel):
    assert panel.label in grids([panel], title="t").svg
    assert str(panel) == panel.label
