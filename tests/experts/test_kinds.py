import pickle

import pytest
import torch
from torch.nn import functional as F

from moe_lessons.experts import (
    SWIGLU,
    ExpertKind,
    Experts,
    SharedExperts,
    SwiGLUExperts,
    clamped_swiglu,
    gated,
    late_clamped_swiglu,
    offset_swiglu,
    softcapped_swiglu,
    ungated,
)

KINDS = [
    SWIGLU,
    gated("gelu_tanh"),
    gated("silu", bias=True),
    gated("silu", norm_eps=1e-6),
    ungated("relu2"),
    ungated("relu", bias=True),
    clamped_swiglu(0.5),
    late_clamped_swiglu(0.5),
    offset_swiglu(1.702, 0.5, bias=True),
    softcapped_swiglu(0.5, 0.7),
]


def bank(kind, seed=0):
    experts = Experts(3, 4, 5, kind)
    generator = torch.Generator().manual_seed(seed)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return experts


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_gradients(kind):
    experts = bank(kind).double()
    names = [name for name, _ in experts.named_parameters()]
    rows = [torch.randn(n, 4, dtype=torch.float64) for n in (2, 0, 1)]

    class Run(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = experts

        def forward(self, *rows):
            return torch.cat(self.experts.run(rows))

    def forward(*parameters):
        values = {f"experts.{name}": value for name, value in zip(names, parameters, strict=True)}
        return torch.func.functional_call(Run(), values, tuple(rows))

    leaves = [parameter.detach().requires_grad_() for parameter in experts.parameters()]
    assert torch.autograd.gradcheck(forward, leaves)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_bank_of_one_is_a_network_for_all_tokens(kind):
    shared = SharedExperts(1, 4, 5, kind)
    for parameter in shared.parameters():
        torch.nn.init.normal_(parameter)
    hidden = torch.randn(2, 3, 4)
    torch.testing.assert_close(shared(hidden).flatten(0, 1), shared.run([hidden.flatten(0, 1)])[0])
    assert torch.equal(pickle.loads(pickle.dumps(shared))(hidden), shared(hidden))


def test_gpt_oss_by_hand():
    """(clamp(u) + 1) g sigmoid(alpha g), from the paper's words, on numbers beyond the limits."""
    gate, up = torch.tensor([-20.0, 3.0, 20.0]), torch.tensor([-20.0, 2.0, 20.0])
    found = offset_swiglu(1.702, 7.0).activation(torch.cat([gate, up]).unsqueeze(0))
    g, u = torch.tensor([-20.0, 3.0, 7.0]), torch.tensor([-7.0, 2.0, 7.0])  # the gate has no lower limit
    torch.testing.assert_close(found[0], (u + 1) * g / (1 + torch.exp(-1.702 * g)))


def test_where_a_gate_is_clamped_matters():
    """Before SiLU as in DeepSeek-V4, or after it as in Step-3.7."""
    hidden = torch.tensor([[3.0, 1.0]])
    early, late = clamped_swiglu(2.0).activation(hidden), late_clamped_swiglu(2.0).activation(hidden)
    torch.testing.assert_close(early, F.silu(torch.tensor([[2.0]])))
    torch.testing.assert_close(late, torch.tensor([[2.0]]))


def test_the_bank_of_swiglu_is_the_quick_one():
    quick, any_kind = SwiGLUExperts(3, 4, 5), Experts(3, 4, 5, SWIGLU)
    any_kind.load_state_dict(quick.state_dict())
    assert SWIGLU.is_swiglu
    assert gated("silu").is_swiglu
    assert not any(kind.is_swiglu for kind in KINDS[1:])


def test_names_and_errors():
    assert ungated("relu2").equation == "relu(h)^2"
    assert isinstance(gated("gelu"), ExpertKind)
    with pytest.raises(ValueError, match="act is 'mish': choose one of silu, relu, gelu"):
        gated("mish")
    with pytest.raises(ValueError, match="d_expert is 0: give at least 1"):
        Experts(3, 4, 0)
    assert "relu(h)^2" in repr(Experts(3, 4, 5, ungated("relu2")))
