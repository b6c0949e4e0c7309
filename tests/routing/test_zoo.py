"""What holds for every router of the registry, and what each does with input it cannot use."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.routing import (
    ROUTERS,
    ExpertChoice,
    Routing,
    SoftSlots,
    dense_assignment,
    dense_weights,
    expert_choice,
    soft_slots,
)
from moe_lessons.routing.registry import VOCABULARY


def draw(n_tokens, n_experts, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits_TE = 2 * torch.randn(n_tokens, n_experts, generator=generator, dtype=dtype)
    return logits_TE, torch.randint(VOCABULARY, (n_tokens,), generator=generator)


def route(name, logits_TE, top_k, token_ids_T):
    return ROUTERS[name].route(logits_TE, 1 if ROUTERS[name].one_expert else top_k, token_ids_T)


@st.composite
def sizes(draw):
    n_experts = draw(st.sampled_from([1, 2, 3, 7, 8, 12]))
    return draw(st.integers(0, 9)), n_experts, draw(st.integers(1, n_experts))


@pytest.mark.parametrize("name", ROUTERS)
@settings(max_examples=25, deadline=None)
@given(size=sizes(), seed=st.integers(0, 2**16))
def test_every_router_keeps_the_contract(name, size, seed):
    n_tokens, n_experts, top_k = size
    decision = route(name, *insert(draw(n_tokens, n_experts, seed, torch.float32), top_k))
    chosen_TE, weights_TE = dense_assignment(decision), dense_weights(decision)
    assert chosen_TE.shape == weights_TE.shape == (n_tokens, n_experts)
    assert chosen_TE.dtype == torch.bool
    assert weights_TE.dtype == torch.float32
    assert weights_TE.isfinite().all()
    assert (weights_TE >= 0).all()
    assert (weights_TE[~chosen_TE] == 0).all()
    if isinstance(decision, Routing):
        per_token = 1 if ROUTERS[name].one_expert else top_k
        assert (chosen_TE.sum(1) == per_token).all()  # K different experts
        assert decision.topk_ids_TK.dtype == torch.int64
        gathered_TK = weights_TE.gather(1, decision.topk_ids_TK)
        assert torch.equal(gathered_TK, decision.topk_weights_TK)
    elif isinstance(decision, ExpertChoice):
        assert (chosen_TE.sum(0) == n_tokens * top_k // n_experts).all()


def insert(drawn, top_k):
    logits_TE, token_ids_T = drawn
    return logits_TE, top_k, token_ids_T


def spread(name, logits_TE, top_k, token_ids_T):
    """Largest minus smallest load; a Soft MoE expert's work is its slots."""
    decision = route(name, logits_TE, top_k, token_ids_T)
    if isinstance(decision, SoftSlots):
        return 0
    loads_E = dense_assignment(decision).sum(0)
    return int(loads_E.max() - loads_E.min())


@pytest.mark.parametrize("name", ROUTERS)
@pytest.mark.parametrize("top_k", [1, 2])
def test_the_balanced_label_is_right_in_both_directions(name, top_k):
    spreads = []
    for seed in range(40):
        logits_TE, token_ids_T = draw(33, 8, seed)
        logits_TE[:, 0] += seed % 4  # some batches like expert 0
        spreads.append(spread(name, logits_TE, top_k, token_ids_T))
    assert (max(spreads) <= 1) == ROUTERS[name].balanced, max(spreads)


@pytest.mark.parametrize("name", ROUTERS)
def test_one_expert_takes_everything(name):
    decision = route(name, *insert(draw(5, 1), 1))
    assert dense_assignment(decision).all()


@pytest.mark.parametrize("name", ROUTERS)
def test_no_token_is_no_problem(name):
    decision = route(name, *insert(draw(0, 4), 1))
    assert dense_weights(decision).shape == (0, 4)


LOOKS_AT_LOGITS = [name for name in ROUTERS if name != "hash"]
HAS_TOP_K = [name for name in ROUTERS if name != "soft_moe"]


