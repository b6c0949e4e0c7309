"""``rerun``: a cell with other numbers, in a copy of the notebook's names."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from moe_lessons.course import changing

CELL = f"{changing.HEADING}\nn = 1\nname = 'x'\n\nprint(n, name, lent)\nset_here = n"


@pytest.fixture
def shell(monkeypatch):
    """A notebook that has imported the course; its cells run without a history, as nbval runs them."""
    found = InteractiveShell.instance()
    monkeypatch.setattr(changing, "_last", None)
    changing._watch()
    yield found
    found.events.unregister("pre_run_cell", changing._remember)
    InteractiveShell.clear_instance()


def run(shell, *cells):
    for cell in cells:
        shell.run_cell(cell, store_history=False).raise_error()


def test_the_cell_runs_with_each_line_of_changes_and_leaves_nothing(shell, capsys):
    run(shell, "lent = 'L'", CELL, "n = 7; del set_here", "print('between')")
    capsys.readouterr()
    changing.rerun("n = 2", "n = 3; name = 'y'")
    assert capsys.readouterr().out.splitlines() == ["> n = 2", "2 x L", "> n = 3; name = 'y'", "3 y L"]
    assert shell.user_ns["n"] == 7
    assert "set_here" not in shell.user_ns


def test_the_last_such_cell_runs_also_where_an_earlier_one_ran_again(shell, capsys):
    first, second = (f"{changing.HEADING}\nn = 1\nprint('{which}', n)" for which in ("first", "second"))
    run(shell, first, second, first)
    capsys.readouterr()
    changing.rerun("n = 2")
    assert capsys.readouterr().out.splitlines() == ["> n = 2", "first 2"]


def test_a_name_that_the_cell_does_not_set_is_refused(shell):
    run(shell, "lent = 'L'", CELL)
    with pytest.raises(ValueError, match="the cell sets no m"):
        changing.rerun("m = 2")


def test_without_a_cell_to_change(shell):
    run(shell, "print(1)")
    with pytest.raises(LookupError, match="no cell that begins with"):
        changing.rerun("n = 2")
