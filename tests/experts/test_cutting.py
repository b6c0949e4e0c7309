import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.experts import merge_slices, split_experts
from moe_lessons.experts.feed_forward import swiglu_activation


def bank(n_experts, d_model, d_expert, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return (
        drawn(n_experts, 2 * d_expert, d_model),
        drawn(n_experts, d_model, d_expert),
        drawn(n_experts, d_model),
    )


def answer(gate_up, down, hidden_TD):
    return swiglu_activation(hidden_TD @ gate_up.T) @ down.T


sizes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))


@settings(deadline=None, max_examples=60)
@given(sizes, st.integers(0, 99))
def test_slices_of_an_expert_add_up_to_it(size, seed):
    n_experts, d_model, d_slice, granularity = size
    whole = bank(n_experts, d_model, d_slice * granularity, seed)
    cut = split_experts(*whole, granularity)
    assert cut.gate_up_proj.shape == (n_experts * granularity, 2 * d_slice, d_model)
    assert cut.down_proj.shape == (n_experts * granularity, d_model, d_slice)
    assert cut.factor == granularity
    hidden_TD = torch.randn(6, d_model, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for e in range(n_experts):
        mine = range(e * granularity, (e + 1) * granularity)
        total_TD = sum(answer(cut.gate_up_proj[i], cut.down_proj[i], hidden_TD) for i in mine)
        torch.testing.assert_close(total_TD, answer(whole[0][e], whole[1][e], hidden_TD))
        assert all(torch.equal(cut.router_ED[i], whole[2][e]) for i in mine)


@settings(deadline=None, max_examples=60)
@given(sizes, st.integers(0, 99))
def test_merging_undoes_it_to_the_bit(size, seed):
    n_experts, d_model, d_slice, granularity = size
    whole = bank(n_experts, d_model, d_slice * granularity, seed)
    merged = merge_slices(*split_experts(*whole, granularity)[:3], granularity)
    assert all(torch.equal(*pair) for pair in zip(merged, whole, strict=True))


def test_rows_of_gate_and_up_stay_together():
    """Cutting the stacked 2F rows as they lie would pair gate rows with gate rows: another function."""
    gate_up, down, router = bank(2, 3, 4)
    mixed = gate_up.reshape(4, 4, 3)
    hidden_TD = torch.randn(5, 3, dtype=torch.float64)
    cut = split_experts(gate_up, down, router, 2)
    wrong = sum(answer(mixed[i], cut.down_proj[i], hidden_TD) for i in range(2))
    assert not torch.allclose(wrong, answer(gate_up[0], down[0], hidden_TD), atol=0.1)


def test_what_cannot_be_cut_or_merged_says_so():
    whole = bank(2, 3, 6)
    with pytest.raises(ValueError, match="granularity is 4: choose a divisor of d_expert=6, such as 2"):
        split_experts(*whole, 4)
    with pytest.raises(ValueError, match=r"down_proj has shape \(2, 6, 3\)"):
        split_experts(whole[0], whole[1].transpose(1, 2), whole[2], 2)
    cut = split_experts(*whole, 2)
    moved = cut.router_ED.clone()
    moved[0, 0] += 1
    with pytest.raises(ValueError, match="router_ED differs between slices"):
        merge_slices(cut.gate_up_proj, cut.down_proj, moved, 2)
    with pytest.raises(ValueError, match="choose a divisor of the 4 slices"):
        merge_slices(*cut[:3], 3)
