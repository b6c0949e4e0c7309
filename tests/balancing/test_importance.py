import math

import pytest
import torch

from moe_lessons.balancing import cv_squared, importance_loss, load_loss, selection_probability
from moe_lessons.metrics import coefficient_of_variation
from moe_lessons.routing import topk_softmax


def draw(n_tokens=10, n_experts=5, seed=0):
    """Clean logits, noisy logits and the noise's deviations."""
    generator = torch.Generator().manual_seed(seed)
    logits_TE, noise_TE, raw_TE = torch.randn(3, n_tokens, n_experts, generator=generator).double()
    std_TE = torch.nn.functional.softplus(raw_TE) + 0.01
    return logits_TE, logits_TE + noise_TE * std_TE, std_TE


def chance(clean, noisy, std, token, expert, top_k):
    """Equation 9, literally: Phi((clean - kth highest noisy logit of the others) / std)."""
    others = sorted((float(x) for i, x in enumerate(noisy[token]) if i != expert), reverse=True)
    z = (float(clean[token, expert]) - others[top_k - 1]) / float(std[token, expert])
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def test_cv_squared_is_the_square_of_the_metric():
    values_E = torch.tensor([4.0, 0.0, 1.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(cv_squared(values_E), coefficient_of_variation(values_E) ** 2)
    assert float(cv_squared(torch.zeros(3))) == 0
    assert float(cv_squared(torch.tensor([5.0]))) == 0


def test_importance_sums_weights_and_not_tokens():
    routing = topk_softmax(draw()[0], 2)
    sums = [0.0] * 5
    for ids, weights in zip(routing.topk_ids_TK.tolist(), routing.topk_weights_TK.tolist(), strict=True):
        for expert, weight in zip(ids, weights, strict=True):
            sums[expert] += weight
    expected = cv_squared(torch.tensor(sums, dtype=torch.float64))
    torch.testing.assert_close(importance_loss(routing.topk_weights_TK, routing.topk_ids_TK, 5), expected)
    # Even importance with loads 1 and 9, which a count would call uneven.
    weights_TK = torch.tensor([[0.9]] + [[0.1]] * 9)
    ids_TK = torch.tensor([[0]] + [[1]] * 9)
    assert float(importance_loss(weights_TK, ids_TK, 2)) == pytest.approx(0, abs=1e-12)


def test_importance_has_a_gradient_through_the_gate():
    logits_TE = draw()[0].requires_grad_()

    def loss(logits_TE):
        routing = topk_softmax(logits_TE, 2)
        return importance_loss(routing.topk_weights_TK, routing.topk_ids_TK, 5)

    assert torch.autograd.gradcheck(loss, (logits_TE,))
    (gradient_TE,) = torch.autograd.grad(loss(logits_TE), logits_TE)
    assert float(gradient_TE.abs().max()) > 1e-3


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_selection_probability_is_equation_nine(top_k):
    clean, noisy, std = draw()
    expected = [[chance(clean, noisy, std, t, e, top_k) for e in range(5)] for t in range(10)]
    actual_TE = selection_probability(clean, noisy, std, top_k)
    torch.testing.assert_close(actual_TE, torch.tensor(expected, dtype=torch.float64))
    total_E = torch.tensor(expected, dtype=torch.float64).sum(0)
    torch.testing.assert_close(load_loss(clean, noisy, std, top_k), cv_squared(total_E))


def test_selection_probability_is_how_often_new_noise_selects():
    clean, noisy, std = draw(n_tokens=1)
    noise_N = torch.randn(200_000, generator=torch.Generator().manual_seed(1)).double()
    for expert in range(5):
        drawn = noisy.repeat(len(noise_N), 1)
        drawn[:, expert] = clean[0, expert] + std[0, expert] * noise_N
        share = float((drawn.topk(2).indices == expert).any(1).double().mean())
        assert share == pytest.approx(float(selection_probability(clean, noisy, std, 2)[0, expert]), abs=5e-3)


def test_load_loss_has_a_gradient_where_a_count_has_none():
    leaves = [tensor.requires_grad_() for tensor in draw(n_tokens=4)]
    assert torch.autograd.gradcheck(lambda *tensors: load_loss(*tensors, 2), leaves)
    (gradient_TE,) = torch.autograd.grad(load_loss(*leaves, 2), leaves[0])
    assert float(gradient_TE.abs().max()) > 1e-3


def test_a_mask_is_the_same_as_leaving_the_tokens_out():
    clean, noisy, std = draw()
    keep_T = torch.arange(10) % 3 != 1
    torch.testing.assert_close(
        load_loss(clean, noisy, std, 2, mask_T=keep_T),
        load_loss(clean[keep_T], noisy[keep_T], std[keep_T], 2),
    )
    routing = topk_softmax(clean, 2)
    masked = importance_loss(routing.topk_weights_TK, routing.topk_ids_TK, 5, mask_T=keep_T)
    without = importance_loss(routing.topk_weights_TK[keep_T], routing.topk_ids_TK[keep_T], 5)
    torch.testing.assert_close(masked, without)


def test_nothing_to_even_out_costs_nothing_and_moves_nothing():
    clean, noisy, std = draw()
    clean.requires_grad_()
    nobody_T = torch.zeros(10, dtype=torch.bool)
    routing = topk_softmax(clean, 2)
    for loss in (
        load_loss(clean, noisy, std, 2, mask_T=nobody_T),
        importance_loss(routing.topk_weights_TK, routing.topk_ids_TK, 5, mask_T=nobody_T),
    ):
        (gradient_TE,) = torch.autograd.grad(loss, clean)
        assert loss.item() == 0
        assert torch.equal(gradient_TE, torch.zeros_like(clean))
    assert load_loss(clean, noisy, std, 5).item() == 0  # K = E: everyone is chosen
    one_T1 = torch.zeros(4, 1)
    assert load_loss(one_T1, one_T1, torch.ones(4, 1), 1).item() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: load_loss(x, x[:, :2], x.exp(), 1), r"noisy_logits_TE has shape \(4, 2\): give that of"),
        (lambda x: load_loss(x, x, 0 * x, 1), "noise_std_TE goes down to 0.0: give positive deviations"),
        (lambda x: load_loss(x, x, x.exp(), 4), "top_k is 4 with 3 experts: choose 1 to 3"),
        (lambda x: load_loss(x * math.nan, x, x.exp(), 1), "logits_TE holds NaN"),
        (lambda x: load_loss(x, x, x.exp(), 1, mask_T=x[:2, 0]), r"mask_T has shape \(2,\): give one entry"),
        (lambda x: importance_loss(x, x[:, :1].long(), 3), r"topk_weights_TK has shape \(4, 3\), topk_ids"),
        (lambda x: importance_loss(x * math.nan, x.long(), 3), "topk_weights_TK holds NaN"),
    ],
)
def test_bad_arguments_get_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(torch.zeros(4, 3))
    assert "\n" not in str(error.value)


def test_ids_of_no_expert_and_infinite_padding():
    weights_TK, ids_TK = torch.tensor([[0.5], [1.5], [math.inf]]), torch.tensor([[0], [1], [1]])
    assert importance_loss(weights_TK, ids_TK, 2, mask_T=torch.tensor([1, 1, 0])).item() == 0.25
    with pytest.raises(ValueError, match=r"topk_ids_TK runs from 0 to 1 with 1 experts: keep ids in 0..0"):
        importance_loss(weights_TK, ids_TK, 1)
    assert cv_squared(torch.tensor([3, 1])).item() == 0.25  # counts are whole numbers
