"""Layers of other parts than SwiGLU behind a named gate, and what every layer promises."""

import pickle

import pytest
import torch
from torch.nn import functional as F

from moe_lessons.balancing import load_balancing_loss, z_loss
from moe_lessons.dispatch import PATHS, moe_generic
from moe_lessons.experts import clamped_swiglu, gated, offset_swiglu, ungated
from moe_lessons.layer import LayerSpec, MoELayer
from moe_lessons.routing import (
    GATES,
    Gate,
    group_limited_topk,
    random_table,
    sigmoid_topk,
    softmax_topk,
    topk_softmax,
    weighted_hash_topk,
)

D = 8
SIGMOID = Gate("sigmoid", renormalize=True, scale=2.5)
SPECS = {
    "geglu": LayerSpec(D, 6, 5, 2, kind=gated("gelu_tanh")),
    "relu2, latent": LayerSpec(D, 6, 5, 2, SIGMOID, kind=ungated("relu2"), d_latent=4, latent_bias=True),
    "swiglu, latent": LayerSpec(D, 6, 5, 2, SIGMOID, d_latent=4, input_norm=1e-6),
    "biases": LayerSpec(D, 6, 5, 2, router_bias=True, kind=offset_swiglu(bias=True)),
    "null": LayerSpec(D, 6, 5, 3, Gate(scale=6.0), expert_bias=True, n_null_experts=3),
    "shared": LayerSpec(D, 6, 5, 2, d_shared=7, shared_gate=True, shared_scale=0.5),
    "clamped shared": LayerSpec(D, 6, 5, 2, d_shared=7, kind=clamped_swiglu(0.5)),
    "norms": LayerSpec(D, 6, 5, 2, router_norm=1e-6, expert_scale=True, input_norm=1e-6, output_norm=1e-6),
    "end": LayerSpec(D, 6, 5, 2, final_norm=1e-6, final_bias=True),
    "always": LayerSpec(D, 6, 5, 2, Gate("sigmoid", renormalize=True, n_always=2), global_scale=True),
    "input": LayerSpec(D, 6, 5, 2, Gate("sigmoid", on_input=True), kind=gated("gelu")),
    "own gate": LayerSpec(D, 6, 5, 2, topk_softmax),
}


def build(spec, seed=0, **options):
    layer = MoELayer.of(spec, **options)
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return layer


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_token(layer, hidden_TD):
    """The layer's output from its definition: one token and one expert after the other."""
    spec, rows = layer.spec, []
    routing = layer(hidden_TD).routing
    for hidden_D, ids_K, weights_K in zip(hidden_TD, *routing[1:], strict=True):
        row_X = hidden_D if layer.around is None else layer.around.before(hidden_D)
        total = torch.zeros_like(row_X)
        for expert, weight in zip(ids_K.tolist(), weights_K, strict=True):
            scaled = row_X * weight if spec.on_input else row_X
            if expert >= spec.n_experts:
                result = scaled
            else:
                bank = layer.experts
                biases = [getattr(bank, f"{name}_bias", None) for name in ("gate_up", "down")]
                biases = [None if bias is None else bias[expert] for bias in biases]
                hidden = F.linear(scaled, bank.gate_up_proj[expert], biases[0])
                result = F.linear(spec.kind.activation(hidden), bank.down_proj[expert], biases[1])
            total = total + (result if spec.on_input else weight * result)
        out_D = total if layer.around is None else layer.around.after(total)
        if layer.shared_experts is not None:
            shared = layer.shared_experts(hidden_D.unsqueeze(0))[0]
            if layer.shared_gate is not None:
                shared = shared * layer.shared_gate(hidden_D).sigmoid()
            out_D = out_D + spec.shared_scale * shared
        rows.append(out_D if layer.around is None else layer.around.finish(out_D))
    return torch.stack(rows)


@pytest.mark.parametrize("name", SPECS)
def test_a_layer_is_what_its_parts_say(name):
    layer, hidden = build(SPECS[name]), draw(3, 4, D)
    torch.testing.assert_close(layer(hidden).hidden.flatten(0, 1), by_token(layer, hidden.flatten(0, 1)))
    assert torch.equal(pickle.loads(pickle.dumps(layer))(hidden).hidden, layer(hidden).hidden)


