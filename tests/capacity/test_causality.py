"""Who may change the past: the last token is drawn anew, and earlier tokens must keep their places."""

import pytest
import torch

from moe_lessons import capacity as cap
from moe_lessons.routing import topk_softmax
from moe_lessons.routing.causality import leak_rate

T, E, D = 64, 8, 16
ROUTER_ED = torch.randn(E, D, generator=torch.Generator().manual_seed(0)) / D**0.5


def leaking_trials(top_k, decide, n_trials=200):
    capacity = cap.expert_capacity(T, E, top_k, 1.0)
    return leak_rate(
        lambda hidden_TD: decide(hidden_TD @ ROUTER_ED.T, top_k, capacity),
        n_tokens=T,
        d_model=D,
        n_trials=200,
    ).trials


def kept_by(priority):
    def decide(logits_TE, top_k, capacity):
        _, ids_TK, weights_TK = topk_softmax(logits_TE, top_k)
        if top_k == 1:  # every renormalised weight is 1; the probability tells tokens apart
            weights_TK = logits_TE.softmax(-1).gather(1, ids_TK)
        return cap.admit(ids_TK, weights_TK, n_experts=E, capacity=capacity, priority=priority).kept_TK

    return decide


def placed(logits_TE, top_k, capacity):
    admission = cap.admit_with_fallback(logits_TE, top_k, capacity=capacity)
    return torch.where(admission.kept_TK, admission.expert_ids_TK, -1)


@pytest.mark.parametrize(("priority", "top_k"), [("token", 1), ("token", 2), ("choice", 1)])
def test_causal_rules_never_change_an_earlier_token(priority, top_k):
    assert leaking_trials(top_k, kept_by(priority)) == 0


@pytest.mark.parametrize(
    ("priority", "top_k"), [("choice", 2), ("batch", 1), ("batch", 2), ("weight", 1), ("weight", 2)]
)
def test_rules_that_look_ahead_do(priority, top_k):
    assert leaking_trials(top_k, kept_by(priority), n_trials=50) > 0.3


@pytest.mark.parametrize("top_k", [1, 2])
def test_falling_back_looks_ahead(top_k):
    assert leaking_trials(top_k, placed, n_trials=50) > 0.3


def test_a_buffer_that_holds_everybody_hides_the_leak():
    """No drop, no leak: the leak is a matter of who is dropped."""
    keep = kept_by("choice")
    assert leaking_trials(2, lambda logits_TE, top_k, _: keep(logits_TE, top_k, T)) == 0
