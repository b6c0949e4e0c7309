"""A trace is what the model does, window by window; batches touch what their tokens choose."""

import pytest
import torch

from moe_lessons import ModelConfig
from moe_lessons.accounting import expert_coverage
from moe_lessons.model import MoETransformer
from moe_lessons.serving import neighbours, popular, routing_trace, strangers, touched, touched_by_popularity
from moe_lessons.serving.traces import windows

SIZES = ModelConfig(
    n_layers=3, n_dense_layers=1, d_model=16, n_heads=2, d_expert=8, n_experts=6, top_k=3, context_length=8
)
MODEL = MoETransformer(SIZES, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(256, (21,), generator=torch.Generator().manual_seed(1))


def test_windows_make_up_the_text():
    assert torch.equal(torch.cat([part.flatten() for part in windows(TOKENS, 8)]), TOKENS)
    assert [part.shape[1] for part in windows(TOKENS, 8)] == [8, 5]
    assert [part.shape[1] for part in windows(TOKENS[:3], 8)] == [3]


def test_a_trace_is_what_each_window_does():
    trace = routing_trace(MODEL, TOKENS)
    assert trace.ids_LNK.shape == (2, 21, 3)  # the dense layer chooses nothing
    for start in range(0, 21, 8):
        part = TOKENS[start : start + 8]
        for layer, routing in enumerate(MODEL(part[None]).routings):
            assert torch.equal(trace.ids_LNK[layer, start : start + 8], routing.topk_ids_TK)
            assert torch.allclose(trace.logits_LNE[layer, start : start + 8], routing.logits_TE, atol=1e-6)


def test_one_layer_alone():
    both, one = routing_trace(MODEL, TOKENS), routing_trace(MODEL, TOKENS, layer=1)
    assert torch.equal(one.ids_LNK[0], both.ids_LNK[1])
    assert len(one.ids_LNK) == 1


def test_the_model_is_left_in_its_mode():
    MODEL.train()
    routing_trace(MODEL, TOKENS)
    assert MODEL.training
    MODEL.eval()


def test_touched_counts_different_experts():
    generator = torch.Generator().manual_seed(0)
    ids_NK = torch.rand(50, 9, generator=generator).topk(2).indices
    rows_RB = strangers(50, 4, 20, generator)
    counted = [len(set(ids_NK[row].flatten().tolist())) for row in rows_RB]
    assert touched(ids_NK, rows_RB, 9).tolist() == counted


def test_even_shares_give_the_formula():
    ids_NK = torch.arange(12).view(6, 2)
    for batch in (1, 2, 5, 30):
        assert touched_by_popularity(ids_NK, batch, 12) == pytest.approx(expert_coverage(12, 2, batch))


def test_neighbours_follow_each_other_and_stay_inside():
    rows_RB = neighbours(10, 4, 200, torch.Generator().manual_seed(0))
    assert (rows_RB.diff(dim=1) == 1).all()
    assert rows_RB.min() == 0
    assert rows_RB.max() == 9


def test_the_popular_are_counted_and_ties_go_to_the_first():
    assert popular(torch.tensor([[2], [1], [2], [1], [0]]), 2, 4) == [1, 2]
    assert popular(torch.tensor([[3]]), 4, 4) == [3, 0, 1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: routing_trace(MODEL, torch.zeros(0)), "one token at least"),
        (lambda: routing_trace(MODEL, TOKENS[None]), "one token at least"),
        (lambda: routing_trace(MODEL, TOKENS, layer=2), "layer=2: choose 0 to 1"),
        (lambda: neighbours(3, 4, 1, torch.Generator()), "batch=4: the text has 3 tokens"),
        (lambda: popular(torch.zeros(1, 1).long(), 5, 4), "n=5: choose 0 to n_experts=4"),
    ],
)
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
