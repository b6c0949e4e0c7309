"""``rerun``: a cell with other numbers, in a copy of the notebook's names."""

import pytest

from moe_lessons.course import changing

CELL = f"{changing.HEADING}\nn = 1\nname = 'x'\n\nprint(n, name, lent)\nset_here = n"


@pytest.fixture
def names(monkeypatch):
    found = {"In": ["", CELL, "rerun(...)"], "lent": "L", "n": 7}
    monkeypatch.setattr(changing, "_names", lambda: found)
    return found


def test_the_cell_runs_with_each_line_of_changes_and_leaves_nothing(names, capsys):
    changing.rerun("n = 2", "n = 3; name = 'y'")
    assert capsys.readouterr().out.splitlines() == ["> n = 2", "2 x L", "> n = 3; name = 'y'", "3 y L"]
    assert names["n"] == 7
    assert "set_here" not in names


def test_a_name_that_the_cell_does_not_set_is_refused(names):
    with pytest.raises(ValueError, match="the cell sets no m"):
        changing.rerun("m = 2")


def test_without_a_cell_to_change(names):
    names["In"] = ["", "print(1)"]
    with pytest.raises(LookupError, match="no cell that begins with"):
        changing.rerun("n = 2")
