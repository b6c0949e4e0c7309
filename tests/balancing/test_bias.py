import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from moe_lessons.balancing import (
    UPDATES,
    ema_update,
    load_error,
    proportional_update,
    quantile_bias,
    sign_update,
)
from moe_lessons.metrics import max_violation
from moe_lessons.routing import tokens_per_expert

N_EXPERTS, TOP_K = 16, 2


def uneven_scores(seed=0, n_tokens=1024, n_experts=N_EXPERTS):
    generator = torch.Generator().manual_seed(seed)
    preference_E = torch.randn(n_experts, generator=torch.Generator().manual_seed(7))
    return (torch.randn(n_tokens, n_experts, generator=generator) + preference_E).sigmoid()


def load(scores_TE, bias_E, top_k=TOP_K):
    return tokens_per_expert((scores_TE + bias_E).topk(top_k).indices, scores_TE.shape[1])


def settle(update, steps=400):
    """MaxVio of fresh tokens after steps of a rule, and the same without any bias."""
    bias_E = torch.zeros(N_EXPERTS)
    for step in range(steps):
        bias_E = update(bias_E, load(uneven_scores(step), bias_E))
    fresh_TE = uneven_scores(10_000, n_tokens=16_384)
    return tuple(float(max_violation(load(fresh_TE, b_E))) for b_E in (bias_E, torch.zeros(N_EXPERTS)))


def test_sign_update_is_algorithm_one():
    bias_E, counts_E, rate = torch.tensor([0.3, 0.0, -0.2, 0.1]), torch.tensor([8, 4, 0, 4]), 0.01
    expected = []
    for bias, count in zip(bias_E.tolist(), counts_E.tolist(), strict=True):
        error = sum(counts_E.tolist()) / 4 - count
        expected.append(bias + rate * ((error > 0) - (error < 0)))
    torch.testing.assert_close(sign_update(bias_E, counts_E, rate), torch.tensor(expected))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=9))
def test_recentred_steps_differ_by_a_constant_only(counts):
    counts_E, bias_E = torch.tensor(counts), torch.linspace(-1, 1, len(counts), dtype=torch.float64)
    plain_E, centred_E = (sign_update(bias_E, counts_E, 0.1, recenter=recenter) for recenter in (False, True))
    difference_E = plain_E - centred_E
    torch.testing.assert_close(difference_E, difference_E[:1].expand_as(difference_E))
    assert float(centred_E.sum()) == pytest.approx(float(bias_E.sum()), abs=1e-9)


@pytest.mark.parametrize("rule", UPDATES)
def test_rules_push_the_full_down_and_the_empty_up_layer_by_layer(rule):
    bias_LE = torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.0, 0.0]])
    before_LE = bias_LE.clone()
    counts_LE = torch.tensor([[6, 3, 0], [0, 0, 9]])
    stepped_LE = UPDATES[rule](bias_LE, counts_LE, 0.1)
    change_LE = stepped_LE - UPDATES[rule](bias_LE, torch.full((2, 3), 4), 0.1)  # against an even load
    assert torch.equal(change_LE.sign(), torch.tensor([[-1.0, 0.0, 1.0], [1.0, 1.0, -1.0]]))
    assert torch.equal(bias_LE, before_LE)  # a new tensor
    for layer in range(2):
        alone_E = UPDATES[rule](bias_LE[layer], counts_LE[layer], 0.1)
        torch.testing.assert_close(stepped_LE[layer], alone_E)


def test_errors_are_relative_so_the_batch_size_does_not_matter():
    counts_E = torch.tensor([7, 1, 0])
    torch.testing.assert_close(load_error(counts_E), load_error(100 * counts_E))
    assert torch.equal(load_error(torch.zeros(3, dtype=torch.int64)), torch.zeros(3))
    assert torch.equal(load_error(torch.tensor([5])), torch.zeros(1))  # E = 1


def test_sign_and_proportional_rules_balance_and_the_moving_average_stops_short():
    sign, none = settle(lambda bias_E, counts_E: sign_update(bias_E, counts_E, 0.003))
    proportional, _ = settle(lambda bias_E, counts_E: proportional_update(bias_E, counts_E, 0.01))
    averaged, _ = settle(lambda bias_E, counts_E: ema_update(bias_E, counts_E, 0.1, decay=0.9))
    assert none > 1.5
    assert sign < 0.2
    assert proportional < 0.2
    assert 0.3 < averaged < none  # a lasting bias needs a lasting error


