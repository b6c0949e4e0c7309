"""Replay: the rollout's experts, the training pass's gradient; and what a perturbation changes."""

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.adaptation import (
    changed_sets,
    mismatch,
    moved_choices,
    narrowed,
    perturbed,
    recorded,
    replay,
    replayed_weights,
    slip_sizes,
)
from moe_lessons.model import ModelConfig, MoETransformer, generate
from moe_lessons.routing import Routing

CONFIG = ModelConfig(
    vocab_size=40, n_layers=3, d_model=16, n_heads=2, d_expert=8, n_experts=6, context_length=24
)
TOKENS = torch.randint(40, (4, 24), generator=torch.Generator().manual_seed(9))


def build(config=CONFIG):
    model = MoETransformer(config, generator=torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


@pytest.fixture(scope="module")
def model():
    return build()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_weights_are_a_softmax_over_the_replayed_logits(data):
    n_experts = data.draw(st.integers(1, 6))
    top_k, n_tokens = data.draw(st.integers(1, n_experts)), data.draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 10**6)))
    logits = torch.randn(n_tokens, n_experts, dtype=torch.float64, generator=generator, requires_grad=True)
    ids = torch.stack([torch.randperm(n_experts, generator=generator)[:top_k] for _ in range(n_tokens)])
    weights = replayed_weights(logits, ids)
    mask = torch.full_like(logits, -torch.inf).scatter(1, ids, 0.0)
    masked = (logits + mask).softmax(dim=1)
    torch.testing.assert_close(weights, masked.gather(1, ids))
    direction = torch.randn(weights.shape, dtype=torch.float64, generator=generator)
    (mine,) = torch.autograd.grad((weights * direction).sum(), logits, retain_graph=True)
    (theirs,) = torch.autograd.grad((masked.gather(1, ids) * direction).sum(), logits)
    torch.testing.assert_close(mine, theirs)
    whole = replayed_weights(logits, ids, "softmax_topk")
    torch.testing.assert_close(whole, logits.softmax(dim=1).gather(1, ids))


def other_routes(model):
    """A rollout with experts that this model would not choose."""
    with perturbed(model, 3.0, generator=torch.Generator().manual_seed(1)), torch.no_grad():
        return model(TOKENS).routings


def test_tokens_go_where_the_rollout_sent_them(model):
    routings = other_routes(model)
    with torch.no_grad():
        own = model(TOKENS)
        with replay(model, routings):
            forced = model(TOKENS)
        again = model(TOKENS)
    assert changed_sets(own.routings, routings).double().mean() > 0.3
    assert not changed_sets(forced.routings, routings).any()
    assert (forced.logits_BLV - own.logits_BLV).abs().max() > 0.01
    assert torch.equal(own.logits_BLV, again.logits_BLV)


