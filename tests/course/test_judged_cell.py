"""Which cell ``check`` judges, in a session in which cells of all kinds were run before."""

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from moe_lessons.course import store

RIGHT = "def scale(x_N, factor):\n    return factor * x_N"
STUB = "def scale(x_N, factor):\n    raise NotImplementedError('your code here')"
UNREADABLE = {
    "no colon": "def scale(x_N, factor)\n    return x_N",
    "another indent": "def scale(x_N, factor):\n    y_N = x_N\n   return y_N",
    "tab and blanks": "def scale(x_N, factor):\n    y_N = x_N\n\treturn y_N",
    "an indent too many": "def scale(x_N, factor):\n    y_N = x_N\n        return y_N",
    "an open bracket": "def scale(x_N, factor):\n    return (x_N",
    "an open text": "def scale(x_N, factor):\n    '''Scale.\n    return x_N",
    "a zero byte": "def scale(x_N, factor):\n    return x_N\0",
    "an unknown magic": "%nonsense\ndef other(: pass",
}


@pytest.fixture
def run(capsys):
    """Run a cell of a notebook and return what it said; errors are said too."""
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"hist_file": ":memory:"}}))

    def run(cell):
        capsys.readouterr()
        shell.run_cell(cell, store_history=True)
        said = capsys.readouterr()
        return said.out + said.err

    run("from moe_lessons.course import check")
    yield run
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("cell", UNREADABLE.values(), ids=list(UNREADABLE))
def test_a_cell_that_cannot_be_read_does_not_keep_later_ones_from_being_judged(run, cell):
    assert "not attempted yet" in run(STUB + "\n\ncheck('99.scale')")
    assert "Error" in run(cell)
    assert "could not finish" not in run("check('99.scale')")
    run(RIGHT)
    assert "✔ 99.scale: passed" in run("check('99.scale')")
    assert store.load()["exercises"]["99.scale"]["source"] == RIGHT


@pytest.mark.parametrize("end", ["", "\n", "\n\n    \n"], ids=["no end", "a line end", "empty lines"])
@pytest.mark.parametrize("name", ["no colon", "another indent"])
def test_an_earlier_version_that_is_judged_is_named_and_kept(run, name, end):
    run(RIGHT + end)
    run(UNREADABLE[name] + end)
    said = run("check('99.scale')")
    assert "✔ 99.scale: passed" in said
    assert "Judged: cell [2]. Your latest version, cell [3], stopped with an error" in said
    assert store.load()["exercises"]["99.scale"]["source"].rstrip() == RIGHT
    run(RIGHT + end)
    assert "Judged" not in run("check('99.scale')")


@pytest.mark.parametrize("name", ["no colon", "another indent"])
def test_where_nothing_defines_it_the_cell_that_tried_to_is_named(run, name):
    run(UNREADABLE[name])
    said = run("check('99.scale')")
    assert "○ 99.scale: not attempted yet" in said
    assert "Your latest version, cell [2], stopped with an error before it defined `scale`." in said


@pytest.mark.parametrize("name", ["no colon", "another indent"])
def test_a_stub_that_was_run_after_an_attempt_is_not_called_the_older_one(run, name):
    run(UNREADABLE[name])
    run(STUB)
    said = run("check('99.scale')")
    assert "○ 99.scale: not attempted yet" in said
    assert "Judged: cell [3]. Cell [2] stopped with an error before it defined `scale`" in said
    assert "latest version" not in said