def test_the_moving_average_rests_where_the_bias_is_gain_times_error():
    gain, bias_E, scores_TE = 0.1, torch.zeros(N_EXPERTS), uneven_scores(n_tokens=8192)
    for _ in range(300):
        bias_E = ema_update(bias_E, load(scores_TE, bias_E), gain, decay=0.9)
    torch.testing.assert_close(bias_E, gain * load_error(load(scores_TE, bias_E)), rtol=0, atol=2e-3)


def test_a_sign_turned_round_feeds_the_fullest():
    wrong, none = settle(lambda bias_E, counts_E: 2 * bias_E - sign_update(bias_E, counts_E, 0.003))
    assert wrong > 1.2 * none


@pytest.mark.parametrize(("n_tokens", "n_experts", "top_k"), [(1024, 16, 2), (600, 6, 1), (512, 64, 6)])
def test_quantile_bias_evens_out_the_tokens_it_is_made_of(n_tokens, n_experts, top_k):
    scores_TE = uneven_scores(3, n_tokens, n_experts)
    before = float(max_violation(load(scores_TE, torch.zeros(n_experts), top_k)))
    bias_E = quantile_bias(scores_TE, top_k, iterations=30)
    counts_E = load(scores_TE, bias_E, top_k)
    mean = n_tokens * top_k / n_experts
    assert before > 0.5
    assert float((counts_E - mean).abs().max()) <= max(2, 0.05 * mean)
    assert float(bias_E.mean()) == pytest.approx(0, abs=1e-6)


def test_quantile_bias_finds_the_best_even_assignment():
    scores_TE = uneven_scores(1, n_tokens=96, n_experts=4).double()
    chosen_T = (scores_TE + quantile_bias(scores_TE, 1, iterations=50)).argmax(1)
    rows, slots = linear_sum_assignment(scores_TE.repeat_interleave(24, dim=1).numpy(), maximize=True)
    best = float(scores_TE[rows, slots // 24].sum())
    ours = float(scores_TE.gather(1, chosen_T.unsqueeze(1)).sum())
    greedy = float(scores_TE.amax(1).sum())
    assert ours == pytest.approx(best, rel=5e-3)
    assert greedy > 1.05 * best


def test_one_quantile_a_step_follows_the_stream():
    bias_E = torch.zeros(N_EXPERTS)
    for step in range(10):
        bias_E = quantile_bias(uneven_scores(step), TOP_K, expert_bias_E=bias_E, iterations=1)
    fresh_TE = uneven_scores(10_000)
    assert float(max_violation(load(fresh_TE, bias_E))) < 0.4


def test_quantile_bias_where_there_is_nothing_to_choose():
    assert torch.equal(quantile_bias(torch.rand(5, 3), 3), torch.zeros(3))  # K = E
    assert torch.equal(quantile_bias(torch.rand(5, 1), 1), torch.zeros(1))
    assert torch.equal(quantile_bias(torch.rand(0, 3), 1), torch.zeros(3))
    assert quantile_bias(torch.rand(1, 3), 1).isfinite().all()


def test_no_rule_carries_a_gradient():
    scores_TE = uneven_scores().requires_grad_()
    assert not quantile_bias(scores_TE, 2).requires_grad
    bias_E = torch.zeros(2, requires_grad=True)
    for update in UPDATES.values():
        assert not update(bias_E, torch.tensor([1, 2]), 0.1).requires_grad


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b, c: sign_update(b, c, -1e-3), "rate is -0.001: choose 0 or more"),
        (lambda b, c: proportional_update(b, c, -1.0), "rate is -1.0: choose 0 or more"),
        (lambda b, c: ema_update(b, c, -1.0), "gain is -1.0: choose 0 or more"),
        (lambda b, c: ema_update(b, c, 1.0, decay=1.0), "decay is 1.0: choose 0 to below 1"),
        (lambda b, c: sign_update(b, c[:2], 0.1), r"tokens_per_expert_E has shape \(2,\): give that of"),
        (lambda b, c: quantile_bias(b, 1), r"scores_TE has shape \(3,\): flatten it to \(T, E\)"),
        (lambda b, c: quantile_bias(b.repeat(2, 1), 4), "top_k is 4 with 3 experts: choose 1 to 3"),
        (lambda b, c: quantile_bias(b.repeat(2, 1), 1, iterations=0), "iterations is 0: give at least 1"),
        (lambda b, c: quantile_bias(torch.full((2, 3), torch.nan), 1), "scores_TE holds NaN"),
        (
            lambda b, c: quantile_bias(torch.rand(2, 3), 1, expert_bias_E=torch.zeros(2)),
            r"expert_bias_E has shape \(2,\): give one bias per expert",
        ),
    ],
)
def test_bad_arguments_get_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(torch.zeros(3), torch.tensor([1, 2, 3]))
    assert "\n" not in str(error.value)
