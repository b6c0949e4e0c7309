"""Overlap on paper."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.parallel import overlap

LAYERS = 58


def layer(attention, exchange, experts):
    return [("compute", attention), ("network", exchange), ("compute", experts), ("network", exchange)]


@pytest.mark.parametrize(("exchange", "faster"), [(0.25, 1.25), (0.5, 1.50), (1.0, 1.99), (2.0, 1.50)])
def test_what_halves_with_the_batch_is_up_to_twice_as_fast(exchange, faster):
    one = overlap(layer(1.0, exchange, 1.0), LAYERS, 1).total
    two = overlap(layer(0.5, exchange / 2, 0.5), LAYERS, 2).total
    assert one / two == pytest.approx(faster, abs=0.005)


@pytest.mark.parametrize(
    ("exchange", "faster"), [(0.05, 0.70), (0.1, 0.73), (0.2, 0.80), (0.5, 1.0), (1.0, 1.0)]
)
def test_reading_weights_and_latency_do_not_halve(exchange, faster):
    one = overlap(layer(1.0, exchange, 1.0), LAYERS, 1).total
    two = overlap(layer(0.5, exchange, 1.0), LAYERS, 2).total
    assert one / two == pytest.approx(faster, abs=0.005)


@given(
    st.lists(st.tuples(st.sampled_from(["compute", "network"]), st.floats(0, 10)), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_a_schedule_can_be_carried_out(stages, n_layers, n_micro):
    found = overlap(stages, n_layers, n_micro)
    assert len(found.bars) == n_layers * len(stages) * n_micro
    for micro in range(n_micro):  # one stage after the other
        mine = [bar for bar in found.bars if bar.micro_batch == micro]
        assert [bar.stage for bar in mine] == list(range(n_layers * len(stages)))
        assert all(a.end <= b.start for a, b in itertools.pairwise(mine))
    for resource in ("compute", "network"):  # one stage at a time
        busy = sorted((bar.start, bar.end) for bar in found.bars if bar.resource == resource)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(busy))
        work = n_layers * n_micro * sum(seconds for name, seconds in stages if name == resource)
        assert found.total >= work * (1 - 1e-9)
    one = sum(seconds for _, seconds in stages) * n_layers
    assert one * (1 - 1e-9) <= found.total <= one * n_micro * (1 + 1e-9)


@pytest.mark.parametrize(
    ("stages", "n_layers", "message"),
    [
        ([("gpu", 1.0)], 1, "stage .'gpu', 1.0.: give one of"),
        ([("compute", -1.0)], 1, "0 or more"),
        ([("compute", 1.0)], 0, "n_layers=0"),
    ],
)
def test_what_makes_no_sense_is_refused(stages, n_layers, message):
    with pytest.raises(ValueError, match=message):
        overlap(stages, n_layers, 1)
