"""Interventions on a layer: what each changes, what it leaves, and that all is as before afterwards."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.layer import MoELayer
from moe_lessons.routing import GATES, Gate
from moe_lessons.routing import forced as force

E, K, D, T = 6, 2, 8, 20


def make(gate="topk_softmax", **options):
    layer = MoELayer(D, 16, E, K, gate=gate, generator=torch.Generator().manual_seed(0), **options).double()
    with torch.no_grad():
        layer.router.weight.normal_(generator=torch.Generator().manual_seed(1))
    return layer


def tokens(n=T):
    return torch.randn(n, D, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def by_hand(layer, hidden_TD, ids_TK, weights_TK):
    """Every expert on every token, in float64, weighted and added up."""
    gate, up = (hidden_TD @ layer.experts.gate_up_proj.transpose(1, 2)).chunk(2, dim=-1)
    answers_ETD = (torch.nn.functional.silu(gate) * up) @ layer.experts.down_proj.transpose(1, 2)
    weights_TE = torch.zeros(len(hidden_TD), E, dtype=torch.float64).scatter_add(
        1, ids_TK, weights_TK.double()
    )
    return torch.einsum("te,etd->td", weights_TE, answers_ETD)


def inside(layer, change, hidden=None):
    with torch.no_grad(), force.forced([layer], change):
        return layer(tokens() if hidden is None else hidden)


CHANGES = {
    "as trained": force.as_trained,
    "equal": force.equal_weights,
    "nobody": force.no_experts,
    "all": force.ranks(*range(E)),
    "second": force.ranks(1),
    "without": force.without(3),
    "renumbered": force.renumbered([1, 2, 3, 4, 5, 0]),
    "exchanged": force.exchanged(torch.arange(T).flip(0)),
    "given": force.given(torch.tensor([4, 1, 0])),
}


@pytest.mark.parametrize("gate", ["topk_softmax", "sigmoid", Gate("sigmoid", renormalize=True, scale=2.5)])
@pytest.mark.parametrize("name", CHANGES)
def test_the_output_is_that_of_the_changed_routing(name, gate):
    layer = make(gate)
    output = inside(layer, CHANGES[name])
    assert output.routing.logits_TE.isfinite().all()
    expected = by_hand(layer, tokens(), output.routing.topk_ids_TK, output.routing.topk_weights_TK)
    torch.testing.assert_close(output.hidden, expected, rtol=1e-6, atol=1e-9)


def test_nothing_is_left_of_it_whatever_happens():
    layer = make()
    with torch.no_grad():
        before = layer(tokens()).hidden
    inside(layer, force.ranks(2))
    with pytest.raises(RuntimeError, match="on purpose"), force.forced([layer], force.no_experts):
        raise RuntimeError("on purpose")
    assert (layer.gate, layer.top_k) == ("topk_softmax", K)
    with torch.no_grad():
        assert torch.equal(layer(tokens()).hidden, before)


def test_changes_can_be_nested():
    layer = make()
    with force.forced([layer], force.without(0)):
        inner = inside(layer, force.equal_weights).routing
        outer = layer(tokens()).routing
    torch.testing.assert_close(inner.topk_weights_TK, torch.full((T, K), 0.5, dtype=torch.float64))
    assert not (inner.topk_ids_TK == 0).any()
    assert torch.equal(inner.topk_ids_TK, outer.topk_ids_TK)


def test_as_trained_is_what_the_layer_does():
    layer = make()
    with torch.no_grad():
        assert torch.equal(inside(layer, force.as_trained).hidden, layer(tokens()).hidden)


def test_without_moves_only_those_who_had_it():
    layer = make()
    own = inside(layer, force.as_trained).routing
    had_T = (own.topk_ids_TK == 3).any(dim=1)
    assert 0 < int(had_T.sum()) < T  # else it would show nothing
    new = inside(layer, force.without(3)).routing
    assert not (new.topk_ids_TK == 3).any()
    assert torch.equal(new.topk_ids_TK[~had_T], own.topk_ids_TK[~had_T])
    third_T = own.logits_TE.argsort(dim=1, descending=True)[:, 2]
    assert (new.topk_ids_TK[had_T] == third_T[had_T].unsqueeze(1)).any(dim=1).all()
    torch.testing.assert_close(new.topk_weights_TK.sum(dim=1), torch.ones(T), check_dtype=False)


def test_a_biased_gate_keeps_its_bias():
    layer = make("sigmoid", expert_bias=True)
    layer.router.expert_bias_E[5] = 100.0
    for change in (force.as_trained, force.equal_weights, force.without(0)):
        assert (inside(layer, change).routing.topk_ids_TK == 5).any(dim=1).all()
    assert not (inside(layer, force.without(5)).routing.topk_ids_TK == 5).any()


@settings(deadline=None)
@given(st.permutations(range(E)))
def test_renumbering_back_is_as_trained(order):
    layer = make()
    back = torch.tensor(order).argsort()
    with force.forced([layer], force.renumbered(order)):
        again = inside(layer, force.renumbered(back))
    with torch.no_grad():
        torch.testing.assert_close(again.hidden, layer(tokens()).hidden)


def test_given_choices_are_replayed_with_live_weights_or_with_theirs():
    layer, other = make(), tokens(T).flip(0)
    with torch.no_grad():
        recorded = layer(tokens()).routing
    live = inside(layer, force.given(recorded.topk_ids_TK), other).routing
    assert torch.equal(live.topk_ids_TK, recorded.topk_ids_TK)
    picked_TK = live.logits_TE.gather(1, recorded.topk_ids_TK)
    torch.testing.assert_close(live.topk_weights_TK, picked_TK.softmax(dim=1))
    kept = inside(layer, force.given(recorded.topk_ids_TK, recorded.topk_weights_TK), other).routing
    assert torch.equal(kept.topk_weights_TK, recorded.topk_weights_TK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (force.ranks(), "choose from 0 on"),
        (force.ranks(6), "with 6 experts: choose from 0 on"),
        (force.without(6), "expert is 6 with 6 experts"),
        (force.renumbered([0, 0, 1, 2, 3, 4]), "give each of 6 experts once"),
        (force.exchanged(torch.tensor([0])), r"order_T has shape \(1,\): give \(20,\)"),
        (force.given(torch.tensor([0, 1]), torch.ones(1)), "topk_weights_TK has shape"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        inside(make(), change)


def test_an_expert_that_every_token_needs_cannot_be_taken_away():
    route = lambda logits: GATES["topk_softmax"](logits, 2)  # noqa: E731
    with pytest.raises(ValueError, match="every token needs all experts"):
        force.without(0)(torch.randn(3, 2), route)
