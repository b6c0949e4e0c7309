"""How the GPU day shares its time out among stages, by a clock that moves only when a stage says so."""

import pytest
from gpu_day import Ended, share_out
from gpu_stages.stage import Stage


class Clock:
    """Time that passes only when a stage says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def shares(weights, seconds, takes):
    """Share `seconds` out among stages that take so long, or as long as they may; return their limits."""
    clock, limits = Clock(), {}

    def start(name, limit_s):
        limits[name] = limit_s
        clock.now += min(takes.get(name, limit_s), limit_s)
        return Ended(name, "done")

    return limits, share_out(weights, seconds, start, clock=clock), clock.now - 1000


def test_limits_are_scaled_to_the_minutes():
    weights = {"a": 60, "b": 120, "c": 180}
    assert shares(weights, 360, {})[0] == pytest.approx(weights)
    assert shares(weights, 720, {})[0] == pytest.approx({"a": 120, "b": 240, "c": 360})


def test_what_one_spares_goes_to_the_next_ones():
    limits, _, _ = shares({"a": 60, "b": 120, "c": 180}, 360, {"a": 0})
    assert limits == pytest.approx({"a": 60, "b": 144, "c": 216})


def test_never_more_than_is_left():
    limits, ended, spent = shares({"a": 1, "b": 1, "c": 1000}, 50, {})
    assert limits == pytest.approx({"a": 20, "b": 20, "c": 10})  # the least share is 20
    assert spent == pytest.approx(50)
    assert all(one.well for one in ended)


def test_without_time_nothing_is_begun():
    limits, ended, _ = shares({"a": 1, "b": 1, "c": 1}, 23, {"a": 20})
    assert list(limits) == ["a"]
    assert [one.how for one in ended[1:]] == ["not begun: no time was left"] * 2


def test_a_stage_knows_what_it_has_left(tmp_path):
    clock = Clock()
    stage = Stage(tmp_path / "x.json", "cuda", 30, clock=clock)
    clock.now += 12
    assert stage.left() == pytest.approx(18)
    clock.now += 20
    assert stage.left() < 0
