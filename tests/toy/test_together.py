"""Runs side by side end where runs one after the other do."""

import threading

import pytest
import torch

from moe_lessons.steps import Place, where
from moe_lessons.toy import TopK, Toy, ToyRun, advance_all, load_balancing

SMALL = {"n_seeds": 2, "n_tokens": 32}


def some_runs():
    return [
        ToyRun(Toy(mu=mu, seed=seed, **SMALL), TopK(top_k), loss=load_balancing, alpha=alpha)
        for mu, seed, top_k, alpha in ((0.0, 0, 1, 0.0), (4.0, 1, 2, 0.3), (2.0, 2, 1, 0.1), (4.0, 3, 1, 0.0))
    ]


def test_the_same_to_the_bit():
    together, alone = some_runs(), some_runs()
    advance_all(together, 20)
    for one, other in zip(together, alone, strict=True):
        other.advance(20)
        assert torch.equal(one.error_NS, other.error_NS)
        assert torch.equal(one.shares_NSE, other.shares_NSE)
        assert torch.equal(one.up_SDEF, other.up_SDEF)


class Breaks(TopK):
    def after_step(self, decision):
        raise ZeroDivisionError("in the third run")


def test_what_one_run_raises_is_raised_and_no_place_stays_open():
    runs = some_runs()
    runs[2] = ToyRun(Toy(**SMALL), Breaks(1))
    with pytest.raises(ZeroDivisionError, match="in the third run"):
        advance_all(runs, 5)
    assert where() == ""


def test_no_runs():
    advance_all([], 5)


def test_loops_of_other_threads_have_no_place():
    told = []

    def loop():
        with Place("step", 3):
            told.append(where())

    with Place("run", 2):
        thread = threading.Thread(target=loop)
        thread.start()
        thread.join()
    assert told == ["run 0 of 2"]
