"""Guesses are the next router's, read where it says; late enough and they are the truth."""

import pytest
import torch

from moe_lessons import ModelConfig
from moe_lessons.model import MoETransformer
from moe_lessons.serving import (
    PLACES,
    count_successors,
    guess_from_counts,
    guess_next,
    recall,
    routing_trace,
)

SIZES = ModelConfig(n_layers=3, d_model=16, n_heads=2, d_expert=8, n_experts=6, top_k=2, context_length=8)
MODEL = MoETransformer(SIZES, generator=torch.Generator().manual_seed(0)).eval()
TOKENS = torch.randint(256, (37,), generator=torch.Generator().manual_seed(1))


def without_attention(model):
    for block in model.blocks:
        block.attention.o_proj.weight.data.zero_()
    return model


def test_without_attention_the_last_place_knows():
    """What the next layer's router reads is then the stream after this layer's experts."""
    model = without_attention(MoETransformer(SIZES, generator=torch.Generator().manual_seed(0)))
    truth_LNK = routing_trace(model, TOKENS).ids_LNK[1:]
    assert recall(guess_next(model, TOKENS, "after experts"), truth_LNK) == 1
    before = [guess_next(model, TOKENS, where) for where in PLACES[:2]]
    assert torch.equal(*before)  # with no attention between them, both places are the same


def test_what_writes_nothing_changes_nothing():
    """A layer whose experts write nothing: before and after them, the stream is the same."""
    model = MoETransformer(SIZES, generator=torch.Generator().manual_seed(0))
    for layer in model.moe_layers:
        layer.experts.down_proj.data.zero_()
    early, late = (guess_next(model, TOKENS, where) for where in PLACES[1:])
    assert torch.equal(early, late)


def test_all_experts_contain_the_truth():
    truth_LNK = routing_trace(MODEL, TOKENS).ids_LNK[1:]
    for where in PLACES:
        assert recall(guess_next(MODEL, TOKENS, where, 6), truth_LNK) == 1
        few, more = (guess_next(MODEL, TOKENS, where, n) for n in (2, 4))
        assert torch.equal(few, more[..., :2])
        assert recall(few, truth_LNK) <= recall(more, truth_LNK)


def test_counts_find_what_always_follows():
    generator = torch.Generator().manual_seed(0)
    ids_NK = torch.rand(200, 6, generator=generator).topk(2).indices
    next_NK = (ids_NK + 1) % 6
    counts_EE = count_successors(ids_NK, next_NK, 6)
    assert counts_EE.sum() == 200 * 4
    assert recall(guess_from_counts(counts_EE, ids_NK, 2), next_NK) == 1


def test_recall_counts_what_was_wanted():
    assert recall(torch.tensor([[0, 1], [2, 3]]), torch.tensor([[1, 5], [3, 2]])) == 0.75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: guess_next(MODEL, TOKENS, "later"), "where='later': choose one of before attention"),
        (lambda: guess_next(MODEL, TOKENS, "after experts", 7), "n_guesses=7: choose 1 to n_experts=6"),
        (lambda: recall(torch.zeros(2, 1), torch.zeros(3, 1)), "give the same N"),
        (lambda: count_successors(torch.zeros(2, 1), torch.zeros(3, 1), 2), "give the same"),
        (
            lambda: guess_next(
                MoETransformer(ModelConfig(n_layers=2, n_dense_layers=1, d_model=16, n_heads=2, d_expert=8)),
                TOKENS,
                "after experts",
            ),
            "guesses need two with experts",
        ),
    ],
)
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
