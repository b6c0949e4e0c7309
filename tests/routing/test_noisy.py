import math

import pytest
import torch

from moe_lessons.routing import jitter, noisy_topk, topk_softmax


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed=7):
    return torch.Generator().manual_seed(seed)


def test_training_by_loop():
    logits_TE, scales_TE = draw(6, 5), draw(6, 5, seed=1)
    routing, clean_TE, std_TE = noisy_topk(logits_TE, scales_TE, 2, training=True, generator=seeded())
    eps_TE = torch.randn(6, 5, generator=seeded(), dtype=torch.float64)
    for t in range(6):
        noisy = [
            float(logits_TE[t, e]) + float(eps_TE[t, e]) * math.log1p(math.exp(float(scales_TE[t, e])))
            for e in range(5)
        ]
        best = sorted(range(5), key=lambda e: -noisy[e])[:2]
        total = sum(math.exp(noisy[e]) for e in best)
        assert routing.topk_ids_TK[t].tolist() == best
        assert routing.topk_weights_TK[t].tolist() == pytest.approx(
            [math.exp(noisy[e]) / total for e in best]
        )
        assert routing.logits_TE[t].tolist() == pytest.approx(noisy)
    assert torch.equal(clean_TE, logits_TE)
    torch.testing.assert_close(std_TE, scales_TE.exp().log1p())


def test_evaluation_is_silent_and_draws_nothing():
    logits_TE, generator = draw(6, 5), seeded()
    before = generator.get_state()
    noisy = noisy_topk(logits_TE, draw(6, 5, seed=1), 2, training=False, generator=generator)
    for ours, expected in zip(noisy.routing, topk_softmax(logits_TE, 2), strict=True):
        assert torch.equal(ours, expected)
    assert torch.equal(generator.get_state(), before)
    hidden_TD = draw(6, 3)
    assert jitter(hidden_TD, 0.5, training=False, generator=generator) is hidden_TD
    assert torch.equal(generator.get_state(), before)


def test_the_noise_has_the_size_it_says():
    logits_TE = torch.zeros(20_000, 2, dtype=torch.float64)
    scales_TE = torch.tensor([[0.5, 2.0]], dtype=torch.float64).expm1().log().expand(20_000, 2)
    noisy = noisy_topk(logits_TE, scales_TE, 1, training=True, generator=seeded())
    assert noisy.routing.logits_TE.std(0).tolist() == pytest.approx([0.5, 2.0], rel=0.03)
    assert noisy.routing.logits_TE.mean(0).tolist() == pytest.approx([0.0, 0.0], abs=0.05)


def test_gradients_reach_both_maps():
    logits_TE, scales_TE = draw(4, 5).requires_grad_(), draw(4, 5, seed=1).requires_grad_()

    def weights(logits_TE, scales_TE):
        return noisy_topk(logits_TE, scales_TE, 3, training=True, generator=seeded()).routing.topk_weights_TK

    assert torch.autograd.gradcheck(weights, (logits_TE, scales_TE))
    weights(logits_TE, scales_TE)[:, 0].sum().backward()
    assert scales_TE.grad.abs().max() > 1e-3


def test_jitter_multiplies_within_its_bounds():
    hidden_TD = draw(400, 8)
    factor_TD = jitter(hidden_TD, 0.1, training=True, generator=seeded()) / hidden_TD
    assert 0.9 <= float(factor_TD.min()) < 0.901
    assert 1.099 < float(factor_TD.max()) <= 1.1
    assert float(factor_TD.mean()) == pytest.approx(1.0, abs=0.005)
    assert torch.equal(jitter(hidden_TD, 0.0, training=True), hidden_TD)
    narrow_TD = hidden_TD.bfloat16()
    assert jitter(narrow_TD, 0.1, training=True).dtype == torch.bfloat16


def test_bad_arguments_get_one_clear_line():
    with pytest.raises(ValueError, match=r"noise_scale_logits_TE has shape \(1, 3\) but logits_TE \(2, 3\)"):
        noisy_topk(torch.zeros(2, 3), torch.zeros(1, 3), 1, training=True)
    with pytest.raises(ValueError, match=r"noise_scale_logits_TE holds NaN"):
        noisy_topk(torch.zeros(1, 2), torch.tensor([[0.0, torch.nan]]), 1, training=False)
    for epsilon in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match=rf"epsilon is {epsilon}: choose 0 to 1"):
            jitter(torch.zeros(2, 3), epsilon, training=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_jitter_in_16_bits_is_neither_biased_nor_one_sided(dtype):
    """Drawn in bf16, noise from 0.99 to 1.01 is never above 1."""
    factor_TD = jitter(torch.ones(400, 50, dtype=dtype), 0.01, training=True, generator=seeded()).float()
    assert float(factor_TD.mean()) == pytest.approx(1.0, abs=3e-4)
    assert float(factor_TD.min()) < 0.9925
    assert float(factor_TD.max()) > 1.0075