@pytest.mark.parametrize("name", SPECS)
def test_gradients_of_every_part(name):
    layer = build(SPECS[name]).double()
    names = [name for name, _ in layer.named_parameters()]

    def forward(hidden, *parameters):
        values = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, values, (hidden,)).hidden

    leaves = [draw(2, D).double(), *(parameter.detach() for parameter in layer.parameters())]
    assert torch.autograd.gradcheck(forward, [leaf.requires_grad_() for leaf in leaves], fast_mode=True)


@pytest.mark.parametrize("name", SPECS)
def test_narrow_types_keep_the_router(name):
    layer, hidden = build(SPECS[name]), draw(6, D)
    reference = layer(hidden)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(hidden)
    layer.bfloat16()
    assert all(p.dtype is torch.float32 for p in layer.router.parameters())
    narrow = layer(hidden.bfloat16())
    assert narrow.hidden.dtype is torch.bfloat16
    for output in (mixed, narrow):
        error = (output.hidden.float() - reference.hidden).norm() / reference.hidden.norm()
        assert 0 < error < 0.1
    narrow.hidden.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("name", SPECS)
def test_other_kinds_run_on_the_generic_path(name):
    layer = build(SPECS[name])
    swiglu = SPECS[name].kind.is_swiglu and not SPECS[name].n_null_experts
    assert (layer.path_for() == "generic") == (not swiglu)
    if not swiglu:
        with pytest.raises(ValueError, match=r"path is 'fused': experts of kind .* run on 'generic'"):
            MoELayer.of(SPECS[name], path="fused")
    assert SPECS[name].describe().split("; ")[0].split(",")[0] in repr(layer)


def test_null_experts_may_give_zero():
    hidden_TD, weights_TK = draw(4, D), torch.ones(4, 1)
    ids_TK = torch.tensor([[0], [1], [2], [2]])
    options = {"n_null_experts": 2, "null": "zero"}
    output_TD = moe_generic(hidden_TD, ids_TK, weights_TK, lambda groups: [2 * groups[0]], 1, **options)
    assert torch.equal(output_TD[0], 2 * hidden_TD[0])
    assert not output_TD[1:].any()


# A gate from its parts is the named gate.


@pytest.mark.parametrize("top_k", [1, 3, 6])
@pytest.mark.parametrize("biased", [False, True])
def test_gates_of_parts_are_the_named_gates(top_k, biased):
    logits_TE = draw(40, 6)
    bias = {"expert_bias_E": draw(6, seed=2)} if biased else {}
    pairs = [
        (
            Gate("sigmoid", renormalize=True, scale=2.5),
            lambda: sigmoid_topk(logits_TE, top_k, scale=2.5, **bias),
        ),
        (Gate("sigmoid"), lambda: sigmoid_topk(logits_TE, top_k, renormalize=False, **bias)),
        (Gate("softmax"), lambda: softmax_topk(logits_TE, top_k, renormalize=False, **bias)),
        (Gate("sqrt_softplus", renormalize=True), lambda: GATES["sqrt_softplus"](logits_TE, top_k, **bias)),
    ]
    for gate, named in pairs:
        ours, theirs = gate(logits_TE, top_k, **bias), named()
        assert torch.equal(ours.topk_ids_TK, theirs.topk_ids_TK)
        torch.testing.assert_close(ours.topk_weights_TK, theirs.topk_weights_TK)
    if not biased:
        ours, theirs = Gate(renormalize=True)(logits_TE, top_k), topk_softmax(logits_TE, top_k)
        assert torch.equal(ours.topk_weights_TK, theirs.topk_weights_TK)


def test_groups_of_parts_are_the_named_groups():
    logits_TE, bias_E = draw(40, 6), draw(6, seed=2)
    gate = Gate("sigmoid", renormalize=True, eps=1e-20, n_groups=3, topk_groups=2)
    ours = gate(logits_TE, 3, expert_bias_E=bias_E)
    theirs = group_limited_topk(logits_TE, 3, n_groups=3, topk_groups=2, expert_bias_E=bias_E)
    assert torch.equal(ours.topk_ids_TK, theirs.topk_ids_TK)
    torch.testing.assert_close(ours.topk_weights_TK, theirs.topk_weights_TK)


