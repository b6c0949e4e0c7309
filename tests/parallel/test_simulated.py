import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.parallel.simulated import contiguous_placement, dispatch_bytes, exchange_us, step_us


@st.composite
def layouts(draw):
    """Ids, and a rank for every token and every expert, in no particular order."""
    G, E, K = draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    T = draw(st.integers(0, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    ids_TK = torch.randint(E, (T, K), generator=generator)
    token_T = torch.randint(G, (T,), generator=generator)
    expert_E = torch.randint(G, (E,), generator=generator)
    return ids_TK, token_T, expert_E


@settings(deadline=None)
@given(layouts(), st.integers(1, 100), st.booleans())
def test_bytes_agree_with_a_loop(layout, row_bytes, once_per_rank):
    ids_TK, token_T, expert_E = layout
    found_GG = dispatch_bytes(*layout, row_bytes, once_per_rank=once_per_rank)
    expected_GG = torch.zeros_like(found_GG)
    for t, row in enumerate(ids_TK.tolist()):
        goes_to = [int(expert_E[e]) for e in row]
        for rank in set(goes_to) if once_per_rank else goes_to:
            expected_GG[int(token_T[t]), rank] += row_bytes
    torch.testing.assert_close(found_GG, expected_GG, rtol=0, atol=0)


@settings(deadline=None)
@given(layouts())
def test_every_row_travels_and_sending_once_is_never_more(layout):
    each_GG, once_GG = dispatch_bytes(*layout, 1), dispatch_bytes(*layout, 1, once_per_rank=True)
    assert int(each_GG.sum()) == layout[0].numel()
    assert bool((once_GG <= each_GG).all())
    assert bool(((once_GG > 0) == (each_GG > 0)).all())


@settings(deadline=None)
@given(layouts(), st.floats(0, 50), st.floats(0.1, 900))
def test_time_agrees_with_a_loop_and_combine_takes_as_long(layout, latency_us, gigabytes_per_s):
    bytes_GG = dispatch_bytes(*layout, 1000)
    found_G = exchange_us(bytes_GG, latency_us, gigabytes_per_s)
    for g in range(len(bytes_GG)):
        others = [h for h in range(len(bytes_GG)) if h != g]
        sent, received = [int(bytes_GG[g, h]) for h in others], [int(bytes_GG[h, g]) for h in others]
        partners = max(sum(map(bool, sent)), sum(map(bool, received)))
        seconds = partners * latency_us * 1e-6 + max(sum(sent), sum(received)) / (gigabytes_per_s * 1e9)
        assert float(found_G[g]) == pytest.approx(seconds * 1e6)
    torch.testing.assert_close(exchange_us(bytes_GG.T, latency_us, gigabytes_per_s), found_G)


def test_what_stays_at_home_is_free():
    at_home_GG = torch.diag(torch.tensor([10**9, 5]))
    assert exchange_us(at_home_GG, 7.0, 1.0).tolist() == [0, 0]
    at_home_GG[0, 1] = 1
    assert float(exchange_us(at_home_GG, 7.0, 1.0)[0]) > 7


def test_the_slowest_rank_sets_each_phase():
    compute_G, there_G, back_G = torch.tensor([1.0, 9.0]), torch.tensor([4.0, 2.0]), torch.tensor([3.0, 5.0])
    assert float(step_us(compute_G, [there_G, back_G])) == 9 + 4 + 5
    assert float(step_us(compute_G, [])) == 9


def test_placement_gives_every_rank_as_many():
    assert torch.bincount(contiguous_placement(256, 8)).tolist() == [32] * 8
    assert contiguous_placement(0, 4).shape == (0,)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: contiguous_placement(6, 4), "n_ranks=4"),
        (lambda: contiguous_placement(6, 0), "n_ranks=0"),
        (
            lambda: dispatch_bytes(torch.zeros(3, 1).long(), torch.zeros(2).long(), torch.zeros(1).long(), 4),
            "3 tokens",
        ),
        (lambda: exchange_us(torch.zeros(2, 3), 1, 1), "square"),
        (lambda: exchange_us(torch.zeros(2, 2), -1, 1), "latency_us=-1"),
        (lambda: exchange_us(torch.zeros(2, 2), 1, 0), "gigabytes_per_s=0"),
    ],
)
def test_errors_name_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()
