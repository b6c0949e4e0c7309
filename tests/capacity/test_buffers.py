import pytest
import torch
from drawn_routings import routings
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import capacity as cap
from moe_lessons.dispatch import moe_loop
from moe_lessons.experts import ffn, swiglu
from moe_lessons.routing import topk_softmax


@settings(max_examples=40, deadline=None)
@given(routings(), st.sampled_from(list(cap.PRIORITIES)), st.integers(0, 12) | st.none())
def test_the_buffered_layer_is_the_loop_with_dropped_weights_set_to_zero(routing, priority, capacity):
    ids_TK, weights_TK, n_experts = routing
    generator = torch.Generator().manual_seed(1)
    hidden_TD, gate_up, down = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((len(ids_TK), 3), (n_experts, 4, 3), (n_experts, 3, 2))
    )
    admission = cap.admit(ids_TK, weights_TK, n_experts=n_experts, capacity=capacity, priority=priority)
    buffers_ECD = cap.dispatch(hidden_TD, admission, n_experts)
    assert buffers_ECD.shape == (n_experts, admission.capacity, 3)
    results = [swiglu(*each) for each in zip(buffers_ECD, gate_up, down, strict=True)]
    output_TD = cap.combine(torch.stack(results), admission, weights_TK)
    expected_TD = moe_loop(hidden_TD, ids_TK, weights_TK * admission.kept_TK, gate_up, down)
    torch.testing.assert_close(output_TD, expected_TD, rtol=1e-12, atol=1e-12)


def test_empty_places_hold_zeros_and_are_never_read():
    ids_TK, weights_TK = torch.tensor([[0], [0], [2]]), torch.ones(3, 1)
    admission = cap.admit(ids_TK, weights_TK, n_experts=3, capacity=1)
    buffers_ECD = cap.dispatch(torch.tensor([[torch.inf], [torch.nan], [3.0]]), admission, 3)
    assert buffers_ECD.flatten().tolist() == [torch.inf, 0, 3]  # the dropped NaN reaches nobody
    results_ECD = torch.tensor([[[5.0]], [[torch.nan]], [[7.0]]])
    assert cap.combine(results_ECD, admission, weights_TK).flatten().tolist() == [5, 0, 7]


def test_gradients_through_dispatch_and_combine():
    generator = torch.Generator().manual_seed(0)
    _, ids_TK, weights_TK = topk_softmax(torch.randn(6, 3, generator=generator, dtype=torch.float64), 2)
    admission = cap.admit(ids_TK, weights_TK, n_experts=3, capacity=3)
    assert 0 < int(admission.kept_TK.sum()) < 12

    def layer(hidden_TD, weights_TK, scale_E):
        buffers_ECD = cap.dispatch(hidden_TD, admission, 3)
        return cap.combine(torch.tanh(scale_E[:, None, None] * buffers_ECD), admission, weights_TK)

    hidden_TD = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    inputs = [hidden_TD, weights_TK, torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)]
    inputs = [each.detach().requires_grad_() for each in inputs]
    assert torch.autograd.gradcheck(layer, inputs)
    layer(*inputs).square().sum().backward()
    assert (inputs[1].grad[~admission.kept_TK] == 0).all()  # a dropped choice teaches the router nothing
    assert (inputs[1].grad[admission.kept_TK] != 0).all()


def test_dispatch_refuses_another_number_of_tokens():
    admission = cap.admit(torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, 1), n_experts=1, capacity=1)
    with pytest.raises(ValueError, match="hidden_TD has 3 tokens: the admission is for 2"):
        cap.dispatch(torch.zeros(3, 4), admission, 1)


def test_the_layer_of_switch_in_transformers():
    """Drops and outputs of Hugging Face's Switch layer, which counts a capacity per sequence."""
    modeling = pytest.importorskip("transformers.models.switch_transformers.modeling_switch_transformers")
    config = modeling.SwitchTransformersConfig(
        d_model=6, d_ff=10, num_experts=4, expert_capacity=5, dropout_rate=0.0
    )
    torch.manual_seed(0)
    layer = modeling.SwitchTransformersSparseMLP(config).double().eval()
    layer.router.dtype = torch.float64  # the config knows float32 at most
    hidden_BTD = torch.randn(2, 24, 6, dtype=torch.float64)
    with torch.no_grad():
        expected_BTD = layer(hidden_BTD)
        for hidden_TD, expected_TD in zip(hidden_BTD, expected_BTD, strict=True):
            probs_T, ids_T = layer.router.classifier(hidden_TD).softmax(-1).max(-1)
            admission = cap.admit(ids_T[:, None], probs_T[:, None], n_experts=4, capacity=5)
            assert 0.1 < float(cap.drop_rate(admission.kept_TK)) < 0.5
            buffers_ECD = cap.dispatch(hidden_TD, admission, 4)
            experts = [layer.experts[f"expert_{e}"] for e in range(4)]
            results = [ffn(x, e.wi.weight, e.wo.weight) for x, e in zip(buffers_ECD, experts, strict=True)]
            output_TD = cap.combine(torch.stack(results), admission, probs_T[:, None])
            torch.testing.assert_close(output_TD, expected_TD, rtol=1e-10, atol=1e-12)


def test_shapes_of_another_admission_are_refused():
    ids_T1, weights_T1 = torch.tensor([[2], [1], [0], [0]]), torch.ones(4, 1)
    admission = cap.admit(ids_T1, weights_T1, n_experts=3, capacity=2)
    with pytest.raises(ValueError, match=r"topk_ids_TK runs from 0 to 2 with 2 experts"):
        cap.dispatch(torch.ones(4, 1), admission, n_experts=2)
    with pytest.raises(ValueError, match=r"topk_ids_TK runs from 0 to 2 with 2 experts"):
        cap.combine(torch.ones(2, 2, 1), admission, weights_T1)
    with pytest.raises(ValueError, match=r"results_ECD has shape \(3, 3, 1\): give \(E, C, D\) with C=2"):
        cap.combine(torch.ones(3, 3, 1), admission, weights_T1)
    with pytest.raises(ValueError, match=r"topk_weights_TK has shape \(4,\): the admission is for \(4, 1\)"):
        cap.combine(torch.ones(3, 2, 1), admission, torch.ones(4))
    with pytest.raises(ValueError, match=r"capacity is 1.5: give a whole number"):
        cap.admit(ids_T1, weights_T1, n_experts=3, capacity=1.5)


def test_drop_rate_takes_masks_of_numbers():
    kept_TK = torch.tensor([[True], [False], [True]])
    assert cap.drop_rate(kept_TK, torch.tensor([1, 1, 0])).item() == 0.5
    assert cap.drop_rate(kept_TK.int()).item() == pytest.approx(1 / 3)
