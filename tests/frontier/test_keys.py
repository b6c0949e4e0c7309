"""Product keys against brute force, and the layer that looks experts up with them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.frontier.keys import PEER, product_topk, score_all


def tables(n_tokens, half, n_first, n_second, seed):
    g = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n_tokens, 2 * half, generator=g, dtype=torch.float64),
        torch.randn(n_first, half, generator=g, dtype=torch.float64),
        torch.randn(n_second, half, generator=g, dtype=torch.float64),
    )


@settings(deadline=None)
@given(st.data())
def test_exactly_the_ids_of_brute_force(data):
    n_first, n_second = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    top_k = data.draw(st.integers(1, min(n_first, n_second)))
    query, first, second = tables(
        data.draw(st.integers(1, 5)),
        data.draw(st.integers(1, 6)),
        n_first,
        n_second,
        data.draw(st.integers(0, 99)),
    )
    ids_TK, scores_TK = product_topk(query, first, second, top_k)
    all_ids_TK, all_scores_TK = score_all(query, first, second, top_k)
    torch.testing.assert_close(scores_TK, all_scores_TK)
    assert torch.equal(ids_TK, all_ids_TK)


def test_fewer_candidates_than_k_miss_some():
    """The negative control: the best root of K of each half are not enough."""
    query, first, second = tables(64, 16, 64, 64, 0)
    best_TK, _ = product_topk(query, first, second, 16)
    i, j = (query[:, :16] @ first.T).topk(4).indices, (query[:, 16:] @ second.T).topk(4).indices
    seen = (i[:, :, None] * 64 + j[:, None, :]).flatten(1)
    assert (best_TK[:, :, None] == seen[:, None, :]).any(2).double().mean() < 0.9


def test_sizes_that_do_not_fit_are_refused():
    query, first, second = tables(2, 4, 6, 8, 0)
    with pytest.raises(ValueError, match="top_k is 7 with 6 keys in a half: choose 1 to 6"):
        product_topk(query, first, second, 7)
    with pytest.raises(ValueError, match="query_TP has width 7"):
        product_topk(query[:, :7], first, second, 2)
    with pytest.raises(ValueError, match="d_query is 7"):
        PEER(8, 4, 1, 2, d_query=7)
    with pytest.raises(ValueError, match="top_k is 5 with 4 keys"):
        PEER(8, 4, 1, 5)


def test_the_layer_is_the_sum_of_its_experts():
    torch.manual_seed(0)
    layer = PEER(8, n_keys=5, n_heads=2, top_k=3, d_query=4).eval()
    hidden_TD = torch.randn(6, 8)
    with torch.no_grad():
        queries = layer.norm(layer.query(hidden_TD)).view(6, 2, 4)
        expected_TD = torch.zeros(6, 8)
        for t in range(6):
            for head in range(2):
                ids_1K, scores_1K = score_all(queries[t, head][None], layer.first, layer.second, 3)
                for e, w in zip(ids_1K[0], scores_1K[0].softmax(0), strict=True):
                    unit = torch.nn.functional.gelu(layer.down.weight[e] @ hidden_TD[t])
                    expected_TD[t] += w * unit * layer.up.weight[e]
        torch.testing.assert_close(layer(hidden_TD), expected_TD)


def test_one_token_is_refused_in_training_and_fine_in_evaluation():
    layer = PEER(8, n_keys=5, n_heads=2, top_k=3)
    with pytest.raises(ValueError, match="hidden_TD has 1 token"):
        layer(torch.zeros(1, 8))
    assert layer.eval()(torch.zeros(1, 8)).shape == (1, 8)


def test_gradients_reach_queries_keys_and_the_experts_that_were_found():
    torch.manual_seed(0)
    layer = PEER(8, n_keys=5, n_heads=2, top_k=3)
    layer(torch.randn(6, 8)).square().sum().backward()
    for parameter in (layer.query.weight, layer.first, layer.second, layer.down.weight, layer.up.weight):
        assert parameter.grad.abs().max() > 0
