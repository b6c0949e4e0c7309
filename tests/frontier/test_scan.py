"""The selective scan: matrix and loop, gradients, what it may see."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.frontier.scan import Selective, selective_scan, selective_scan_loop


def inputs(*lead, length=7, width=3, n_state=4, seed=0):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*lead, *shape, generator=g, dtype=torch.float64)

    return normal(length, width), normal(length, n_state), normal(length, n_state), -normal(length).abs()


@settings(deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from([(), (2,), (2, 3)]),
    st.integers(0, 99),
)
def test_the_matrix_is_the_recurrence(length, width, n_state, lead, seed):
    given = inputs(*lead, length=length, width=width, n_state=n_state, seed=seed)
    torch.testing.assert_close(selective_scan(*given), selective_scan_loop(*given))


def test_gradients_are_those_of_finite_differences():
    given = [x.requires_grad_() for x in inputs(length=4, width=2, n_state=2)]
    given[3] = (given[3].detach() - 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: selective_scan(*a), given)


def test_long_and_strong_forgetting_stays_finite():
    """The differences of large sums must not overflow above the diagonal."""
    x, b, c, _ = (part.float() for part in inputs(length=500))
    for decay in (0.0, -1.0, -50.0):
        out = selective_scan(x, b, c, torch.full((500,), decay))
        assert out.isfinite().all()


def test_later_inputs_change_no_earlier_output():
    x, b, c, a = inputs(length=9)
    before = selective_scan(x, b, c, a)
    for part in (x, b, c, a):
        part[6:] = -part[6:].abs() * 2
    gap_L = (selective_scan(x, b, c, a) - before).abs().amax(-1)
    assert gap_L[:6].max() == 0
    assert gap_L[6:].min() > 0


def test_without_decay_it_is_a_running_sum_and_linear_in_x():
    x, b, c, a = inputs()
    ones, zero = torch.ones(7, 1, dtype=torch.float64), torch.zeros(7, dtype=torch.float64)
    torch.testing.assert_close(selective_scan(x, ones, ones, zero), x.cumsum(0))
    torch.testing.assert_close(selective_scan(3 * x, b, c, a), 3 * selective_scan(x, b, c, a))


@pytest.mark.parametrize("function", [selective_scan, selective_scan_loop])
def test_growth_is_refused(function):
    x, b, c, a = inputs()
    a[3] = 0.5
    with pytest.raises(ValueError, match=r"log_decay has 0\.5: a decay above 1 grows without end"):
        function(x, b, c, a)


def test_the_mixer_is_the_same_with_a_state_and_with_a_matrix():
    torch.manual_seed(0)
    mixer, hidden = Selective(16, n_heads=2, d_state=5), torch.randn(2, 11, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            mixer(hidden), mixer(hidden, scan=selective_scan_loop), rtol=1e-4, atol=1e-6
        )


def test_the_mixer_does_not_see_the_future():
    torch.manual_seed(0)
    mixer, first = Selective(16, n_heads=2, d_state=5), torch.randn(1, 11, 16)
    second = first.clone()
    second[0, 7] = torch.randn(16)
    with torch.no_grad():
        gap_L = (mixer(first) - mixer(second)).abs().amax(-1)[0]
    assert gap_L[:7].max() == 0
    assert gap_L[7:].min() > 0


def test_every_parameter_of_the_mixer_is_trained():
    torch.manual_seed(0)
    mixer = Selective(16, n_heads=2, d_state=5)
    mixer(torch.randn(2, 11, 16)).square().sum().backward()
    for name, parameter in mixer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
