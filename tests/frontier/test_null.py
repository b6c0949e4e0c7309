"""Null experts: against a loop, the bias that holds their number, and the layer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.frontier.null import NullExperts, null_experts, null_experts_loop, stepped


@settings(deadline=None)
@given(st.data())
def test_the_fast_one_agrees_with_the_loop(data):
    n_real, n_null = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    top_k = data.draw(st.integers(1, n_real + n_null))
    logits_TC = torch.randn(
        7, n_real + n_null, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    )
    given = logits_TC, data.draw(st.floats(-0.2, 0.2)), n_real, top_k, data.draw(st.floats(0, top_k)), 0.01
    fast, slow = null_experts(*given), null_experts_loop(*given)
    torch.testing.assert_close(fast.weights_TE, slow.weights_TE)
    assert torch.equal(fast.n_real_T, slow.n_real_T)
    assert fast.bias == slow.bias


def test_a_bias_changes_choices_and_never_the_weights_of_the_same_choice():
    logits_TC = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    plain, steered = (null_experts(logits_TC, bias, 4, 2, 1.0, 0.01) for bias in (0.0, 0.05))
    alike_T = ((plain.weights_TE > 0) == (steered.weights_TE > 0)).all(1) & (plain.n_real_T > 0)
    assert 5 < alike_T.sum() < 50
    assert torch.equal(plain.weights_TE[alike_T], steered.weights_TE[alike_T])
    assert steered.n_real_T.sum() < plain.n_real_T.sum()


def test_the_bias_holds_the_mean_on_a_router_that_drifts():
    g = torch.Generator().manual_seed(0)
    means = {}
    for rate in (0.0, 0.003):
        bias, last = 0.0, []
        for step in range(300):
            logits_TC = torch.randn(128, 16, generator=g)
            logits_TC[:, :8] += 2.0 * step / 300
            choice = null_experts(logits_TC, bias, 8, 4, 2.0, rate)
            bias = choice.bias
            last.append(choice.n_real_T.double().mean().item())
        means[rate] = sum(last[-40:]) / 40
    assert abs(means[0.003] - 2.0) < 0.1
    assert means[0.0] > 3.0  # without the bias it would have run away


def test_a_step_stops_at_the_target():
    assert stepped(0.3, torch.tensor([1, 3]), 2.0, 0.1) == 0.3


def test_bad_arguments_are_refused():
    logits_TC = torch.zeros(3, 4)
    with pytest.raises(ValueError, match="n_real is 4 with 4 columns"):
        null_experts(logits_TC, 0.0, 4, 2, 1.0, 0.1)
    with pytest.raises(ValueError, match="top_k is 5"):
        null_experts(logits_TC, 0.0, 2, 5, 1.0, 0.1)
    with pytest.raises(ValueError, match="target is 3: choose 0 to top_k=2"):
        null_experts(logits_TC, 0.0, 2, 2, 3, 0.1)


def layer(**more):
    torch.manual_seed(0)
    return NullExperts(16, 8, n_experts=4, n_null=4, top_k=3, target=1.5, **more)


def test_the_layer_decides_as_the_function_does():
    made = layer().eval()
    hidden = torch.randn(1, 20, 16)
    with torch.no_grad():
        output, _ = made(hidden)
        logits_TC = made.layer.router(hidden[0])
        choice = null_experts(logits_TC, 0.0, 4, 3, 1.5, 0.0)
        experts = made.layer.experts
        expected = torch.zeros(20, 16)
        for e in range(4):
            gate, up = (hidden[0] @ experts.gate_up_proj[e].T).chunk(2, -1)
            expected += choice.weights_TE[:, e : e + 1] * (
                (torch.nn.functional.silu(gate) * up) @ experts.down_proj[e].T
            )
    assert torch.equal(made.n_real_T, choice.n_real_T)
    torch.testing.assert_close(output[0], expected)


def test_a_token_of_null_experts_alone_gets_nothing():
    made = layer().eval()
    with torch.no_grad():
        made.layer.router.expert_bias_E[4:] = 10.0
        output, _ = made(torch.randn(1, 6, 16))
    assert made.n_real_T.tolist() == [0] * 6
    assert output.abs().max() == 0


def test_the_bias_moves_in_training_only():
    made = layer(rate=0.01)
    hidden = torch.randn(1, 50, 16)
    made(hidden)
    after = made.layer.router.expert_bias_E.clone()
    assert after[:4].abs().max() == 0
    assert after[4:].abs().min() == pytest.approx(0.01)
    made.eval()(hidden)
    assert torch.equal(made.layer.router.expert_bias_E, after)


def test_the_router_gets_a_gradient_from_output_and_loss():
    for which in (0, 1):
        made = layer()
        made(torch.randn(1, 50, 16))[which].square().sum().backward()
        assert made.layer.router.weight.grad.abs().max() > 0
