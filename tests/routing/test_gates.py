import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.routing import (
    GATES,
    router_logits,
    sigmoid_topk,
    softmax_topk,
    sqrt_softplus_topk,
    tokens_per_expert,
    topk_sigmoid,
    topk_softmax,
)

SUM_TO_ONE = ("topk_softmax", "softmax_topk_renorm", "sigmoid", "sqrt_softplus")


def draw_logits(n_tokens, n_experts, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n_tokens, n_experts, generator=generator, dtype=dtype)


@st.composite
def sizes(draw):
    n_experts = draw(st.sampled_from([1, 2, 3, 7, 8, 13]))
    return draw(st.integers(0, 9)), n_experts, draw(st.integers(1, n_experts))


@pytest.mark.parametrize("gate", GATES)
@settings(max_examples=25, deadline=None)
@given(size=sizes(), seed=st.integers(0, 2**16))
def test_every_gate_keeps_its_contract(gate, size, seed):
    n_tokens, n_experts, top_k = size
    logits_TE = draw_logits(n_tokens, n_experts, seed, torch.float32)
    routing = GATES[gate](logits_TE, top_k)
    ids_TK, weights_TK = routing.topk_ids_TK, routing.topk_weights_TK
    assert ids_TK.shape == weights_TK.shape == (n_tokens, top_k)
    assert ids_TK.dtype == torch.int64
    assert weights_TK.dtype == routing.logits_TE.dtype == torch.float32
    assert torch.equal(routing.logits_TE, logits_TE)
    assert all(len(set(row)) == top_k for row in ids_TK.tolist())
    # All scores grow with the logit, so the chosen experts are those of the largest logits, best first.
    assert torch.equal(logits_TE.gather(1, ids_TK), logits_TE.sort(descending=True).values[:, :top_k])
    assert (weights_TK >= 0).all()
    if gate in SUM_TO_ONE:
        torch.testing.assert_close(weights_TK.sum(1), torch.ones(n_tokens))


@settings(max_examples=25, deadline=None)
@given(size=sizes(), seed=st.integers(0, 2**16))
def test_softmax_of_topk_is_renormalised_topk_of_softmax(size, seed):
    n_tokens, n_experts, top_k = size
    logits_TE = draw_logits(n_tokens, n_experts, seed)
    first, second = topk_softmax(logits_TE, top_k), softmax_topk(logits_TE, top_k, renormalize=True)
    assert torch.equal(first.topk_ids_TK, second.topk_ids_TK)
    torch.testing.assert_close(first.topk_weights_TK, second.topk_weights_TK, rtol=1e-12, atol=0)
    raw = softmax_topk(logits_TE, top_k, renormalize=False)
    if top_k < n_experts and n_tokens:
        assert (raw.topk_weights_TK.sum(1) < 1).all()


@pytest.mark.parametrize("gate", GATES)
def test_gradients_of_the_weights(gate):
    logits_TE = draw_logits(4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: GATES[gate](logits, 3).topk_weights_TK, (logits_TE,))


@pytest.mark.parametrize("gate", [gate for gate in GATES if gate != "softmax_topk"])
def test_an_unchosen_expert_gets_no_gradient(gate):
    logits_TE = draw_logits(6, 5).requires_grad_()
    routing = GATES[gate](logits_TE, 2)
    routing.topk_weights_TK[:, 0].sum().backward()
    unchosen = torch.ones(6, 5).scatter(1, routing.topk_ids_TK, 0).bool()
    assert (logits_TE.grad[unchosen].abs() < 1e-15).all()  # renormalising cancels to rounding only


def test_with_one_expert_per_token_only_unnormalised_gates_train_the_router():
    gradients = {}
    for gate in GATES:
        logits_TE = draw_logits(6, 5).requires_grad_()
        GATES[gate](logits_TE, 1).topk_weights_TK.sum().backward()
        gradients[gate] = float(logits_TE.grad.abs().max())
    assert gradients["softmax_topk"] > 0.1
    assert gradients["topk_sigmoid"] > 0.01
    assert all(gradients[gate] < 1e-12 for gate in SUM_TO_ONE)


