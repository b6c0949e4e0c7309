"""The toy with parts of one's own: gates, a loss, a bias step; the same runs as with the built-in ones."""

import copy

import pytest
import torch

from moe_lessons.exercises import registry
from moe_lessons.toy import BiasStep, EachSeed, TopK, Toy, ToyRun, load_balancing
from moe_lessons.toy.own_router import OwnRouter
from moe_lessons.toy.zoo import ExpertChoice, SelectionBias, fresh_error

SMALL = Toy(n_seeds=3, n_experts=5, n_tokens=32, mu=1.0)
STEPS = 8


def reference(id):
    return registry.exercise(id).reference


def same(mine, theirs):
    mine.advance(STEPS)
    theirs.advance(STEPS)
    torch.testing.assert_close(mine.error_NS, theirs.error_NS)
    torch.testing.assert_close(mine.shares_NSE, theirs.shares_NSE)


@pytest.mark.parametrize("renormalize", [False, True])
def test_gates(renormalize):
    gates = reference("01.topk_gates")
    rule = EachSeed(lambda logits_TE: gates(logits_TE, 2, renormalize))
    same(ToyRun(SMALL, rule), ToyRun(SMALL, TopK(2, renormalize=renormalize)))


def test_a_loss_for_all_seeds_at_once_counts_as_one_for_each():
    """Exercise 05.balancing_loss is a mean over layers; here the seeds stand for layers."""
    loss, mask_T = reference("05.balancing_loss"), torch.ones(SMALL.n_tokens, dtype=torch.bool)
    mine = ToyRun(SMALL, TopK(2), loss=lambda decision: loss(decision.logits_STE, mask_T, 2), alpha=0.3)
    theirs = ToyRun(SMALL, TopK(2), loss=load_balancing, alpha=0.3)
    free = ToyRun(SMALL, TopK(2)).advance(STEPS)
    same(mine, theirs)
    assert not torch.allclose(mine.error_NS, free.error_NS)


def test_a_bias_step():
    same(
        ToyRun(SMALL, BiasStep(reference("06.bias_step"), 2, rate=0.1)),
        ToyRun(SMALL, SelectionBias(2, rate=0.1)),
    )


def test_the_bias_moves_after_the_step_only():
    rule = BiasStep(reference("06.bias_step"), 1, rate=0.125)
    logits_STE = torch.tensor([[[9.0, 0.0], [9.0, 0.0]]])
    for _ in range(2):
        decision = rule(logits_STE, None)
        assert rule.bias_SE is None
    rule.after_step(decision)
    assert rule.bias_SE.tolist() == [[-0.125, 0.125]]
    assert copy.deepcopy(rule).bias_SE.tolist() == [[-0.125, 0.125]]


def test_wrong_shapes_name_the_part():
    def my_gate(logits_TE):
        return logits_TE.topk(2).indices, logits_TE

    def my_loss(decision):
        return decision.logits_STE.mean(dim=0)

    def my_step(logits_TE, expert_bias_E, top_k, rate):
        weights_TK, ids_TK = logits_TE.topk(top_k)
        return ids_TK, weights_TK, expert_bias_E.mean()

    def three(logits_TE, expert_bias_E, top_k, rate):
        return (*logits_TE.topk(top_k), expert_bias_E)

    with pytest.raises(ValueError, match=r"gate my_gate returned weights of shape \(32, 5\): give \(32, 2\)"):
        ToyRun(SMALL, EachSeed(my_gate)).advance(1)
    with pytest.raises(
        ValueError, match=r"loss my_loss returned shape \(32, 5\): give one number per seed, \(3,\)"
    ):
        ToyRun(SMALL, TopK(1), loss=my_loss, alpha=1.0).advance(1)
    with pytest.raises(ValueError, match=r"step my_step returned a bias of shape \(\): give \(5,\)"):
        ToyRun(SMALL, BiasStep(my_step, 2, rate=0.1)).advance(1)
    with pytest.raises(ValueError, match=r"gate three returned ids of torch.float32: give whole numbers"):
        ToyRun(SMALL, BiasStep(three, 2, rate=0.1)).advance(1)


def weights_of_all(gate):
    """A router that returns a row of weights, made of one that returns ids and weights."""

    def router(logits_TE, training):
        ids_TK, weights_TK = gate(logits_TE, 2, False)
        return torch.zeros_like(logits_TE).scatter(1, ids_TK, weights_TK)

    return router


def test_a_router_of_either_kind():
    gates = reference("01.topk_gates")
    for router in (lambda logits_TE, training: gates(logits_TE, 2, False), weights_of_all(gates)):
        same(ToyRun(SMALL, OwnRouter(router)), ToyRun(SMALL, TopK(2)))


def test_expert_choice_of_ones_own():
    choice, gates = reference("06.expert_choice"), reference("01.topk_gates")
    settings = Toy(n_seeds=3, n_experts=4, n_tokens=32, mu=1.0)

    def router(logits_TE, training):
        return choice(logits_TE, 2) if training else gates(logits_TE, 2, False)

    mine, theirs = ToyRun(settings, OwnRouter(router)), ToyRun(settings, ExpertChoice(2))
    same(mine, theirs)
    for alone in (False, True):
        torch.testing.assert_close(fresh_error(mine, alone=alone), fresh_error(theirs, alone=alone))
    assert not torch.allclose(fresh_error(mine, alone=True), fresh_error(mine, alone=False))


def test_a_router_in_double_precision_trains_too():
    ToyRun(SMALL, OwnRouter(lambda logits_TE, training: logits_TE.double().softmax(dim=-1))).advance(2)


def test_what_is_no_routing_is_refused():
    for wrong in (lambda z, training: z[:, :2], lambda z, training: (z, z, z)):
        with pytest.raises(ValueError, match="returned"):
            ToyRun(SMALL, OwnRouter(wrong)).advance(1)
