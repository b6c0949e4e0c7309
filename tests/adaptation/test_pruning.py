"""Pruning: the model that is left is the old one with experts forbidden; criteria against slow oracles."""

import itertools
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.adaptation import best, fine_tune, keep_experts, layer_inputs, prune, reap, saliency
from moe_lessons.adaptation.pruning import check_kept
from moe_lessons.experts import swiglu
from moe_lessons.inspect.learning import SMALL, three_kinds
from moe_lessons.model import ModelConfig, MoETransformer, parameter_counts
from moe_lessons.routing import GATES
from moe_lessons.routing.forced import forced

CONFIG = ModelConfig(
    vocab_size=40, n_layers=2, d_model=16, n_heads=2, d_expert=8, n_experts=5, context_length=16
)
TOKENS = torch.randint(40, (4, 16), generator=torch.Generator().manual_seed(9))


@pytest.fixture(scope="module")
def model():
    made = MoETransformer(CONFIG, generator=torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)
    return made


def forbidden(model, kept, tokens_BL):
    """The old model's logits where the routers' logits of all others are minus infinity."""

    def change_of(row):
        gone_E = torch.tensor([expert not in row for expert in range(model.config.n_experts)])
        return lambda logits_TE, route: route(logits_TE.masked_fill(gone_E, -torch.inf))

    first, second = (
        forced([layer], change_of(row)) for layer, row in zip(model.moe_layers, kept, strict=True)
    )
    with first, second, torch.no_grad():
        return model(tokens_BL).logits_BLV


@pytest.mark.parametrize("kept", [[[0, 1, 2, 3], [1, 2, 3, 4]], [[0, 4], [2, 3]], [[4, 0], [3, 2]]])
def test_a_pruned_model_is_the_old_one_with_experts_forbidden(model, kept):
    pruned = keep_experts(model, kept)
    with torch.no_grad():
        found = pruned(TOKENS).logits_BLV
    torch.testing.assert_close(found, forbidden(model, kept, TOKENS), atol=1e-5, rtol=1e-5)
    other = [kept[1], kept[0]]  # the layers' choices exchanged: another model
    assert (found - keep_experts(model, other)(TOKENS).logits_BLV).abs().max() > 1e-3


def test_experts_and_router_rows_go_together(model):
    pruned = keep_experts(model, [[0, 3], [1, 4]])
    gone = CONFIG.n_experts - 2
    a_layer = gone * (3 * CONFIG.d_model * CONFIG.d_expert + CONFIG.d_model)
    before, after = parameter_counts(model), parameter_counts(pruned)
    assert before[0] - after[0] == CONFIG.n_layers * a_layer
    assert before[1] - after[1] == CONFIG.n_layers * gone * CONFIG.d_model  # a token meets as many experts
    assert pruned.moe_layers[1].router.weight.shape == (2, CONFIG.d_model)
    assert torch.equal(pruned.moe_layers[1].router.weight, model.moe_layers[1].router.weight[[1, 4]])


def test_the_bias_on_the_choice_is_cut_too():
    config = replace(CONFIG, gate="sigmoid", expert_bias=True)
    made = MoETransformer(config)
    for layer in made.moe_layers:
        layer.router.expert_bias_E.copy_(torch.arange(5.0))
    pruned = keep_experts(made, [[1, 2, 4], [0, 1, 2]])
    assert pruned.moe_layers[0].router.expert_bias_E.tolist() == [1, 2, 4]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_reap_against_a_loop(data):
    n_experts = data.draw(st.integers(1, 6))
    top_k = data.draw(st.integers(1, n_experts))
    n_tokens = data.draw(st.integers(0, 8))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 10**6)))
    ids_TK = torch.stack(
        [torch.randperm(n_experts, generator=generator)[:top_k] for _ in range(n_tokens)]
        or [torch.zeros(top_k, dtype=torch.int64)]
    )[:n_tokens]
    weights_TK, norms_TK = (torch.rand(n_tokens, top_k, generator=generator) for _ in range(2))
    expected = []
    for expert in range(n_experts):
        loud = [
            float(weights_TK[t, k]) * float(norms_TK[t, k])
            for t, k in itertools.product(range(n_tokens), range(top_k))
            if ids_TK[t, k] == expert
        ]
        expected.append(sum(loud) / len(loud) if loud else 0.0)
    found = reap(ids_TK, weights_TK, norms_TK, n_experts)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_criteria_against_slow_oracles(model):
    frequency, weight, norm, drawn = (
        saliency(model, TOKENS, by) for by in ("frequency", "weight", "norm", "reap")
    )
    for place, (layer, caught) in enumerate(zip(model.moe_layers, layer_inputs(model, TOKENS), strict=True)):
        _, ids_TK, weights_TK = caught.routing
        assert frequency[place].tolist() == [int((ids_TK == e).sum()) for e in range(5)]
        bank = layer.experts
        for expert in range(5):
            tokens_N, slots_N = torch.where(ids_TK == expert)
            answers = swiglu(caught.hidden_TD[tokens_N], bank.gate_up_proj[expert], bank.down_proj[expert])
            loud_N, weight_N = answers.norm(dim=1), weights_TK[tokens_N, slots_N]
            assert weight[place, expert].item() == pytest.approx(weight_N.sum().item(), rel=1e-5)
            assert norm[place, expert].item() == pytest.approx(loud_N.mean().item(), rel=1e-5)
            assert drawn[place, expert].item() == pytest.approx((loud_N * weight_N).mean().item(), rel=1e-5)