@pytest.mark.parametrize("gate", [sigmoid_topk, sqrt_softplus_topk, softmax_topk])
def test_bias_selects_but_never_weighs(gate):
    logits_TE = draw_logits(8, 4).requires_grad_()
    bias_E = torch.tensor([0.0, 0.0, 0.0, 100.0], dtype=torch.float64, requires_grad=True)
    plain = gate(logits_TE, 4, renormalize=False)
    biased = gate(logits_TE, 1, expert_bias_E=bias_E, renormalize=False)
    assert (biased.topk_ids_TK == 3).all()
    scores_TE = torch.zeros(8, 4, dtype=torch.float64).scatter(1, plain.topk_ids_TK, plain.topk_weights_TK)
    torch.testing.assert_close(biased.topk_weights_TK[:, 0], scores_TE[:, 3])
    biased.topk_weights_TK.sum().backward()
    assert bias_E.grad is None
    if gate is softmax_topk:
        return
    scaled = gate(logits_TE, 2, scale=2.5)
    torch.testing.assert_close(scaled.topk_weights_TK.sum(1), torch.full((8,), 2.5, dtype=torch.float64))


@pytest.mark.parametrize("gate", GATES)
def test_far_off_logits_stay_finite(gate):
    logits_TE = torch.tensor([[-1e4, -2e4, -3e4], [3e4, 2e4, 1e4]], requires_grad=True)
    routing = GATES[gate](logits_TE, 2)
    routing.topk_weights_TK.sum().backward()
    assert routing.topk_ids_TK.tolist()[1] == [0, 1]
    assert routing.topk_weights_TK.isfinite().all()
    assert logits_TE.grad.isfinite().all()


def test_router_logits_are_fp32_whatever_surrounds_them():
    generator = torch.Generator().manual_seed(0)
    hidden_TD = torch.randn(5, 16, generator=generator)
    router_ED = torch.randn(3, 16, generator=generator)
    expected_TE = hidden_TD @ router_ED.T
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits_TE = router_logits(hidden_TD, router_ED)
    assert logits_TE.dtype == torch.float32
    torch.testing.assert_close(logits_TE, expected_TE)
    narrow_TE = router_logits(hidden_TD.bfloat16(), router_ED)
    assert narrow_TE.dtype == torch.float32
    assert router_logits(hidden_TD.double(), router_ED.double()).dtype == torch.float64


def test_bf16_would_take_a_third_off_a_probability():
    # ST-MoE, footnote 7: bf16 has no numbers between 128 and 129, so 128.5 becomes 128.
    logits_E = torch.tensor([128.5, *[128.0] * 10])
    assert float(logits_E.softmax(0)[0]) == pytest.approx(0.142, abs=5e-4)
    assert float(logits_E.bfloat16().softmax(0, dtype=torch.float32)[0]) == pytest.approx(0.091, abs=5e-4)
    narrow_TD, router_ED = logits_E.new_ones(1, 1).bfloat16(), logits_E.unsqueeze(1)
    exact = softmax_topk(router_logits(narrow_TD, router_ED), 1, renormalize=False)
    assert float(exact.topk_weights_TK) == pytest.approx(0.142, abs=5e-4)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize(
    ("logits_TE", "top_k", "message"),
    [
        (torch.zeros(2, 3), 4, r"top_k is 4 with 3 experts: choose 1 to 3"),
        (torch.zeros(2, 3), 0, r"top_k is 0 with 3 experts: choose 1 to 3"),
        (torch.zeros(1, 2, 3), 1, r"logits_TE has shape \(1, 2, 3\): flatten"),
        (torch.tensor([[0.0, float("nan")]]), 1, r"logits_TE holds NaN: look"),
    ],
)
def test_bad_arguments_get_one_clear_line(gate, logits_TE, top_k, message):
    with pytest.raises(ValueError, match=message) as error:
        GATES[gate](logits_TE, top_k)
    assert "\n" not in str(error.value)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match=r"expert_bias_E has shape \(2,\): give one bias per expert"):
        sigmoid_topk(torch.zeros(1, 3), 1, expert_bias_E=torch.zeros(2))
    with pytest.raises(ValueError, match="hidden_TD has width 4 but router_ED expects 5"):
        router_logits(torch.zeros(1, 4), torch.zeros(2, 5))


