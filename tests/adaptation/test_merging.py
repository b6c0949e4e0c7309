"""Merging: units have no order, so a shuffled copy must come back; against every permutation by force."""

import itertools
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.adaptation import align, grouped, likeness, merge, merged_experts, permuted
from moe_lessons.experts import swiglu
from moe_lessons.model import ModelConfig, MoETransformer

CONFIG = ModelConfig(
    vocab_size=40, n_layers=2, d_model=16, n_heads=2, d_expert=8, n_experts=4, context_length=16
)
TOKENS = torch.randint(40, (4, 16), generator=torch.Generator().manual_seed(9))


def expert(generator, d_model=5, d_hidden=4):
    return (
        torch.randn(2 * d_hidden, d_model, generator=generator),
        torch.randn(d_model, d_hidden, generator=generator),
    )


def build():
    return MoETransformer(CONFIG, generator=torch.Generator().manual_seed(0)).eval()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_a_shuffled_copy_is_put_back(seed, on_activations):
    generator = torch.Generator().manual_seed(seed)
    gate_up, down = expert(generator)
    shuffled = torch.randperm(4, generator=generator)
    hidden_TD = torch.randn(50, 5, generator=generator) if on_activations else None
    other = permuted(gate_up, down, shuffled)
    order_F = align(gate_up, down, *other, hidden_TD)
    assert torch.equal(shuffled[order_F], torch.arange(4))
    again = permuted(*other, order_F)
    assert torch.equal(again[0], gate_up)
    assert torch.equal(again[1], down)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_the_match_is_the_best_of_all(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = expert(generator), expert(generator)

    def likeness_of(order):
        moved = permuted(*b, torch.tensor(order))
        return sum(float((x * y).sum()) for x, y in zip(a, moved, strict=True))

    forced = max(itertools.permutations(range(4)), key=likeness_of)
    assert likeness_of(align(*a, *b).tolist()) == pytest.approx(likeness_of(forced), rel=1e-5)


def test_a_shuffled_copy_is_lost_by_a_plain_mean_and_not_by_an_aligned_one():
    generator = torch.Generator().manual_seed(0)
    gate_up, down = expert(generator)
    other = permuted(gate_up, down, torch.tensor([3, 0, 1, 2]))
    banks = torch.stack([gate_up, other[0]]), torch.stack([down, other[1]])
    hidden = torch.randn(20, 5, generator=generator)
    right = swiglu(hidden, gate_up, down)
    for alignment, exact in (("weights", True), ("activations", True), ("none", False)):
        merged = merged_experts(*banks, torch.ones(2), alignment=alignment, hidden_TD=hidden)
        gap = (swiglu(hidden, *merged) - right).abs().max()
        assert gap < 1e-5 if exact else gap > 0.5, alignment


def test_shares():
    a, b = torch.full((1, 2, 1), 1.0), torch.full((1, 2, 1), 5.0)
    banks = torch.cat([a, b]), torch.stack([torch.ones(1, 1), torch.full((1, 1), 5.0)])
    for weights, mean in (([3.0, 1.0], 2.0), ([0.0, 0.0], 3.0), ([0.0, 2.0], 5.0)):
        gate_up, down = merged_experts(*banks, torch.tensor(weights))
        assert gate_up.unique().tolist() == [mean]
        assert down.item() == mean


def test_whole_model():
    model = build()
    groups = [[[0, 2], [1], [3]], [[0], [1, 2, 3]]]
    merged = merge(model, groups, torch.arange(8.0).view(2, 4), alignment="activations", tokens_BL=TOKENS)
    for layer, old, rows in zip(merged.moe_layers, model.moe_layers, groups, strict=True):
        assert torch.equal(layer.router.weight, old.router.weight)
        bank = layer.experts.down_proj
        assert all(torch.equal(bank[group[0]], bank[e]) for group in rows for e in group)
        alone = [group[0] for group in rows if len(group) == 1]
        assert all(torch.equal(bank[e], old.experts.down_proj[e]) for e in alone)


def test_groups_of_one_change_nothing():
    model = build()
    merged = merge(model, [[[e] for e in range(4)]] * 2)
    assert torch.equal(model(TOKENS).logits_BLV, merged(TOKENS).logits_BLV)


def test_like_experts_are_found():
    model = build()
    with torch.no_grad():
        for layer in model.moe_layers:
            layer.experts.gate_up_proj[3] = layer.experts.gate_up_proj[1]
            layer.experts.down_proj[3] = layer.experts.down_proj[1]
    alike_LEE = likeness(model, TOKENS)
    assert alike_LEE[:, 1, 3].min() > 0.999
    assert grouped(alike_LEE, 3) == [[[0], [1, 3], [2]]] * 2
    assert grouped(alike_LEE, 4) == [[[0], [1], [2], [3]]] * 2
    merged = merge(model, grouped(alike_LEE, 3))
    torch.testing.assert_close(merged(TOKENS).logits_BLV, model(TOKENS).logits_BLV, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: merge(build(), [[[0, 1, 2, 3]]]), "groups lists 1 layers: give 2"),
        (lambda: merge(build(), [[[0, 1], [2]], [[0], [1, 2, 3]]]), "name each of 4 experts once"),
        (lambda: merge(build(), [[[0, 1, 2, 3, 3]], [[0, 1, 2, 3]]]), "name each of 4 experts once"),
        (lambda: merge(build(), [[[0, 1, 2, 3]]] * 2, alignment="activations"), "give a text"),
        (
            lambda: merge(build(), [[[0, 1, 2, 3]]] * 2, alignment="luck"),
            "alignment is 'luck': choose one of none",
        ),
        (lambda: grouped(torch.ones(1, 4, 4), 5), "n_groups is 5 with 4 experts: choose 1 to 4"),
        (
            lambda: align(torch.ones(4, 3), torch.ones(3, 2), torch.ones(6, 3), torch.ones(3, 3)),
            "align experts of one size",
        ),
    ],
)
def test_refusals(call, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        call()
