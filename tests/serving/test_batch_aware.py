"""A gate that looks at the batch: the usual one where it may not, and then a leak between users."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.routing import topk_softmax
from moe_lessons.serving import batch_aware, positions


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 9), st.integers(2, 7), st.integers(0, 10**6))
def test_k0_stay_and_the_rest_is_from_the_batch(n_tokens, n_experts, seed):
    generator = torch.Generator().manual_seed(seed)
    logits_TE = torch.randn(n_tokens, n_experts, generator=generator)
    top_k = 1 + seed % n_experts
    k0 = 1 + seed % top_k
    routing = batch_aware(k0)(logits_TE, top_k)
    best = logits_TE.topk(k0).indices
    loaded = set(best.flatten().tolist())
    assert routing.topk_weights_TK.sum(1).allclose(torch.ones(n_tokens))
    for ids, own in zip(routing.topk_ids_TK.tolist(), best.tolist(), strict=True):
        assert set(own) <= set(ids)
        assert len(set(ids)) == top_k
        if len(loaded) >= top_k:
            assert set(ids) <= loaded
        else:
            assert loaded <= set(ids)


def test_with_all_k_it_is_the_usual_gate():
    logits_TE = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    ours, usual = batch_aware(3)(logits_TE, 3), topk_softmax(logits_TE, 3)
    assert torch.equal(ours.topk_ids_TK, usual.topk_ids_TK)
    assert torch.allclose(ours.topk_weights_TK, usual.topk_weights_TK)


def test_another_users_text_changes_mine():
    mine, other, third = torch.tensor([[[5.0, 2, 0, 0]], [[0.0, 0, 9, 0]], [[0.0, 0, 0, 9]]])
    together = [batch_aware(1)(torch.cat((mine, who)), 2).topk_ids_TK[0] for who in (other, third)]
    assert [ids.tolist() for ids in together] == [[0, 2], [0, 3]]
    apart = [topk_softmax(torch.cat((mine, who)), 2).topk_ids_TK[0] for who in (other, third)]
    assert torch.equal(*apart)


def test_steps_do_not_see_each_other():
    logits_TE = torch.randn(3 * 5, 9, generator=torch.Generator().manual_seed(0))
    routing = batch_aware(1, positions(5))(logits_TE, 3)  # 3 windows of 5 places
    for place in range(5):
        rows = logits_TE.view(3, 5, 9)[:, place]
        alone = batch_aware(1)(rows, 3).topk_ids_TK
        assert torch.equal(routing.topk_ids_TK.view(3, 5, 3)[:, place], alone)


def test_no_token():
    assert batch_aware(1)(torch.zeros(0, 4), 2).topk_ids_TK.shape == (0, 2)


@pytest.mark.parametrize("k0", [0, 3])
def test_refused_in_one_line(k0):
    with pytest.raises(ValueError, match=f"k0={k0}: choose 1"):
        batch_aware(k0)(torch.zeros(2, 4), 2)
