"""Whose code an answer is, and taking an answer out of a cell's text."""

import functools

import pytest
import torch

import moe_lessons
from moe_lessons import routing
from moe_lessons.course import start
from moe_lessons.exercises import answers
from moe_lessons.exercises.own_code import borrowed, from_other_cells
from moe_lessons.routing import topk_softmax

FORBIDDEN = ("moe_lessons",)


def own(x):
    return torch.softmax(x, -1)


def direct(x):
    return topk_softmax(x, 2)


def through_module(x):
    return routing.topk_softmax(x, 2)


def through_package(x):
    return moe_lessons.Routing(x, x, x)


def through_helper(x):
    return direct(x)


def imported_inside(x):
    from moe_lessons.routing import softmax_topk

    return softmax_topk(x, 2)


def in_a_comprehension(x):
    return [topk_softmax(row, 1) for row in x]


def in_a_closure():
    kept = topk_softmax
    return lambda x: kept(x, 2)


@functools.wraps(own)
def wrapped(x):
    return own(x)


wrapped.__wrapped__ = direct


class Bound:
    def answer(self, x):
        return topk_softmax(x, 2)


BORROWED = {
    "direct": direct,
    "module": through_module,
    "package": through_package,
    "helper": through_helper,
    "import inside": imported_inside,
    "comprehension": in_a_comprehension,
    "closure": in_a_closure(),
    "decorated": wrapped,
    "partial": functools.partial(direct),
    "method": Bound().answer,
    "the function itself": topk_softmax,
    "lambda": lambda x: topk_softmax(x, 1),
}


@pytest.mark.parametrize("name", BORROWED)
def test_what_leads_to_the_package_is_found(name):
    assert borrowed(BORROWED[name], FORBIDDEN).startswith("moe_lessons")


def an_attribute_is_not_a_global(x):
    return slice(x).start, x.routing  # both are names of globals here: `start`, `routing`


def a_local_is_not_a_global(x):
    routing = start_ = x
    return routing, start_


def recursive(x):
    return recursive(x - 1) if x else x


class Odd:
    def __getattr__(self, name):
        raise RuntimeError(name)


def uses_something_odd(x):
    return odd, x  # noqa: F821


@pytest.mark.parametrize(
    "answer",
    [
        own,
        an_attribute_is_not_a_global,
        a_local_is_not_a_global,
        recursive,
        uses_something_odd,
        torch.softmax,
    ],
    ids=lambda f: f.__name__,
)
def test_ones_own_code_is_left_alone(answer, monkeypatch):
    monkeypatch.setitem(globals(), "odd", Odd())
    assert start is not None
    assert borrowed(answer, FORBIDDEN) is None


def test_an_answer_cell_stands_alone():
    answer = answers.load("def f(x):\n    return F.relu(torch.tensor(math.pi * np.sign(x)))", "f")
    assert answer(-1).item() == 0
    assert answers.load("def f(x): return x", "g") is None
    with pytest.raises(NameError):
        answers.load("def f(x): return topk_softmax(x)", "f")(1)
    with pytest.raises(SyntaxError):
        answers.load("def f(x) return x", "f")


def test_two_answers_do_not_see_each_other():
    answers.load("secret = 1\ndef f(): return secret", "f")
    with pytest.raises(NameError):
        answers.load("def g(): return secret", "g")()


def test_an_error_in_an_answer_shows_its_line():
    import traceback

    try:
        answers.load("def f(x):\n    return x.nothing", "f")(1)
    except AttributeError as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
    assert (frame.lineno, frame.line) == (2, "return x.nothing")


ELSEWHERE = {
    "an import": ("from torch import nn", "def f(x):\n    return nn.functional.relu(x)", ["nn"]),
    "a helper": ("def double(x):\n    return 2 * x", "def f(x):\n    return double(x)", ["double"]),
    "a variable": ("D = 4", "def f(x):\n    return x / D", ["D"]),
    "beside the function": ("z = 3", "def f(x):\n    return x\n\n\nprint(f(z))", ["z"]),
    "its own": ("D = 4", "import re\nD = 5\ndef f(x):\n    return [re, D, len(x), float(x)]", []),
    "what all have": ("import torch, math", "def f(x):\n    return torch.ones(3) * math.pi * F", []),
    "a name that is nowhere": ("", "def f(x):\n    return y", []),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_only_other_cells_define(name, in_cells):
    before, cell, expected = ELSEWHERE[name]
    assert from_other_cells(in_cells(before, cell)["f"]) == expected
