import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.routing import group_limited_softmax_topk, group_limited_topk, sigmoid_topk, softmax_topk


def draw(*shape, seed=0):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def sizes(draw):
    n_groups, group_size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    topk_groups = draw(st.integers(1, n_groups))
    top_k = draw(st.integers(1, topk_groups * group_size))
    return draw(st.integers(0, 7)), n_groups, group_size, topk_groups, top_k


def choose_by_loop(selection_E, n_groups, topk_groups, top_k, best):
    size = len(selection_E) // n_groups
    groups = [selection_E[g * size : (g + 1) * size] for g in range(n_groups)]
    values = [sum(sorted(group, reverse=True)[:best]) for group in groups]
    kept = sorted(range(n_groups), key=lambda g: -values[g])[:topk_groups]
    experts = [g * size + i for g in kept for i in range(size)]
    return sorted(experts, key=lambda e: -selection_E[e])[:top_k]


@settings(max_examples=60, deadline=None)
@given(size=sizes(), seed=st.integers(0, 999))
def test_both_kinds_by_loop(size, seed):
    n_tokens, n_groups, group_size, topk_groups, top_k = size
    n_experts = n_groups * group_size
    logits_TE, bias_E = draw(n_tokens, n_experts, seed=seed), draw(n_experts, seed=seed + 1)
    limits = {"n_groups": n_groups, "topk_groups": topk_groups}
    v3 = group_limited_topk(logits_TE, top_k, **limits, expert_bias_E=bias_E, scale=2.5)
    v2 = group_limited_softmax_topk(logits_TE, top_k, **limits, scale=16.0)
    for t in range(n_tokens):
        scores_E = (1 / (1 + (-logits_TE[t]).exp())).tolist()
        biased_E = [score + float(bias) for score, bias in zip(scores_E, bias_E, strict=True)]
        chosen = choose_by_loop(biased_E, n_groups, topk_groups, top_k, best=2)
        assert v3.topk_ids_TK[t].tolist() == chosen
        total = sum(scores_E[e] for e in chosen)
        assert v3.topk_weights_TK[t].tolist() == pytest.approx([2.5 * scores_E[e] / total for e in chosen])
        probs_E = (logits_TE[t].exp() / logits_TE[t].exp().sum()).tolist()
        chosen = choose_by_loop(probs_E, n_groups, topk_groups, top_k, best=1)
        assert v2.topk_ids_TK[t].tolist() == chosen
        assert v2.topk_weights_TK[t].tolist() == pytest.approx([16 * probs_E[e] for e in chosen])


def test_a_token_stays_in_its_groups():
    logits_TE = draw(200, 32)
    for route in (group_limited_topk, group_limited_softmax_topk):
        groups_TK = route(logits_TE, 6, n_groups=8, topk_groups=2).topk_ids_TK // 4
        assert max(len(set(row)) for row in groups_TK.tolist()) == 2
        assert len(set(groups_TK.flatten().tolist())) == 8


def test_all_groups_is_no_limit():
    logits_TE, bias_E = draw(20, 12), draw(12, seed=1)
    ours = group_limited_topk(logits_TE, 3, n_groups=4, topk_groups=4, expert_bias_E=bias_E, scale=2.5)
    for one, other in zip(ours, sigmoid_topk(logits_TE, 3, expert_bias_E=bias_E, scale=2.5), strict=True):
        torch.testing.assert_close(one, other)
    ours = group_limited_softmax_topk(logits_TE, 3, n_groups=4, topk_groups=4)
    for one, other in zip(ours, softmax_topk(logits_TE, 3, renormalize=False), strict=True):
        torch.testing.assert_close(one, other)


def test_filling_with_zero_would_bring_a_masked_expert_back():
    """The trap: a biased score below 0 loses against the 0 of an expert whose group was left out."""
    logits_TE = torch.tensor([[2.0, 1.0, -3.0, -4.0]], dtype=torch.float64)
    bias_E = torch.full((4,), -1.0, dtype=torch.float64)
    ids_TK = group_limited_topk(logits_TE, 2, n_groups=2, topk_groups=1, expert_bias_E=bias_E).topk_ids_TK
    assert ids_TK.tolist() == [[0, 1]]
    filled_TE = logits_TE.sigmoid() + bias_E
    filled_TE[:, 2:] = 0.0
    assert sorted(filled_TE.topk(2).indices[0].tolist()) == [2, 3]


def test_underflow_does_not_lead_out_of_the_kept_group():
    """The second-best probability of the kept group is 0 in fp32; experts masked with 0 would tie with it."""
    logits_TE = torch.tensor([[100.0, -100.0, 99.0, 98.0]])
    routing = group_limited_softmax_topk(logits_TE, 2, n_groups=2, topk_groups=1)
    assert routing.topk_ids_TK.tolist() == [[0, 1]]
    assert float(routing.topk_weights_TK[0, 1]) == 0


def test_gradients_reach_the_logits_and_not_the_bias():
    logits_TE, bias_E = draw(5, 6).requires_grad_(), draw(6, seed=1).requires_grad_()
    limits = {"n_groups": 3, "topk_groups": 2}

    def v3(logits_TE):
        return group_limited_topk(logits_TE, 3, **limits, expert_bias_E=bias_E).topk_weights_TK

    def v2(logits_TE):
        return group_limited_softmax_topk(logits_TE, 3, **limits).topk_weights_TK

    assert torch.autograd.gradcheck(v3, (logits_TE,))
    assert torch.autograd.gradcheck(v2, (logits_TE,))
    v3(logits_TE)[:, 0].sum().backward()
    assert bias_E.grad is None


@pytest.mark.parametrize("route", [group_limited_topk, group_limited_softmax_topk])
@pytest.mark.parametrize(
    ("top_k", "n_groups", "topk_groups", "message"),
    [
        (2, 5, 1, r"n_groups is 5 with 12 experts: choose a divisor of 12"),
        (2, 0, 1, r"n_groups is 0 with 12 experts: choose a divisor of 12"),
        (2, -3, 1, r"n_groups is -3 with 12 experts: choose a divisor of 12"),
        (2, 4, 5, r"topk_groups is 5 with 4 groups: choose 1 to 4"),
        (2, 4, 0, r"topk_groups is 0 with 4 groups: choose 1 to 4"),
        (7, 4, 2, r"topk_groups is 2 with 3 experts each, fewer than top_k=7: keep at least 3 groups"),
        (13, 4, 4, r"top_k is 13 with 12 experts: choose 1 to 12"),
    ],
)
def test_limits_that_cannot_be_are_refused(route, top_k, n_groups, topk_groups, message):
    with pytest.raises(ValueError, match=message) as error:
        route(draw(3, 12), top_k, n_groups=n_groups, topk_groups=topk_groups)
    assert "\n" not in str(error.value)


def test_a_bias_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"expert_bias_E has shape \(3,\): give one bias per expert"):
        group_limited_topk(draw(2, 4), 1, n_groups=2, topk_groups=1, expert_bias_E=torch.zeros(3))