@pytest.mark.parametrize("name", HAS_TOP_K)
@pytest.mark.parametrize("top_k", [4, 0])
def test_a_top_k_that_cannot_be_is_refused(name, top_k):
    if (name, top_k) == ("expert_choice", 0):
        assert not dense_assignment(ROUTERS[name].route(*insert(draw(6, 3), 0))).any()  # no places, no tokens
        return
    with pytest.raises(ValueError, match=rf"top_k.* {top_k}|capacity is 8 with 6 tokens") as error:
        ROUTERS[name].route(*insert(draw(6, 3), top_k))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", LOOKS_AT_LOGITS)
def test_nan_is_refused(name):
    logits_TE, token_ids_T = draw(6, 3)
    logits_TE[4, 1] = torch.nan
    with pytest.raises(ValueError, match="holds NaN: look for a diverged loss"):
        route(name, logits_TE, 1, token_ids_T)


@pytest.mark.parametrize("name", LOOKS_AT_LOGITS)
@pytest.mark.parametrize("shape", [(6,), (2, 3, 4), (6, 0)])
def test_wrong_shapes_are_refused(name, shape):
    with pytest.raises(ValueError, match=r"has shape \(") as error:
        route(name, torch.zeros(shape), 1, torch.zeros(6, dtype=torch.int64))
    assert "\n" not in str(error.value)


def test_dense_views_by_loop():
    logits_TE, token_ids_T = draw(7, 4)
    routing = ROUTERS["softmax_topk"].route(logits_TE, 2, token_ids_T)
    picked = expert_choice(logits_TE, 3)
    slots = soft_slots(torch.stack([logits_TE, -logits_TE], dim=-1))
    expected = torch.zeros(3, 7, 4, dtype=torch.float64)
    for t in range(7):
        for k in range(2):
            expected[0, t, routing.topk_ids_TK[t, k]] = routing.topk_weights_TK[t, k]
        for e in range(4):
            expected[2, t, e] = slots.combine_TEP[t, e, 0] + slots.combine_TEP[t, e, 1]
    for e in range(4):
        for c in range(3):
            expected[1, picked.token_ids_EC[e, c], e] = picked.weights_EC[e, c]
    for decision, expected_TE in zip((routing, picked, slots), expected, strict=True):
        torch.testing.assert_close(dense_weights(decision), expected_TE)
        assert torch.equal(dense_assignment(decision), expected_TE != 0)


def test_a_weight_of_zero_is_still_an_assignment():
    logits_TE = torch.tensor([[200.0, -200.0]])
    picked = expert_choice(logits_TE, 1)
    assert dense_weights(picked).tolist() == [[1.0, 0.0]]
    assert dense_assignment(picked).tolist() == [[True, True]]


@pytest.mark.parametrize("name", ROUTERS)
def test_gradients_reach_the_router_through_the_dense_view(name):
    logits_TE, token_ids_T = draw(6, 4)
    logits_TE.requires_grad_()

    def weights(logits_TE):
        return dense_weights(route(name, logits_TE, 2, token_ids_T))

    if name == "hash":
        assert not weights(logits_TE).requires_grad
    else:
        assert torch.autograd.gradcheck(weights, (logits_TE,))
        weights(logits_TE).square().sum().backward()
        assert logits_TE.grad.abs().max() > 1e-3


@pytest.mark.parametrize("name", LOOKS_AT_LOGITS)
def test_bf16_logits_are_read_as_fp32(name):
    logits_TE, token_ids_T = draw(8, 4, dtype=torch.bfloat16)
    narrow = route(name, logits_TE, 2, token_ids_T)
    wide = route(name, logits_TE.float(), 2, token_ids_T)
    assert torch.equal(dense_assignment(narrow), dense_assignment(wide))
    assert torch.equal(dense_weights(narrow), dense_weights(wide))