def test_tokens_per_expert_counts_and_masks():
    ids_TK = torch.tensor([[0, 2], [2, 3], [2, 0]])
    assert tokens_per_expert(ids_TK, 5).tolist() == [2, 0, 3, 1, 0]
    mask_T = torch.tensor([True, False, True])
    assert tokens_per_expert(ids_TK, 5, mask_T).tolist() == [2, 0, 2, 0, 0]
    assert tokens_per_expert(torch.zeros(0, 2, dtype=torch.int64), 3).tolist() == [0, 0, 0]


def test_sigmoid_agrees_with_transformers():
    pytest.importorskip("transformers")
    from transformers import DeepseekV3Config
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

    config = DeepseekV3Config(
        hidden_size=16,
        moe_intermediate_size=8,
        n_routed_experts=8,
        num_experts_per_tok=3,
        n_group=1,
        topk_group=1,
        routed_scaling_factor=2.5,
    )
    torch.manual_seed(0)
    block = DeepseekV3MoE(config)
    torch.nn.init.normal_(block.gate.weight)
    block.gate.e_score_correction_bias.copy_(torch.randn(8))
    hidden_TD = torch.randn(12, 16)
    logits_TE, weights_TK, ids_TK = block.gate(hidden_TD)
    routing = sigmoid_topk(logits_TE, 3, expert_bias_E=block.gate.e_score_correction_bias, scale=2.5)
    assert_same_routing(routing, ids_TK, weights_TK)


def test_sqrt_softplus_agrees_with_transformers():
    modeling = pytest.importorskip("transformers.models.deepseek_v4.modeling_deepseek_v4")
    from transformers import DeepseekV4Config

    config = DeepseekV4Config(hidden_size=16, num_local_experts=8, num_experts_per_tok=3)
    torch.manual_seed(0)
    router = modeling.DeepseekV4TopKRouter(config)
    torch.nn.init.normal_(router.weight)
    router.e_score_correction_bias.copy_(torch.randn(8))
    logits_TE, weights_TK, ids_TK = router(torch.randn(12, 16))
    routing = sqrt_softplus_topk(
        logits_TE, 3, expert_bias_E=router.e_score_correction_bias, scale=config.routed_scaling_factor
    )
    assert_same_routing(routing, ids_TK, weights_TK)


def assert_same_routing(routing, ids_TK, weights_TK):
    """Same experts with the same weights, in whatever order the k are listed."""
    dense_TE = torch.zeros_like(routing.logits_TE).scatter(1, ids_TK, weights_TK)
    ours_TE = torch.zeros_like(dense_TE).scatter(1, routing.topk_ids_TK, routing.topk_weights_TK)
    assert torch.equal(ours_TE != 0, dense_TE != 0)
    torch.testing.assert_close(ours_TE, dense_TE, rtol=1e-6, atol=1e-7)


def test_llama4_weight_is_the_sigmoid_of_the_chosen_logit():
    logits_TE = draw_logits(6, 4)
    routing = topk_sigmoid(logits_TE, 1)
    torch.testing.assert_close(routing.topk_weights_TK, logits_TE.amax(1, keepdim=True).sigmoid())


@pytest.mark.parametrize("gate", GATES)
def test_vmap_over_sequences_is_the_gate_of_each(gate):
    logits_BTE = draw_logits(12, 5).view(3, 4, 5)
    mapped_BTK = torch.vmap(lambda logits_TE: GATES[gate](logits_TE, 2).topk_weights_TK)(logits_BTE)
    each = [GATES[gate](logits_TE, 2).topk_weights_TK for logits_TE in logits_BTE]
    torch.testing.assert_close(mapped_BTK, torch.stack(each))


def test_counting_refuses_weights_and_short_masks():
    with pytest.raises(ValueError, match=r"topk_ids_TK is torch.float32: give whole numbers"):
        tokens_per_expert(torch.tensor([[0.7, 0.3]]), 4)
    with pytest.raises(ValueError, match=r"mask_T has shape \(1,\): give one entry per token, \(2,\)"):
        tokens_per_expert(torch.tensor([[0], [1]]), 4, torch.tensor([True]))