def test_replaying_ones_own_routes_changes_nothing(model):
    with torch.no_grad():
        own = model(TOKENS)
        for weights in (False, True):
            with replay(model, own.routings, weights=weights):
                torch.testing.assert_close(model(TOKENS).logits_BLV, own.logits_BLV, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gate", ["topk_softmax", "softmax_topk", "softmax_topk_renorm"])
@pytest.mark.parametrize("weights", [False, True])
def test_a_factor_on_the_weights_is_applied_once(gate, weights):
    model = build(replace(CONFIG, routed_scale=2.0, gate=gate)).double()
    with torch.no_grad():
        own = model(TOKENS)
        with replay(model, own.routings, weights=weights):
            torch.testing.assert_close(model(TOKENS).logits_BLV, own.logits_BLV)


def test_the_gradient_reaches_the_router_unless_weights_are_replayed_too(model):
    routings = other_routes(model)
    for weights in (False, True):
        model.zero_grad()
        with replay(model, routings, weights=weights):
            model(TOKENS[:, :], TOKENS).loss.backward()
        gradients = [layer.router.weight.grad for layer in model.moe_layers]
        largest = max(0.0 if g is None else g.abs().max().item() for g in gradients)
        assert (largest == 0) == weights
    model.zero_grad()


def test_a_generated_text_is_recorded_token_by_token(model):
    prompt = TOKENS[0, :5]
    with recorded(model) as routings, torch.no_grad():
        caches = model.new_caches()
        model(prompt[None], caches=caches)
        for token in TOKENS[0, 5:12]:
            model(token.view(1, 1), caches=caches)
    with torch.no_grad():
        whole = model(TOKENS[:1, :12]).routings
    assert len(routings) == CONFIG.n_layers
    assert not changed_sets(routings, whole).any()
    assert not model.moe_layers[0]._forward_hooks


def test_generate_can_be_recorded(model):
    with recorded(model) as routings:
        text = generate(model, TOKENS[0, :5], 4, temperature=0.0)
    assert len(routings[0].topk_ids_TK) in (len(text), len(text) - 1)  # nobody needs to read the last one


def test_narrow_rollouts_slip_and_replay_repairs_it(model):
    """Rounding sends tokens elsewhere; with the rollout's ids the same rounding is all that is left."""
    with torch.no_grad():
        rollout, passed = narrowed(model)(TOKENS), model(TOKENS)
        with replay(model, rollout.routings):
            replayed = model(TOKENS)
    assert model.head.weight.dtype == torch.float32  # the copy is narrow, not the model
    assert changed_sets(passed.routings, rollout.routings).any()
    assert not changed_sets(replayed.routings, rollout.routings).any()
    before, after = (
        mismatch(rollout.logits_BLV, other.logits_BLV, TOKENS).kl for other in (passed, replayed)
    )
    assert after < before


@pytest.mark.parametrize(("size", "share"), [(0.0, 0.0), (1e3, 0.8)])
def test_perturbations_from_none_to_all(model, size, share):
    with torch.no_grad():
        own = model(TOKENS).routings
        with perturbed(model, size, generator=torch.Generator().manual_seed(0)):
            other = model(TOKENS).routings
    changed = changed_sets(own, other).double().mean().item()
    assert changed == 0 if size == 0 else changed > share


def routing(*rows):
    return Routing(torch.zeros(len(rows), 4), torch.tensor(rows), torch.ones(len(rows), len(rows[0])))


def test_order_does_not_matter_and_sets_do():
    one, other = routing([0, 1], [2, 3], [1, 2]), routing([1, 0], [2, 0], [0, 3])
    assert changed_sets([one], [other]).tolist() == [[False, True, True]]
    assert moved_choices([one], [other]).tolist() == [0.5]  # of six choices, 3, 1 and 2 are gone


def test_mismatch_by_hand():
    rollout, training = torch.zeros(1, 3, 2), torch.zeros(1, 3, 2)
    training[0, 0, 1] = 1.0  # position 0 predicts token 1: from .5 to e / (1 + e)
    found = mismatch(rollout, training, torch.tensor([[0, 1, 0]]))
    probability = torch.tensor([0.0, 1.0], dtype=torch.float64).softmax(0)
    ratio = 2 * probability[1]
    assert found.log_ratio_max == pytest.approx(ratio.log().item())
    kl = 0.5 * (0.5 / probability).log().sum()
    assert found.kl == pytest.approx(kl.item() / 2)
    assert found.outside == 0.5
    assert mismatch(rollout, training, torch.tensor([[0, 1, 0]]), clip=0.5).outside == 0.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda m: replay(m, m(TOKENS).routings[:2]).__enter__(),
            "routings has 2 layers: give one for each of 3",
        ),
        (lambda m: run_replayed(m, m(TOKENS[:2]).routings), "give a row for each of 96 tokens"),
        (lambda m: replayed_weights(torch.zeros(1, 3), torch.tensor([[0, 3]])), "with 3 experts: replay ids"),
        (lambda m: replayed_weights(torch.zeros(1, 3), torch.tensor([[0]]), "sigmoid"), "gate is 'sigmoid'"),
        (lambda m: changed_sets([routing([0, 1])], [routing([0, 1], [1, 2])]), "on the same tokens"),
    ],
)
def test_refusals(model, call, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        call(model)
    assert model.moe_layers[0].gate == "topk_softmax"  # whatever happened, the layers are as they were


def run_replayed(model, routings):
    with replay(model, routings):
        model(TOKENS)


@settings(max_examples=40)
@given(data=st.data())
def test_beyond_its_slip_size_a_token_has_another_set_and_below_it_has_not(data):
    n_experts = data.draw(st.integers(2, 6))
    top_k, n_tokens = data.draw(st.integers(1, n_experts - 1)), data.draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 10**6)))
    logits, noise = torch.randn(2, n_tokens, n_experts, dtype=torch.float64, generator=generator)
    sizes = slip_sizes(logits, noise, top_k)
    before = logits.topk(top_k).indices.sort().values
    for factor, changed in ((0.999, False), (1.001, True)):
        for token, size in enumerate(sizes.tolist()):
            by = factor * min(size, 1e6)
            after = (logits[token] + by * noise[token]).topk(top_k).indices.sort().values
            assert bool((after != before[token]).any()) == (changed and size < 1e6)


def test_slip_sizes_say_what_is_wrong():
    with pytest.raises(ValueError, match="give one noise for each logit"):
        slip_sizes(torch.zeros(2, 3), torch.zeros(2, 4), 1)
    with pytest.raises(ValueError, match="leave some of them out"):
        slip_sizes(torch.zeros(2, 3), torch.zeros(2, 3), 3)
