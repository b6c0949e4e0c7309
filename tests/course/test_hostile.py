"""Answers that end, flood, lie or fail in odd ways: the check says what it saw and goes on."""

import sys

import numpy as np
import pytest
import torch

from moe_lessons.course import store
from moe_lessons.course.checking import check

FAILED, PASSED = "✘ 99.scale: not right yet", "✔ 99.scale: passed, 2 of 2 points"


def first_line(text):
    return text.splitlines()[0]


def record():
    return store.load()["exercises"].get("99.scale")


class Sneaky(torch.Tensor):
    def __eq__(self, other):
        return True


class RudeError(Exception):
    def __str__(self):
        raise RuntimeError("no message for you")


def loud(x, factor):
    for _ in range(100_000):
        print("x" * 100)
    return factor * x


def in_place(x, factor):
    x.mul_(factor)
    return x


def endless_list(x, factor):
    rows = [1.0]
    rows.append(rows)
    return rows


def forever(x, factor):
    return forever(x, factor)


def raises(error):
    def answer(x, factor):
        raise error

    return answer


def nan(x, factor):
    return x * float("nan")


HOSTILE = {
    "too few arguments": (lambda x: x, "TypeError: <lambda>() takes 1 positional argument but 2 were given"),
    "SystemExit": (lambda x, f: sys.exit(0), "SystemExit: 0"),
    "KeyboardInterrupt": (raises(KeyboardInterrupt()), "stopped by you before it returned"),
    "recursion": (forever, "RecursionError: maximum recursion depth exceeded"),
    "rude error": (raises(RudeError()), "RudeError"),
    "base exception": (raises(BaseException("odd")), "BaseException: odd"),
    "long message": (raises(ValueError("y" * 10**7)), "ValueError: yyy"),
    "None": (lambda x, f: None, "returned None (is a `return` missing?)"),
    "tensor subclass": (lambda x, f: (f * x).as_subclass(Sneaky), "a Sneaky, a kind of tensor of its own"),
    "NaN": (nan, "scaled_N contains NaN or infinity"),
    "infinity": (lambda x, f: x / 0, "scaled_N contains NaN or infinity"),
    "huge tensor": (lambda x, f: torch.zeros(1).expand(10**12), "far more than was asked for"),
    "huge array": (lambda x, f: np.broadcast_to(np.zeros(1), 10**12), "far more than was asked for"),
    "huge list": (lambda x, f: [0.0] * 10**6, "returned a list of 1000000 items"),
    "huge number": (lambda x, f: 10**400, "a whole number of more than 64 bits"),
    "list of numbers": (lambda x, f: (f * x).tolist(), "no gradient reaches `x_N`"),
    "nested list": (lambda x, f: [(f * x).tolist()], "no gradient reaches `x_N`"),
    "ragged list": (lambda x, f: [[1.0], [1.0, 2.0]], "expected 1: scaled_N as one tensor"),
    "list of texts": (lambda x, f: [["a"], ["b"]], "returned a list"),
    "list in itself": (endless_list, "returned a list"),
    "in place": (in_place, "the call has changed `x_N`"),
    "generator": (lambda x, f: (v for v in x), "returned a generator"),
    "dict": (lambda x, f: {"x": x}, "returned a dict"),
    "text": (lambda x, f: "z" * 10**7, "scaled_N has shape (), expected (3,)"),
    "objects": (lambda x, f: np.array([object()] * 3), "returned an array of dtype object"),
    "complex": (lambda x, f: f * x + 0j, "scaled_N has dtype complex64, expected float values"),
    "sparse": (lambda x, f: (f * x).to_sparse(), "TypeError"),
    "meta": (lambda x, f: (f * x).to("meta"), "NotImplementedError"),
    "float8": (lambda x, f: (f * x).to(torch.float8_e4m3fn), "TypeError"),
    "whole numbers": (lambda x, f: (f * x).long(), "scaled_N has dtype int64, expected float values"),
    "wrong shape": (lambda x, f: (f * x)[None], "has shape (1, 3), expected (3,) with axes [N]"),
    "torch's NotImplementedError": (raises(NotImplementedError("aten::x")), "NotImplementedError: aten::x"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_check_never_raises_and_says_what_it_saw(printed, name):
    answer, said = HOSTILE[name]
    check("99.scale", answer)
    text = printed()
    assert first_line(text) == FAILED
    assert said in text
    assert len(text) < 5000
    assert record() == {"attempts": 1, "passed": False}


@pytest.mark.parametrize("answer", [loud], ids=lambda f: f.__name__)
def test_what_does_no_harm_passes(printed, answer):
    check("99.scale", answer)
    text = printed()
    assert first_line(text) == PASSED
    assert len(text) < 5000