def test_the_loss_without_an_expert(model):
    rises_LE = saliency(model, TOKENS, "loss")
    kept = [[0, 1, 2, 4], [0, 1, 2, 3, 4]]
    logits = forbidden(model, kept, TOKENS[:, :-1])
    with torch.no_grad():
        whole = model(TOKENS[:, :-1], TOKENS[:, 1:]).loss
    without = torch.nn.functional.cross_entropy(logits.flatten(0, 1), TOKENS[:, 1:].flatten())
    assert rises_LE[0, 3].item() == pytest.approx((without - whole).item(), abs=1e-6)


def test_random_is_drawn_from_the_generator(model):
    one, same, other = (
        saliency(model, TOKENS, "random", generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=4, max_size=4), min_size=1, max_size=3), st.integers(1, 4)
)
def test_the_best_are_kept_in_order(scores, keep):
    kept = best(torch.tensor(scores, dtype=torch.float64), keep)
    for row, chosen in zip(scores, kept, strict=True):
        assert chosen == sorted(set(chosen))
        assert len(chosen) == keep
        left = [row[e] for e in range(4) if e not in chosen]
        assert not left or min(row[e] for e in chosen) >= max(left)


def test_prune_is_its_parts(model):
    kept = best(saliency(model, TOKENS, "weight"), 3)
    mine, theirs = keep_experts(model, kept), prune(model, 3, by="weight", tokens_BL=TOKENS)
    assert all(map(torch.equal, mine.state_dict().values(), theirs.state_dict().values()))


def test_retraining_repairs_some_of_it():
    corpus = three_kinds().corpus
    config = SMALL.override(steps=25, batch_size=8)
    trained = fine_tune(
        MoETransformer(SMALL.model, generator=torch.Generator().manual_seed(0)), corpus, config
    )
    tokens_BL = corpus.train_N[: 16 * 64].view(-1, 64).long()
    pruned = prune(trained, 2, by="random", tokens_BL=tokens_BL, generator=torch.Generator().manual_seed(0))

    def loss(of):
        with torch.no_grad():
            return of(tokens_BL[:, :-1], tokens_BL[:, 1:]).loss.item()

    again = fine_tune(pruned, corpus, config.override(steps=15, learning_rate=1e-3, warmup_steps=2))
    assert loss(again) < loss(pruned)
    assert again.config.n_experts == 2


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ([[0], [1]], "keep has 1 expert a layer: a token gets top_k=2, choose at least 2"),
        ([[], []], "keep has 0 experts a layer"),
        ([[0, 1]], "keep lists 1 layers: give one list for each of 2"),
        ([[0, 1], [0, 1, 2]], "keep equally many in each"),
        ([[0, 0], [0, 1]], "names an expert of layer 0 twice"),
        ([[0, 1], [0, 5]], "[0, 5] in layer 1: choose from 0 to 4"),
        ([[0, -1], [0, 1]], "choose from 0 to 4"),
    ],
)
def test_a_choice_that_leaves_no_model_is_refused(model, kept, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        keep_experts(model, kept)


@pytest.mark.parametrize(("keep", "said"), [(1, "top_k=2"), (0, "top_k=2"), (6, "choose 1 to 5")])
def test_too_few_and_too_many_are_refused(model, keep, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        prune(model, keep, tokens_BL=TOKENS)


def test_an_unknown_criterion_is_refused(model):
    with pytest.raises(ValueError, match="by is 'luck': choose one of frequency, weight, reap"):
        saliency(model, TOKENS, "luck")


def test_every_gate_can_be_pruned():
    for gate in GATES:
        made = MoETransformer(replace(CONFIG, gate=gate))
        assert keep_experts(made, [[0, 1], [2, 3]])(TOKENS).logits_BLV.isfinite().all()
    assert check_kept([[0], [3]], 2, 5, 1) == 1
