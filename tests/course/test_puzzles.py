"""``puzzle`` in a cell: one line and a picture, the function as it was, nothing kept, nothing raised."""

import re

import pytest
import torch

from moe_lessons.course import puzzles, store
from moe_lessons.course.puzzles import picture, puzzle
from moe_lessons.exercises import registry
from moe_lessons.exercises.beside import needed
from moe_lessons.exercises.puzzle_verdict import judge

ID = "02.p_totals"


def drawn(answer, id=ID):
    return picture(judge(registry.puzzle(id), answer))


def test_an_untouched_cell_shows_the_question(printed):
    @puzzle(ID)
    def totals_of_owners(rows_ND, owner_N, n_owners):
        return ...

    line, shown = printed().splitlines()
    assert line == f"○ {ID}: not tried yet; the picture shows what goes in and what is wanted"
    assert shown.endswith("owner_N [4]: 2 0 2 0 | n_owners = 4 | wanted [4, 2]: 10 2; 0 0; 5 0; 0 0.")


def test_the_function_stays_what_it_is():
    def inverse(order_N):
        return order_N.argsort()

    assert puzzle("02.p_inverse")(inverse) is inverse


def test_a_wrong_answer_shows_where_it_differs(printed):
    @puzzle("02.p_inverse")
    def inverse(order_N):
        return order_N

    line, shown = printed().splitlines()
    assert line.startswith("✘ 02.p_inverse: this says who stands at each place.")
    assert "yours [5]: 2× 0× 4× 1× 3 | wanted [5]: 1 3 0 4 2" not in shown
    assert "yours [5]: 2× 0× 4× 1× 3× | wanted [5]: 1 3 0 4 2" in shown


def test_an_error_is_one_line_and_the_notebook_goes_on(printed):
    @puzzle(ID)
    def totals_of_owners(rows_ND, owner_N, n_owners):
        return rows_ND @ owner_N

    line, shown = printed().splitlines()
    assert line.startswith(f"✘ {ID}: it stops with RuntimeError: ")
    assert "yours: nothing | wanted [4, 2]" in shown


def test_an_answer_by_heart_shows_the_other_input(printed):
    @puzzle("02.p_inverse")
    def inverse(order_N):
        return [1, 3, 0, 4, 2]

    line, shown = printed().splitlines()
    assert line.startswith(
        "✘ 02.p_inverse: right here, not on another input (in the picture): its shape is [5],"
    )
    assert "order_N [4]: 3 0 2 1 | yours [5]: 1 3 0 4 2 | wanted [4]: 1 3 2 0" in shown


def test_nothing_is_kept():
    before = store.load()
    for answer in (lambda order_N: ..., lambda order_N: order_N, lambda order_N: order_N.argsort()):
        puzzle("02.p_inverse")(answer)
    assert store.load() == before


def test_no_such_puzzle_is_one_line(printed):
    @puzzle("02.p_invers")
    def inverse(order_N):
        return order_N

    assert "did you mean '02.p_inverse'?" in printed()
    assert inverse(3) == 3


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (torch.zeros(20, 20), "yours [20, 20] |"),
        (torch.zeros(2, 2, 2), "yours [2, 2, 2] |"),
        (torch.zeros(0), "yours [0] |"),
        (torch.full((4, 2), float("nan")), "?×"),
        (torch.full((4, 2), -0.001), "0×"),
        (torch.full((4, 2), -12345678), "−1e+07×"),
        (torch.tensor(3), "yours: 3 |"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whatever_comes_out_can_be_drawn(returned, said):
    assert said in drawn(lambda *args: returned).alt


@pytest.mark.parametrize("id", [p.id for lesson in registry.lessons()[:11] for p in lesson.puzzles])
def test_each_picture_is_the_same_every_time_and_says_what_it_shows(id):
    found = registry.puzzle(id)
    for answer in (lambda *args: ..., found.solution, found.slips[0].wrong):
        first, again = drawn(answer, id), drawn(answer, id)
        assert first == again
        assert len(first.alt) > len(re.search("<title>(.*?)</title>", first.svg)[1]) > 10


def test_what_stops_the_judge_itself_is_one_line(printed, monkeypatch):
    monkeypatch.setattr(puzzles, "judge", lambda *args: 1 / 0)
    puzzle(ID)(lambda: 0)
    assert printed().startswith("puzzle could not finish (ZeroDivisionError: division by zero). ")


def test_an_answer_that_calls_a_puzzles_function_gets_it_without_the_judge():
    """A grader has no `puzzle`, nor has a kernel in which the answer is restored."""
    cell = '@puzzle("02.p_inverse")\ndef place_of_each(order_N):\n    return order_N.argsort()'
    text = needed("def f(x):\n    return place_of_each(x)", [cell])
    assert text == "def place_of_each(order_N):\n    return order_N.argsort()"
    # Looked at again, the cell is what it was.
    assert needed("def f(x):\n    return place_of_each(x)", [cell]) == text


def test_other_decorators_stay():
    cell = "@cache\ndef g(x):\n    return x\n\nfrom functools import cache"
    assert needed("def f(x):\n    return g(x)", [cell]).startswith("@cache\ndef g")
