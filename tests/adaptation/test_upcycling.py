"""Upcycling: at first nothing changes, whatever the sizes; and what would change something is noticed."""

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.adaptation import fold_scale, logit_gap, upcycle, upcycled_bank, with_weights
from moe_lessons.experts import swiglu
from moe_lessons.layer import MoELayer
from moe_lessons.model import ModelConfig, MoETransformer, parameter_counts

DENSE = ModelConfig(
    vocab_size=40, n_layers=2, d_model=16, n_heads=2, d_expert=12, n_experts=1, top_k=1, context_length=16
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def build(config=DENSE, seed=0):
    """A model whose positions, norms and choices matter, unlike those of a fresh one."""
    model = MoETransformer(config, generator=seeded(seed)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.rand(parameter.shape, generator=seeded(seed + 1))
            parameter.mul_(3) if parameter.ndim > 1 else parameter.mul_(0.5 + noise)
    return model


def tokens(config=DENSE, n_rows=3):
    return torch.randint(config.vocab_size, (n_rows, config.context_length), generator=seeded(9))


@pytest.fixture(scope="module")
def dense():
    return build()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_bank_computes_what_the_network_did(data):
    granularity = data.draw(st.integers(1, 4))
    d_model, d_hidden = data.draw(st.integers(1, 6)), granularity * data.draw(st.integers(1, 4))
    copies = data.draw(st.integers(1, 4))
    chosen = data.draw(st.integers(1, copies))
    generator = seeded(data.draw(st.integers(0, 10**6)))
    gate_up = torch.randn(2 * d_hidden, d_model, generator=generator)
    down = torch.randn(d_model, d_hidden, generator=generator)
    bank = upcycled_bank(gate_up, down, copies * granularity, granularity=granularity, generator=generator)
    layer = MoELayer(
        d_model, d_hidden // granularity, copies * granularity, chosen * granularity, routed_scale=bank.factor
    )
    layer.load_state_dict(
        {
            "router.weight": bank.router_ED * 50,  # far apart: a tie would be left to rounding
            "experts.gate_up_proj": bank.gate_up_proj,
            "experts.down_proj": bank.down_proj,
        }
    )
    hidden = torch.randn(7, d_model, generator=generator)
    torch.testing.assert_close(layer(hidden).hidden, swiglu(hidden, gate_up, down), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "how",
    [
        {"n_experts": 8},
        {"n_experts": 3, "top_k": 1},
        {"n_experts": 5, "top_k": 5},
        {"n_experts": 4, "router": "zero"},
        {"n_experts": 8, "granularity": 2},
        {"n_experts": 9, "granularity": 3, "top_k": 6},
        {"n_experts": 8, "gate": "softmax_topk_renorm"},
        {"n_experts": 8, "gate": "sigmoid"},
    ],
)
def test_logits_are_those_of_the_dense_model(dense, how):
    sparse = upcycle(dense, **how, generator=seeded())
    assert logit_gap(dense, sparse, tokens()) < 2e-5
    assert sparse.config.n_experts == how["n_experts"]
    assert parameter_counts(sparse)[0] > parameter_counts(dense)[0]


@pytest.mark.parametrize(
    "how",
    [
        {"n_experts": 8, "gate": "softmax_topk"},  # eight weights sum to 1, two do not
        {"n_experts": 8, "granularity": 2, "router": "free", "router_std": 1.0},  # slices from several copies
        {"n_experts": 8, "noise": 0.1},
    ],
)
def test_what_is_not_exact_is_far_off(dense, how):
    assert logit_gap(dense, upcycle(dense, **how, generator=seeded()), tokens()) > 0.05


def test_without_the_factor_slices_are_too_quiet(dense):
    sparse = upcycle(dense, 8, granularity=2, generator=seeded())
    quiet = with_weights(replace(sparse.config, routed_scale=1.0), sparse.state_dict())
    assert logit_gap(dense, quiet, tokens()) > 0.05
    assert logit_gap(dense, fold_scale(sparse), tokens()) < 2e-5
    assert fold_scale(sparse).config.routed_scale == 1


def test_no_gradient_reaches_the_router_of_equal_experts(dense):
    inputs_BL = tokens()

    def router_gradient(**how):
        sparse = upcycle(dense, 8, generator=seeded(), **how)
        sparse(inputs_BL[:, :-1], inputs_BL[:, 1:]).loss.backward()
        return max(layer.router.weight.grad.abs().max().item() for layer in sparse.moe_layers)

    assert router_gradient() < 1e-6
    assert router_gradient(noise=0.1) > 1e-4
    assert router_gradient(gate="softmax_topk") > 1e-3


def test_experts_part_because_they_see_different_tokens(dense):
    sparse = upcycle(dense, 8, generator=seeded())
    inputs_BL = tokens()
    sparse(inputs_BL[:, :-1], inputs_BL[:, 1:]).loss.backward()
    gradient_EX = sparse.moe_layers[0].experts.down_proj.grad.flatten(1)
    assert (gradient_EX[0] - gradient_EX[1]).abs().max() > 1e-3


def test_layers_that_are_dense_stay_so():
    config = replace(DENSE, n_layers=3, n_dense_layers=1, n_shared_experts=1)
    model = build(config)
    sparse = upcycle(model, 6, top_k=4, granularity=2, generator=seeded())
    assert logit_gap(model, sparse, tokens()) < 2e-5
    assert sparse.config.n_moe_layers == 2


def test_tied_embeddings_stay_tied():
    model = build(replace(DENSE, tie_embeddings=True))
    sparse = upcycle(model, 4, generator=seeded())
    assert sparse.head.weight is sparse.embedding.weight
    assert logit_gap(model, sparse, tokens()) < 2e-5


def test_the_dense_model_is_left_alone(dense):
    before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    sparse = upcycle(dense, 4, generator=seeded())
    with torch.no_grad():
        for parameter in sparse.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())


def test_no_random_number_of_others_is_used(dense):
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    upcycle(dense, 4, generator=seeded())
    assert torch.equal(torch.rand(2), wanted)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"n_experts": 0}, "n_experts is 0: choose a multiple of granularity=1, such as 1"),
        ({"n_experts": 7, "granularity": 2}, "n_experts is 7: choose a multiple of granularity=2, such as 8"),
        ({"n_experts": 8, "top_k": 3, "granularity": 2}, "top_k is 3: choose a multiple of granularity=2"),
        ({"n_experts": 8, "top_k": 9}, "top_k is 9: choose 1 to n_experts=8"),
        (
            {"n_experts": 10, "granularity": 5, "top_k": 5},
            "granularity is 5: choose a divisor of d_expert=12",
        ),
        ({"n_experts": 8, "router": "same"}, "router is 'same': choose one of random, zero, free"),
        ({"n_experts": 8, "granularity": 2, "router": "zero"}, "left to ties"),
        ({"n_experts": 8, "noise": -1.0}, "noise is -1.0: choose 0 or more"),
    ],
)
def test_what_makes_no_bank_is_refused(dense, how, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        upcycle(dense, **how)


@pytest.mark.parametrize("change", [{"n_experts": 4, "top_k": 2}, {"gate": "topk_sigmoid"}])
def test_a_model_that_is_not_dense_is_refused(change):
    with pytest.raises(ValueError, match="give a model with n_experts=1"):
        upcycle(build(replace(DENSE, **change)), 8)