def test_extreme_logits_stay_finite():
    logits_TE = torch.tensor([[-500.0, -400.0, -300.0], [500.0, 400.0, 300.0]]).requires_grad_()
    for score in ("softmax", "sigmoid", "sqrt_softplus"):
        routing = Gate(score, renormalize=True)(logits_TE, 2)
        routing.topk_weights_TK[:, 0].sum().backward()
        assert routing.topk_weights_TK.isfinite().all()
        assert logits_TE.grad.isfinite().all()
    saturated = Gate("sigmoid")(torch.tensor([[90.0, 100.0, 95.0]]), 2)
    assert saturated.topk_ids_TK.tolist() == [[1, 2]]  # all three sigmoids are 1 in fp32


# Padding.


@pytest.mark.parametrize("name", SPECS)
def test_padding_is_routed_nowhere(name):
    layer, hidden = build(SPECS[name]), draw(3, 4, D)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]]).bool()
    dirty = hidden.masked_fill(~mask.unsqueeze(-1), float("nan")).requires_grad_()
    output, alone = layer(dirty, mask), layer(hidden[mask])
    torch.testing.assert_close(output.hidden[mask], alone.hidden)
    assert not output.hidden[~mask].any()
    real_T = mask.flatten()
    assert (output.routing.topk_ids_TK[~real_T] == -1).all()
    assert not output.routing.topk_weights_TK[~real_T].any()
    assert torch.equal(output.routing.topk_ids_TK[real_T], alone.routing.topk_ids_TK)
    output.hidden.square().sum().backward()
    assert dirty.grad[mask].isfinite().all()
    assert not dirty.grad[~mask].any()
    torch.testing.assert_close(layer.aux_loss(output), layer.aux_loss(alone))
    torch.testing.assert_close(layer.z_loss(output), layer.z_loss(alone))


@pytest.mark.parametrize("path", [*PATHS, "auto"])
def test_padding_on_every_path(path):
    layer = MoELayer(D, 6, 5, 2, path=path)
    hidden, mask = draw(2, 3, D), torch.tensor([[True, True, False], [False, False, False]])
    torch.testing.assert_close(layer(hidden, mask).hidden[mask], layer(hidden[mask]).hidden)
    nothing = layer(hidden, torch.zeros_like(mask))
    assert not nothing.hidden.any()
    nothing.hidden.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


def test_a_mask_that_does_not_fit_is_named():
    layer, hidden = MoELayer(D, 6, 5, 2), draw(2, 3, D)
    with pytest.raises(ValueError, match=r"mask has shape \(6,\): give one entry per token, \(2, 3\)"):
        layer(hidden, torch.ones(6, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"mask is torch.int64: give booleans, True for real tokens"):
        layer(hidden, torch.ones(2, 3, dtype=torch.int64))


# No token: gradients are zero, not missing.


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("path", [*PATHS, "auto"])
def test_no_token_gives_zero_gradients_on_every_path(path, gate):
    layer = MoELayer(D, 6, 5, 2, path=path, gate=gate, n_shared_experts=1)
    output = layer(torch.zeros(0, D))  # needs no gradient itself
    output.hidden.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


# K = 1.


@pytest.mark.parametrize("gate", ["topk_softmax", "softmax_topk_renorm", "sigmoid", Gate(renormalize=True)])
def test_a_layer_whose_router_learns_nothing_says_so(gate):
    with pytest.warns(
        UserWarning, match="top_k=1 with gate=.* every weight is 1, so the router gets no grad"
    ):
        layer = MoELayer(D, 6, 5, 1, gate=gate)
    layer(draw(20, D)).hidden.square().sum().backward()
    assert layer.router.weight.grad.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("gate", "top_k", "n_experts"),
    [("softmax_topk", 1, 5), ("topk_sigmoid", 1, 5), ("topk_softmax", 2, 5), ("topk_softmax", 1, 1)],
)
def test_others_say_nothing(gate, top_k, n_experts, recwarn):
    layer = MoELayer(D, 6, n_experts, top_k, gate=gate)
    assert not len(recwarn)
    torch.nn.init.normal_(layer.router.weight)
    torch.nn.init.normal_(layer.experts.gate_up_proj)
    layer(draw(20, D)).hidden.square().sum().backward()
    assert n_experts == 1 or layer.router.weight.grad.abs().max() > 1e-6


