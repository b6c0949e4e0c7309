"""Where loops say that they are."""

import gc

import pytest

from moe_lessons import steps
from moe_lessons.steps import Place, each, share_done, where


@pytest.fixture(autouse=True)
def nothing_open():
    steps.forget()
    yield
    steps.forget()


def test_loops_inside_each_other():
    told = [where() for _ in each("ab", "letter") for _ in each(range(1000, 3000, 1000), "step")]
    assert told[-1] == "letter 2 of 2, step 2 of 2"
    assert where() == ""
    assert share_done() is None


def test_a_loop_that_is_left_early_closes():
    for seed in each(range(3), "seed"):
        if seed == 1:
            break
    gc.collect()
    assert where() == ""


def fail(error):
    with Place("step", 5):
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_closes(error):
    with pytest.raises(error):
        fail(error)
    assert where() == ""


def test_the_share_never_goes_back_and_knows_no_size_zero():
    shares = [share_done() for _ in each(range(3), "seed") for _ in each(range(4), "step")]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] < 1
    with Place("step", 0):
        assert share_done() == 0.0


def test_toy_runs_and_training_say_their_steps():
    from moe_lessons.toy import TopK, Toy, ToyRun

    class Asks(TopK):
        def after_step(self, decision):
            told.append(where())

    told = []
    ToyRun(Toy(n_seeds=1, n_tokens=8), Asks(1)).advance(2)
    assert told == ["step 1 of 2", "step 2 of 2"]
