"""Who looks ahead: every label of the registry, measured in both directions."""

from functools import cache

import pytest
import torch

from moe_lessons.routing import (
    ROUTERS,
    base_assignment,
    earlier_tokens_changed,
    jitter,
    leak_of,
    leak_rate,
    noisy_topk,
    sinkhorn_topk,
    softmax_topk,
    topk_softmax,
)

SIZEABLE = 0.25  # of the trials; a leak may spare many batches
ROUTER_ED = torch.randn(8, 16, generator=torch.Generator().manual_seed(3)) / 4


@cache
def measured(name, top_k, seed):
    return leak_of(name, top_k=top_k, seed=seed, n_trials=200)


def agrees(causal, rate):
    """Whether a label fits a measurement."""
    if causal:
        return rate.trials == 0 and rate.tokens == 0
    return rate.trials > SIZEABLE and rate.tokens > 0.01


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("name", "top_k"),
    [(name, k) for name, router in ROUTERS.items() for k in (1, 2)[: 2 - router.one_expert]],
)
def test_the_causal_label_is_right_and_its_opposite_is_caught(name, top_k, seed):
    router = ROUTERS[name]
    rate = measured(name, top_k, seed)
    assert agrees(router.causal, rate), rate
    assert not agrees(not router.causal, rate), rate


def test_the_registry_holds_clean_and_leaking_routers():
    leaking = {name for name, router in ROUTERS.items() if not router.causal}
    expected = {"current_batch_bias", "expert_choice", "base", "greedy_assignment", "sinkhorn", "soft_moe"}
    assert leaking == expected
    assert len(ROUTERS) - len(leaking) >= 10


@pytest.mark.parametrize("name", [name for name, router in ROUTERS.items() if router.causal])
@pytest.mark.parametrize("n_last", [1, 5])
def test_clean_in_other_sizes(name, n_last):
    assert leak_of(name, n_experts=12, seed=5, n_tokens=17, d_model=9, n_last=n_last, n_trials=50).trials == 0


@pytest.mark.parametrize("router", [base_assignment, lambda *a, **k: sinkhorn_topk(*a, 1, **k)])
def test_base_and_sinkhorn_look_ahead_in_training_only(router):
    rates = {
        training: leak_rate(lambda x, t=training: router(x @ ROUTER_ED.T, training=t), n_trials=50).trials
        for training in (True, False)
    }
    assert rates[True] > SIZEABLE
    assert rates[False] == 0


def test_noise_is_clean_if_it_is_the_same_noise():
    def seeded():
        return torch.Generator().manual_seed(11)

    def with_noise(hidden_TD):
        logits_TE = hidden_TD @ ROUTER_ED.T
        return noisy_topk(logits_TE, -logits_TE, 2, training=True, generator=seeded()).routing

    def with_jitter(hidden_TD):
        read_TD = jitter(hidden_TD, 0.1, training=True, generator=seeded())
        return softmax_topk(read_TD @ ROUTER_ED.T, 2, renormalize=False)

    def with_fresh_noise(hidden_TD):
        logits_TE = hidden_TD @ ROUTER_ED.T
        return noisy_topk(logits_TE, -logits_TE, 2, training=True).routing

    assert leak_rate(with_noise, n_trials=50).trials == 0
    assert leak_rate(with_jitter, n_trials=50).trials == 0
    assert leak_rate(with_fresh_noise, n_trials=5).trials == 1  # which is why the generator is seeded anew


def clean(hidden_TD):
    return topk_softmax(hidden_TD @ ROUTER_ED.T, 2)


def centred(hidden_TD):  # the ids change, as the logits of all tokens do
    return topk_softmax((hidden_TD - hidden_TD.mean(0)) @ ROUTER_ED.T, 2)


def weights_only(hidden_TD):  # the chosen experts stay, their weights leak
    routing = clean(hidden_TD)
    return routing._replace(topk_weights_TK=routing.topk_weights_TK * hidden_TD.norm() / 20)


def ids_only(hidden_TD):  # all weights are 1 / 2 and stay, the ids leak
    routing = clean(hidden_TD)
    shift = int(hidden_TD[-1, 0] > 0)
    same_TK = torch.full_like(routing.topk_weights_TK, 0.5)
    return routing._replace(topk_ids_TK=(routing.topk_ids_TK + shift) % 8, topk_weights_TK=same_TK)


def a_tensor(hidden_TD):  # positions counted from the end
    return hidden_TD.argmax(1).flip(0).cumsum(0).flip(0)


@pytest.mark.parametrize("leaky", [centred, weights_only, ids_only, a_tensor])
def test_leaks_planted_in_a_clean_router_are_found(leaky):
    assert leak_rate(clean, n_trials=50).trials == 0
    assert leak_rate(leaky, n_trials=50).trials > SIZEABLE


def test_rounding_is_not_a_leak():
    def rounded(hidden_TD):
        routing = clean(hidden_TD)
        off = 1e-8 * hidden_TD[-1, 0].double().tanh()
        return routing.topk_weights_TK + off

    assert leak_rate(rounded, n_trials=20).trials == 0
    assert leak_rate(lambda hidden_TD: 1e3 * rounded(hidden_TD), n_trials=20).trials > SIZEABLE


def test_only_tokens_before_the_first_change_count():
    hidden_TD = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    other_TD = hidden_TD.clone()
    other_TD[3] += 1
    assert earlier_tokens_changed(centred, hidden_TD, other_TD).tolist() == [True] * 3
    assert earlier_tokens_changed(centred, hidden_TD, hidden_TD).tolist() == [False] * 6
    other_TD[0] += 1
    assert earlier_tokens_changed(centred, hidden_TD, other_TD).tolist() == []


def test_bad_arguments_get_one_clear_line():
    with pytest.raises(ValueError, match=r"other_TD has shape \(2, 3\) but hidden_TD \(4, 3\): give both"):
        earlier_tokens_changed(clean, torch.zeros(4, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"n_last is 4 with 4 tokens: choose 1 to 3"):
        leak_rate(clean, n_tokens=4, n_last=4)
    with pytest.raises(ValueError, match=r"n_trials is 0: make at least 1"):
        leak_rate(clean, n_trials=0)
    with pytest.raises(ValueError, match=r"name is 'top_k': choose one of topk_softmax"):
        leak_of("top_k")


def test_not_a_number_is_not_taken_for_the_same():
    hidden_TD, other_TD = torch.zeros(3, 1), torch.tensor([[0.0], [0.0], [1.0]])

    def poisoned(hidden_TD):
        return torch.full((3,), torch.nan) if hidden_TD.any() else torch.zeros(3)

    assert earlier_tokens_changed(poisoned, hidden_TD, other_TD).tolist() == [True, True]
    for same in (torch.nan, torch.inf):
        constant = earlier_tokens_changed(lambda x: torch.full_like(x, same), hidden_TD, other_TD)  # noqa: B023
        assert constant.tolist() == [False, False]
    with pytest.raises(ValueError, match=r"decide returned 2 rows for 3 tokens: return one for each token"):
        earlier_tokens_changed(lambda hidden_TD: hidden_TD[:2], hidden_TD, other_TD)
