"""What the package's own functions reply is asked once, for the same request only."""

import numpy as np
import pytest

from moe_lessons.exercises import own_replies
from moe_lessons.exercises.drivers import Failure, Request
from moe_lessons.exercises.own_replies import own_reply


def asking(*numbers, driver="call", options=None):
    return Request(driver, {"x": np.array(numbers, dtype=np.float32)}, {}, options or {})


class Counting:
    def __init__(self, result):
        self.result, self.calls = result, 0

    def __call__(self, x):
        self.calls += 1
        return self.result(x)


def test_the_same_is_asked_once_and_anything_else_anew():
    double = Counting(lambda x: 2 * x)
    for _ in range(3):
        assert own_reply(double, asking(1, 2))[0].data.tolist() == [2, 4]
    assert double.calls == 1
    assert own_reply(double, asking(1, 3))[0].data.tolist() == [2, 6]
    assert own_reply(double, Request("call", {"y": np.float32([1, 2])}, {}, {}))[0].data.tolist() == [2, 4]
    assert double.calls == 3
    assert own_reply(Counting(lambda x: 3 * x), asking(1, 2))[0].data.tolist() == [3, 6]


def test_what_is_kept_cannot_be_written_to():
    kept = own_reply(Counting(lambda x: x + 1), asking(1, 2))
    with pytest.raises(ValueError, match="read-only"):
        kept[0].data[0] = 7


def test_an_error_is_kept_and_an_interruption_is_not():
    def interrupted(x):
        raise KeyboardInterrupt

    def broken(x):
        raise IndexError("no such row")

    for stop, calls in ((interrupted, 2), (broken, 1)):
        function = Counting(stop)
        assert all(isinstance(own_reply(function, asking(4)), Failure) for _ in range(2))
        assert function.calls == calls


def test_what_cannot_be_told_apart_is_run_each_time():
    function = Counting(lambda x: x)
    for _ in range(2):
        own_reply(function, asking(5, options={"a rule": lambda: 0}))
    assert function.calls == 2


def test_not_without_end(monkeypatch):
    monkeypatch.setattr(own_replies, "_MOST", 3)
    monkeypatch.setattr(own_replies, "_kept", {})
    function = Counting(lambda x: x)
    for number in range(10):
        own_reply(function, asking(number))
        assert len(own_replies._kept) <= 3
