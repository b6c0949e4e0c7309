import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.routing import dense_assignment, dense_weights, expert_choice


def draw(*shape, seed=0):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(n_tokens=st.integers(0, 9), n_experts=st.integers(1, 6), data=st.data())
def test_by_loop(n_tokens, n_experts, data):
    capacity = data.draw(st.integers(0, n_tokens))
    logits_TE = draw(n_tokens, n_experts, seed=data.draw(st.integers(0, 999)))
    picked = expert_choice(logits_TE, capacity)
    assert picked.token_ids_EC.shape == picked.weights_EC.shape == (n_experts, capacity)
    probs_TE = logits_TE.exp() / logits_TE.exp().sum(1, keepdim=True)
    for e in range(n_experts):
        best = sorted(range(n_tokens), key=lambda t: -float(probs_TE[t, e]))[:capacity]
        if n_experts > 1:  # a lone expert scores every token 1
            assert picked.token_ids_EC[e].tolist() == best
        assert picked.weights_EC[e].tolist() == pytest.approx([float(probs_TE[t, e]) for t in best])


def test_loads_are_exact_and_tokens_get_any_number():
    chosen_TE = dense_assignment(expert_choice(draw(512, 8) / 4, 128))
    assert chosen_TE.sum(0).tolist() == [128] * 8
    per_token = set(chosen_TE.sum(1).tolist())
    assert 0 in per_token
    assert max(per_token) >= 4


def test_every_token_for_everyone_is_the_plain_softmax():
    logits_TE = draw(5, 3)
    torch.testing.assert_close(dense_weights(expert_choice(logits_TE, 5)), logits_TE.softmax(1))


def test_far_off_logits_are_still_ordered():
    logits_TE = torch.tensor(
        [[0.0, 900.0], [0.0, 700.0], [0.0, 800.0]]
    )  # expert 0: probabilities all 0 in fp32
    assert expert_choice(logits_TE, 1).token_ids_EC.tolist() == [[1], [0]]
    assert expert_choice(logits_TE, 2).weights_EC.isfinite().all()


def test_gradients():
    logits_TE = draw(6, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda logits_TE: expert_choice(logits_TE, 2).weights_EC, (logits_TE,))


@pytest.mark.parametrize("capacity", [-1, 5])
def test_a_capacity_that_cannot_be_is_refused(capacity):
    with pytest.raises(ValueError, match=rf"capacity is {capacity} with 4 tokens: choose 0 to 4"):
        expert_choice(draw(4, 2), capacity)
