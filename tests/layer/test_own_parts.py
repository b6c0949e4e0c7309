"""A gate and a path of one's own: the same outputs and gradients as the built-in ones, and clear errors."""

import functools

import pytest
import torch
from torch.nn import functional as F

from moe_lessons.experts import ungated
from moe_lessons.layer import LayerSpec, MoELayer
from moe_lessons.routing import Routing, softmax_topk

SIZES = {"d_model": 8, "d_expert": 12, "n_experts": 5, "top_k": 2}


def own_gate(logits_TE, top_k):
    """What exercise 01.topk_gates asks for: ids, then weights."""
    weights_TK, ids_TK = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    return ids_TK, weights_TK / weights_TK.sum(dim=-1, keepdim=True)


def own_path(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    """What exercise 02.moe_loop asks for, all experts on all tokens."""
    gate_ETF, up_ETF = (hidden_TD @ gate_up_E2FD.mT).chunk(2, dim=-1)
    results_ETD = (F.silu(gate_ETF) * up_ETF) @ down_EDF.mT
    weights_TE = torch.zeros(len(hidden_TD), len(down_EDF), dtype=topk_weights_TK.dtype)
    return torch.einsum("te,etd->td", weights_TE.scatter(1, topk_ids_TK, topk_weights_TK), results_ETD)


def build(**options):
    return MoELayer(**SIZES, generator=torch.Generator().manual_seed(0), **options)


def outputs_and_gradients(layer, mask=None):
    hidden = torch.randn(3, 7, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    output = layer(hidden, mask)
    (output.hidden.square().sum() + layer.aux_loss(output)).backward()
    return output, [hidden.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "options",
    [{"gate": own_gate}, {"path": own_path}, {"gate": own_gate, "path": own_path, "n_shared_experts": 1}],
    ids=" and ".join,
)
def test_the_same_as_the_built_in_parts(options, masked):
    mask = torch.arange(21).view(3, 7) % 3 > 0 if masked else None
    ours, our_gradients = outputs_and_gradients(build(**options), mask)
    built_in = {"n_shared_experts": options.get("n_shared_experts", 0)}
    theirs, their_gradients = outputs_and_gradients(build(path="loop", **built_in), mask)
    torch.testing.assert_close(ours.hidden, theirs.hidden)
    torch.testing.assert_close(ours.routing, theirs.routing)
    for mine, expected in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)
    assert theirs.hidden.abs().max() > 0
    assert all(gradient.abs().max() > 0 for gradient in their_gradients)


def test_a_path_of_ones_own_with_weights_on_the_inputs():
    hidden = torch.randn(6, 8)
    ours, theirs = (build(gate="topk_sigmoid", path=path)(hidden).hidden for path in (own_path, "loop"))
    torch.testing.assert_close(ours, theirs)


def test_a_gate_that_takes_the_bias():
    def gate(logits_TE, top_k, expert_bias_E):
        ids_TK = (logits_TE.sigmoid() + expert_bias_E).topk(top_k).indices
        weights_TK = logits_TE.sigmoid().gather(1, ids_TK)
        return ids_TK, weights_TK / weights_TK.sum(-1, keepdim=True)

    hidden = torch.randn(6, 8)
    outputs = []
    for one in (gate, "sigmoid"):
        layer = build(gate=one, expert_bias=True)
        layer.router.expert_bias_E[3] = 5.0
        outputs.append(layer(hidden))
    torch.testing.assert_close(outputs[0], outputs[1])
    assert (outputs[0].routing.topk_ids_TK == 3).any(dim=1).all()


def test_a_gate_may_return_a_routing():
    hidden = torch.randn(6, 8)
    gate = functools.partial(softmax_topk, renormalize=True)
    torch.testing.assert_close(build(gate=gate)(hidden), build(gate="softmax_topk_renorm")(hidden))


def test_no_token_at_all():
    assert build(gate=own_gate, path=own_path)(torch.zeros(0, 8)).hidden.shape == (0, 8)


def test_the_layer_names_its_parts():
    layer = build(gate=own_gate, path=own_path)
    assert "gate=own_gate, path=own_path" in repr(layer)
    assert layer.path_for() == "own_path"
    assert layer.spec.describe().startswith("own_gate; ")


def test_a_narrow_layer_stays_narrow():
    layer = build(gate=own_gate, path=lambda x, ids, w, up, down: x.double()).bfloat16()
    output = layer(torch.randn(4, 8, dtype=torch.bfloat16))
    assert (output.hidden.dtype, output.routing.topk_weights_TK.dtype) == (torch.bfloat16, torch.float32)


IDS, WEIGHTS = torch.zeros(4, 2, dtype=torch.int64), torch.ones(4, 2)
WRONG_GATES = {
    "weights first": (
        (WEIGHTS, IDS),
        "returned ids of torch.float32: give whole numbers, ids before weights",
    ),
    "one tensor": (IDS, "returned Tensor: give ids and weights, two tensors, or a Routing"),
    "nothing": (None, "returned NoneType: give ids and weights"),
    "three": ((IDS, WEIGHTS, WEIGHTS), r"returned 3 values \(Tensor, Tensor, Tensor\): give ids and weights"),
    "a list in it": ((IDS.tolist(), WEIGHTS), r"returned 2 values \(list, Tensor\): give ids and weights"),
    "transposed": ((IDS.T, WEIGHTS.T), r"returned ids of shape \(2, 4\): give \(4, 2\), a row per token"),
    "all experts": ((IDS, torch.ones(4, 5)), r"returned weights of shape \(4, 5\): give \(4, 2\)"),
    "one choice": ((IDS[:, 0], WEIGHTS[:, 0]), r"returned ids of shape \(4,\): give \(4, 2\)"),
    "a routing": (
        Routing(WEIGHTS, IDS[:, :1], WEIGHTS[:, :1]),
        r"returned ids of shape \(4, 1\): give \(4, 2\)",
    ),
}


@pytest.mark.parametrize("name", WRONG_GATES)
def test_what_a_gate_returns_is_looked_at(name):
    returned, message = WRONG_GATES[name]

    def my_gate(logits_TE, top_k):
        return returned

    with pytest.raises(ValueError, match=f"gate my_gate {message}") as error:
        build(gate=my_gate)(torch.zeros(4, 8))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (torch.zeros(8, 4), r"returned shape \(8, 4\): give one tensor of shape \(4, 8\)"),
        ((torch.zeros(4, 8), IDS), r"returned tuple: give one tensor of shape \(4, 8\)"),
        (None, "returned NoneType: give one tensor"),
    ],
)
def test_what_a_path_returns_is_looked_at(returned, message):
    def my_path(*args):
        return returned

    with pytest.raises(ValueError, match=f"path my_path {message}"):
        build(path=my_path)(torch.zeros(4, 8))


def test_a_function_without_a_name_is_called_yours():
    with pytest.raises(ValueError, match="gate your function returned"):
        build(gate=lambda logits_TE, top_k: None)(torch.zeros(4, 8))


def test_other_experts_take_no_path_of_ones_own():
    with pytest.raises(ValueError, match="path is 'own_path': experts of kind"):
        MoELayer.of(LayerSpec(8, 12, 5, 2, kind=ungated("relu2")), path=own_path)