# New weights, later.


@pytest.mark.parametrize("name", SPECS)
def test_a_layer_made_on_the_meta_device_gets_the_same_weights(name):
    def seeded():
        return torch.Generator().manual_seed(3)

    expected = MoELayer.of(SPECS[name], generator=seeded()).state_dict()
    with torch.device("meta"):
        layer = MoELayer.of(SPECS[name])
    layer.to_empty(device="cpu")
    for value in layer.state_dict().values():
        value.fill_(float("nan"))
    layer.reset_parameters(seeded())
    assert layer.state_dict().keys() == expected.keys()
    for key, value in layer.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_losses_without_knowing_what_a_routing_is():
    layer, hidden = build(LayerSpec(D, 6, 5, 2, SIGMOID)), draw(30, D)
    output = layer(hidden)
    logits_TE, ids_TK, _ = output.routing
    torch.testing.assert_close(
        layer.aux_loss(output), load_balancing_loss(logits_TE, ids_TK, scores="sigmoid")
    )
    torch.testing.assert_close(layer.z_loss(output), z_loss(logits_TE))
    scoped = layer.aux_loss(output, scope="sequence", n_sequences=3)
    assert not torch.equal(scoped, layer.aux_loss(output))


def test_a_gate_may_ask_for_more_than_logits():
    """As the hash routing of DeepSeek-V4's first layers does; padding has no token id to look up."""
    table_VK = random_table(50, 5, 2, generator=torch.Generator().manual_seed(0))

    def by_token_id(logits_TE, top_k, *, token_ids_T):
        return weighted_hash_topk(logits_TE, token_ids_T, table_VK)

    layer = build(LayerSpec(D, 6, 5, 2, by_token_id))
    token_ids_T = torch.tensor([7, -1, 3])
    mask_T = torch.tensor([True, False, True])
    routing = layer(draw(3, D), mask_T, token_ids_T=token_ids_T).routing
    assert torch.equal(routing.topk_ids_TK[mask_T], table_VK[token_ids_T[mask_T]])


def test_counts_know_null_and_always_chosen_experts():
    expert = 3 * D * 6
    total, active = build(SPECS["always"]).n_parameters()
    assert total - active == (5 - 2 - 2) * expert
    total, active = build(SPECS["null"]).n_parameters()
    assert total - active == (5 - 3) * expert


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"null": "copy"}, "null is 'copy': choose one of identity, zero"),
        ({"n_null_experts": -1}, "n_null_experts is -1: give 0 or more"),
        ({"top_k": 5, "gate": Gate("sigmoid", n_always=2)}, "top_k is 5 with 3 experts: choose 1 to 3"),
    ],
)
def test_bad_parts_get_one_clear_line(changes, message):
    with pytest.raises(ValueError, match=message):
        LayerSpec(**{"d_model": D, "d_expert": 6, "n_experts": 5, "top_k": 2, **changes})
    with pytest.raises(ValueError, match="score is 'tanh': choose one of softmax, sigmoid"):
        Gate("tanh")
    with pytest.raises(ValueError, match="bias_on is 'weights': choose one of scores, logits"):
        Gate(bias_on="weights")


@pytest.mark.parametrize("name", GATES)
@pytest.mark.filterwarnings("ignore:K = 1")
def test_a_scale_multiplies_the_weights_of_any_gate(name):
    plain, scaled = (MoELayer(D, 6, 5, 2, gate=name, routed_scale=scale) for scale in (1.0, 2.5))
    scaled.load_state_dict(plain.state_dict())
    before, after = plain(draw(9, D)), scaled(draw(9, D))
    torch.testing.assert_close(after.routing.topk_weights_TK, 2.5 * before.routing.topk_weights_TK)
    assert torch.equal(after.routing.topk_ids_TK, before.routing.topk_ids_TK)
    if name != "topk_sigmoid":  # its weight scales an expert's input
        torch.testing.assert_close(after.hidden, 2.5 * before.hidden)


def test_a_scale_that_is_no_factor_is_refused():
    for scale in (0.0, -1.0, float("inf")):
        with pytest.raises(ValueError, match=r"routed_scale is .*: choose a positive number"):
            LayerSpec(D, 6, 5, 2, routed_scale=scale)
