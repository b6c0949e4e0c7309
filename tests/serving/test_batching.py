"""A queue by hand, nobody served twice or too early, and what the three ways promise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.serving import MODES, Request, requests, simulate


class Clock:
    """A server whose steps take a second, and that remembers what it was asked to do."""

    def __init__(self):
        self.asked = []

    def step_s(self, tokens, cached=0):
        self.asked.append((tokens, cached))
        return 1.0


class PerToken:
    """A server that takes as long as it has tokens."""

    def step_s(self, tokens, cached=0):
        return float(tokens)


queues = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12
).map(lambda rows: [Request(float(a), p, r) for a, p, r in sorted(rows)])


@settings(deadline=None, max_examples=80)
@given(queues, st.integers(1, 5), st.sampled_from(MODES))
def test_everybody_gets_what_they_asked_for(wanted, slots, mode):
    clock = Clock()
    served = simulate(wanted, clock, slots, mode, chunk=8)
    written = sum(request.reply for request in wanted)
    assert len(served.finished_s) == len(served.first_s) == len(wanted)
    assert len(served.gaps_s) == written - len(wanted)
    assert served.tokens_per_s == pytest.approx(written / max(served.finished_s))
    assert served.most_at_once <= slots
    assert min(served.first_s) > 0
    for request, finished in zip(wanted, served.finished_s, strict=True):
        assert finished >= request.arrival_s + request.reply  # a second for each token at least
    tokens = sum(tokens for tokens, _ in clock.asked)
    assert tokens == sum(request.prompt + request.reply - 1 for request in wanted)
    if mode == "chunked":
        assert max(tokens for tokens, _ in clock.asked) <= 8


def test_by_hand():
    wanted = [Request(0, 4, 2), Request(0, 4, 5), Request(0, 4, 1)]
    assert simulate(wanted, Clock(), 2, "static").finished_s == [2, 5, 6]
    assert simulate(wanted, Clock(), 2, "continuous").finished_s == [3, 7, 4]
    assert simulate(wanted, Clock(), 2, "chunked", chunk=100).finished_s == [2, 5, 3]


def test_the_cache_is_counted():
    clock = Clock()
    simulate([Request(0, 4, 3)], clock, 1, "continuous")
    assert clock.asked == [(4, 4), (1, 5), (1, 6)]


def test_chunks_cut_prompts_and_writers_go_on():
    clock = Clock()
    served = simulate([Request(0, 2, 6), Request(0, 10, 1)], clock, 2, "chunked", chunk=5)
    # 2 + 3 of the prompts; then a writer and 4, and a writer and the last 3.
    assert [tokens for tokens, _ in clock.asked] == [5, 5, 4, 1, 1, 1]
    assert max(served.gaps_s) == 1
    stalled = simulate([Request(0, 2, 6), Request(1, 10, 1)], PerToken(), 2, "continuous")
    assert max(stalled.gaps_s) == 11  # the other's whole prompt, and its own token


def test_an_idle_server_waits_for_the_next():
    assert simulate([Request(5, 1, 1), Request(50, 1, 2)], Clock(), 3, "static").finished_s == [6, 52]


def test_made_up_requests():
    wanted = requests(2000, 10.0)
    assert wanted == requests(2000, 10.0)
    assert wanted != requests(2000, 10.0, seed=1)
    assert wanted[-1].arrival_s == pytest.approx(200, rel=0.1)
    assert sorted(r.prompt for r in wanted)[1000] == pytest.approx(245, rel=0.1)
    assert sorted(r.reply for r in wanted)[1000] == pytest.approx(99, rel=0.1)
    assert requests(0, 1.0) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate([], Clock(), 2, "static"), "0 requests, slots=2"),
        (lambda: simulate([Request(0, 1, 1)], Clock(), 0, "static"), "slots=0"),
        (lambda: simulate([Request(0, 1, 1)], Clock(), 2, "greedy"), "mode='greedy'"),
        (lambda: simulate([Request(0, 1, 1)], Clock(), 8, "chunked", chunk=8), "chunk=8: choose more than"),
        (lambda: requests(3, 0), "per_second=0"),
    ],
)
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
