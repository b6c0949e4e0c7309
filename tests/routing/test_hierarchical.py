import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.routing import two_level_topk, two_level_utilisation


def draw(*shape, seed=0):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def sizes(draw):
    n_groups, group_size = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    return (
        draw(st.integers(0, 6)),
        n_groups,
        group_size,
        draw(st.integers(1, n_groups)),
        draw(st.integers(1, group_size)),
    )


def by_token(group_A, experts_AB, top_groups, top_experts):
    """Ids and weights of one token, from the definition."""
    found = {}
    kept = sorted(range(len(group_A)), key=lambda a: -group_A[a])[:top_groups]
    outer = sum(group_A[a].exp() for a in kept)
    for a in kept:
        best = sorted(range(len(experts_AB[a])), key=lambda b: -experts_AB[a][b])[:top_experts]
        inner = sum(experts_AB[a][b].exp() for b in best)
        for b in best:
            found[a * len(experts_AB[a]) + b] = float(
                group_A[a].exp() / outer * experts_AB[a][b].exp() / inner
            )
    return found


@settings(deadline=None, max_examples=80)
@given(sizes(), st.integers(0, 99))
def test_by_loop_and_sums(size, seed):
    n_tokens, n_groups, group_size, top_groups, top_experts = size
    groups_TA = draw(n_tokens, n_groups, seed=seed)
    experts_TAB = draw(n_tokens, n_groups, group_size, seed=seed + 1)
    routing = two_level_topk(groups_TA, experts_TAB, top_groups, top_experts)
    assert routing.topk_ids_TK.shape == (n_tokens, top_groups * top_experts)
    for t in range(n_tokens):
        wanted = by_token(groups_TA[t], experts_TAB[t], top_groups, top_experts)
        got = dict(zip(routing.topk_ids_TK[t].tolist(), routing.topk_weights_TK[t].tolist(), strict=True))
        assert got == pytest.approx(wanted)
    used = two_level_utilisation(routing, n_groups)
    assert used.importance_AB.shape == (n_groups, group_size)
    assert used.importance_AB.sum().item() == pytest.approx(n_tokens)
    assert used.load_AB.sum().item() == n_tokens * top_groups * top_experts


def test_all_groups_and_all_experts_is_the_product_of_the_softmaxes():
    groups_TA, experts_TAB = draw(4, 3), draw(4, 3, 2, seed=1)
    routing = two_level_topk(groups_TA, experts_TAB, 3, 2)
    order = routing.topk_ids_TK.argsort(dim=1)
    product = (groups_TA.softmax(-1).unsqueeze(-1) * experts_TAB.softmax(-1)).flatten(1)
    torch.testing.assert_close(routing.topk_weights_TK.gather(1, order), product)
    torch.testing.assert_close(routing.logits_TE.exp(), product)


def test_a_greedy_choice_is_not_always_the_best():
    groups_TA = torch.tensor([[0.55, 0.45]]).log()
    experts_TAB = torch.tensor([[[0.5, 0.5], [0.9, 0.1]]]).log()
    routing = two_level_topk(groups_TA, experts_TAB, 1, 1)
    assert routing.topk_ids_TK.item() in (0, 1)
    assert routing.logits_TE.argmax().item() == 2


def test_logits_of_groups_left_out_are_not_used():
    groups_TA, experts_TAB = draw(6, 4), draw(6, 4, 3, seed=1)
    first = two_level_topk(groups_TA, experts_TAB, 2, 1)
    left = torch.ones(6, 4, dtype=torch.bool).scatter(1, groups_TA.topk(2).indices, False)
    second = two_level_topk(groups_TA, experts_TAB + 50 * draw(6, 4, 3, seed=2) * left.unsqueeze(-1), 2, 1)
    assert torch.equal(first.topk_ids_TK, second.topk_ids_TK)
    torch.testing.assert_close(first.topk_weights_TK, second.topk_weights_TK)


def test_even_on_both_levels_and_dead_in_the_product():
    """Groups are even, and so is each group over all tokens; half of the experts see none of theirs."""
    groups_TA = torch.tensor([[9.0, 0.0]] * 2 + [[0.0, 9.0]] * 2)
    first, second = [9.0, 0.0], [0.0, 9.0]
    experts_TAB = torch.tensor([[first, second]] * 2 + [[second, first]] * 2)
    routing = two_level_topk(groups_TA, experts_TAB, 1, 1)
    assert experts_TAB.softmax(-1).sum(0).tolist() == [pytest.approx([2, 2])] * 2
    used = two_level_utilisation(routing, 2)
    assert used.importance_AB.sum(1).tolist() == [2, 2]
    assert used.load_AB.tolist() == [[2, 0], [2, 0]]


def test_gradients_reach_both_levels():
    groups_TA, experts_TAB = draw(5, 3).requires_grad_(), draw(5, 3, 4, seed=1).requires_grad_()
    torch.autograd.gradcheck(
        lambda g, e: two_level_topk(g, e, 2, 2).topk_weights_TK, (groups_TA, experts_TAB)
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((draw(2, 3), draw(2, 3, 4), 4, 1), "top_groups is 4: choose 1 to 3"),
        ((draw(2, 3), draw(2, 3, 4), 1, 5), "top_experts is 5: choose 1 to 4"),
        ((draw(2, 3), draw(2, 4, 4), 1, 1), r"expert_logits_TAB has shape \(2, 4, 4\)"),
        ((draw(2, 3), draw(2, 3, 4) * float("nan"), 1, 1), "expert_logits_TAB holds NaN"),
    ],
)
def test_bad_input_is_refused(args, message):
    with pytest.raises(ValueError, match=message):
        two_level_topk(*args)


def test_a_number_of_groups_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="n_groups is 4 with 6 experts"):
        two_level_utilisation(two_level_topk(draw(2, 3), draw(2, 3, 2), 1, 1), 4)
