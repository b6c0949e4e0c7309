"""What moves while something runs: the counting line. (The picture is tried in `test_base.py`.)"""

import sys
import types

import pytest

from moe_lessons.explore import one_by_one
from moe_lessons.explore.live import CountingLine


@pytest.fixture
def frames(monkeypatch):
    """What a notebook would show, frame by frame."""
    shown = []

    def display(item, display_id):
        shown.append(str(item))
        return types.SimpleNamespace(update=lambda item: shown.append(str(item)))

    fake = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    return shown


def test_the_line_counts_and_goes(frames):
    assert list(one_by_one(range(3), "seed", every_s=0)) == [0, 1, 2]
    assert [frame.split("  ")[0] for frame in frames] == ["seed 1 of 3", "seed 2 of 3", "seed 3 of 3", ""]


def test_frames_come_no_faster_than_asked(frames):
    assert list(one_by_one(range(1000), "batch", every_s=1e9)) == list(range(1000))
    assert len(frames) == 2
    assert frames[0].startswith("batch 1 of 1,000")


def test_the_line_goes_where_the_loop_is_left(frames):
    for _ in one_by_one("ab", "letter"):
        break
    assert frames[-1] == ""


def test_nothing_to_go_through_shows_nothing(frames):
    assert list(one_by_one([], "seed")) == []
    assert frames == []


def test_plain_python_sees_nothing(capsys):
    assert list(one_by_one(range(2), "seed")) == [0, 1]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("of", [1, 3, 20, 500])
def test_the_bar_fills_up_and_is_never_full_before_the_end(of):
    bars = [str(CountingLine("x", n, of)).split("  ")[1] for n in range(1, of + 1)]
    filled = [bar.count("▰") for bar in bars]
    assert {len(bar) for bar in bars} == {20}
    assert filled == sorted(filled)
    assert filled[0] == 0
    assert filled[-1] < 20
