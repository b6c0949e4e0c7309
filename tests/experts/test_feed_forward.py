import pytest
import torch

from moe_lessons.experts import SwiGLU, SwiGLUExperts, ffn, swiglu, swiglu_activation


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_swiglu_is_its_equation():
    hidden_ND, gate_FD, up_FD, down_DF = (
        draw(4, 3),
        draw(5, 3, seed=1),
        draw(5, 3, seed=2),
        draw(3, 5, seed=3),
    )
    gate_NF = hidden_ND @ gate_FD.T
    expected_ND = (gate_NF * gate_NF.sigmoid() * (hidden_ND @ up_FD.T)) @ down_DF.T
    torch.testing.assert_close(swiglu(hidden_ND, torch.cat([gate_FD, up_FD]), down_DF), expected_ND)
    swapped_ND = swiglu(hidden_ND, torch.cat([up_FD, gate_FD]), down_DF)
    assert not torch.allclose(swapped_ND, expected_ND)


def test_ffn_is_its_equation():
    hidden_ND, up_FD, down_DF = draw(4, 3), draw(5, 3, seed=1), draw(3, 5, seed=2)
    expected_ND = (hidden_ND @ up_FD.T).clamp(min=0) @ down_DF.T
    torch.testing.assert_close(ffn(hidden_ND, up_FD, down_DF), expected_ND)


def test_gradients():
    inputs = [
        draw(4, 3).requires_grad_(),
        draw(10, 3, seed=1).requires_grad_(),
        draw(3, 5, seed=2).requires_grad_(),
    ]
    assert torch.autograd.gradcheck(swiglu, inputs)
    assert torch.autograd.gradcheck(swiglu_activation, (draw(4, 6).requires_grad_(),))


def test_no_rows_is_fine():
    assert swiglu(draw(0, 3), draw(10, 3), draw(3, 5)).shape == (0, 3)


def test_initial_weights_follow_the_generator_and_std():
    banks = [
        SwiGLUExperts(8, 32, 16, std=0.1, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    ]
    assert torch.equal(banks[0].gate_up_proj, banks[1].gate_up_proj)
    assert not torch.equal(banks[0].gate_up_proj, banks[2].gate_up_proj)
    assert banks[0].gate_up_proj.shape == (8, 32, 32)
    assert banks[0].down_proj.shape == (8, 32, 16)
    for weight in banks[0].parameters():
        assert float(weight.detach().std()) == pytest.approx(0.1, rel=0.1)
    assert float(SwiGLU(32, 64).down_proj.detach().std()) == pytest.approx(0.02, rel=0.2)


def test_modules_print_their_sizes():
    assert repr(SwiGLUExperts(8, 4, 6)) == "SwiGLUExperts(n_experts=8, d_model=4, d_expert=6)"
    assert repr(SwiGLU(4, 6)) == "SwiGLU(d_model=4, d_hidden=6)"


@pytest.mark.parametrize("name", ["n_experts", "d_model", "d_expert"])
def test_sizes_below_one_are_refused(name):
    sizes = {"n_experts": 2, "d_model": 2, "d_expert": 2, name: 0}
    with pytest.raises(ValueError, match=f"{name} is 0: give at least 1"):
        SwiGLUExperts(**sizes)
    with pytest.raises(ValueError, match="d_hidden is -1: give at least 1"):
        SwiGLU(4, -1)
