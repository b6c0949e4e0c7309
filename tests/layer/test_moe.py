import pickle

import pytest
import torch
from torch.nn import functional as F

from moe_lessons.dispatch import PATHS, moe_loop
from moe_lessons.kernels import triton_supported
from moe_lessons.layer import BIASED_GATES, MoELayer
from moe_lessons.routing import GATES


def build(seed=0, std=0.3, **options):
    """A small layer whose weights are large enough for routing to be far from a tie."""
    arguments = {"d_model": 8, "d_expert": 12, "n_experts": 5, "top_k": 2} | options
    generator = torch.Generator().manual_seed(seed)
    layer = MoELayer(**arguments)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=std, generator=generator)
    return layer


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def relative_error(actual, expected):
    actual, expected = actual.detach().double(), expected.detach().double()
    return float((actual - expected).norm() / expected.norm())


@pytest.mark.parametrize("shape", [(8,), (1, 8), (7, 8), (2, 3, 8), (2, 0, 8), (2, 1, 3, 8)])
def test_leading_axes_are_kept(shape):
    layer = build(n_shared_experts=1)
    hidden = draw(*shape)
    output = layer(hidden)
    assert output.hidden.shape == shape
    assert output.routing.topk_ids_TK.shape == (hidden.numel() // 8, 2)
    torch.testing.assert_close(output.hidden.reshape(-1, 8), layer(hidden.reshape(-1, 8)).hidden)


@pytest.mark.parametrize("top_k", [1, 2, 5])
@pytest.mark.parametrize("gate", GATES)
def test_every_path_gives_the_loop(gate, top_k):
    hidden = draw(9, 8)
    outputs = {}
    for path in (*PATHS, "auto"):
        layer = build(gate=gate, top_k=top_k, path=path)
        outputs[path] = layer(hidden).hidden.detach()
    for path in outputs:
        assert relative_error(outputs[path], outputs["loop"]) < 1e-5, path
    assert relative_error(torch.zeros_like(outputs["loop"]), outputs["loop"]) == 1


@pytest.mark.parametrize("gate", GATES)
def test_gradients_of_the_whole_layer(gate):
    layer = build(d_model=3, d_expert=2, n_experts=3, gate=gate, n_shared_experts=1).double()
    names = [name for name, _ in layer.named_parameters()]

    def forward(hidden, *parameters):
        values = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, values, (hidden,)).hidden

    leaves = [draw(3, 3).double(), *(parameter.detach() for parameter in layer.parameters())]
    assert torch.autograd.gradcheck(forward, [leaf.requires_grad_() for leaf in leaves])


def test_shared_experts_are_added_with_weight_one():
    layer = build(n_shared_experts=2)
    hidden_TD = draw(6, 8)
    assert layer.shared_experts.down_proj.shape == (8, 24)
    routing = layer(hidden_TD).routing
    routed_TD = moe_loop(hidden_TD, *routing[1:], layer.experts.gate_up_proj, layer.experts.down_proj)
    torch.testing.assert_close(layer(hidden_TD).hidden, routed_TD + layer.shared_experts(hidden_TD))


def test_llama4_weights_scale_the_input():
    layer = build(gate="topk_sigmoid", top_k=2)
    hidden_TD = draw(6, 8)
    output_TD, routing = layer(hidden_TD)
    gate_up, down = layer.experts.gate_up_proj, layer.experts.down_proj
    ones_T1 = torch.ones(6, 1)
    expected_TD = sum(
        moe_loop(
            hidden_TD * routing.topk_weights_TK[:, k : k + 1],
            routing.topk_ids_TK[:, k : k + 1],
            ones_T1,
            gate_up,
            down,
        )
        for k in range(2)
    )
    torch.testing.assert_close(output_TD, expected_TD)
    weighted_output_TD = moe_loop(hidden_TD, *routing[1:], gate_up, down)
    assert relative_error(weighted_output_TD, expected_TD) > 0.05


@pytest.mark.parametrize("shape", [(2, 7, 16), (1, 1, 16)])
def test_mixtral_block_agrees_with_transformers(shape):
    modeling = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    from transformers import MixtralConfig

    config = MixtralConfig(hidden_size=16, intermediate_size=24, num_local_experts=8, num_experts_per_tok=2)
    block = modeling.MixtralSparseMoeBlock(config)
    layer = build(d_model=16, d_expert=24, n_experts=8)
    pairs = [
        (block.gate.weight, layer.router.weight),
        (block.experts.gate_up_proj, layer.experts.gate_up_proj),
        (block.experts.down_proj, layer.experts.down_proj),
    ]
    for theirs, ours in pairs:
        theirs.data.copy_(ours.data)
    their_hidden, our_hidden = draw(*shape).requires_grad_(), draw(*shape).requires_grad_()
    expected, output = block(their_hidden), layer(our_hidden).hidden
    upstream = draw(*shape, seed=2)
    expected.backward(upstream)
    output.backward(upstream)
    assert relative_error(output, expected) < 1e-5
    for theirs, ours in [(their_hidden, our_hidden), *pairs]:
        assert relative_error(ours.grad, theirs.grad) < 1e-5
    assert relative_error(torch.zeros_like(output), expected) == 1


def test_llama4_block_agrees_with_transformers():
    modeling = pytest.importorskip("transformers.models.llama4.modeling_llama4")
    from transformers import Llama4TextConfig

    config = Llama4TextConfig(
        hidden_size=16, intermediate_size=24, num_local_experts=4, num_experts_per_tok=1
    )
    block = modeling.Llama4TextMoe(config)
    layer = build(d_model=16, d_expert=24, n_experts=4, top_k=1, gate="topk_sigmoid", n_shared_experts=1)
    block.router.weight.data.copy_(layer.router.weight)
    block.experts.gate_up_proj.data.copy_(layer.experts.gate_up_proj.mT)
    block.experts.down_proj.data.copy_(layer.experts.down_proj.mT)
    gate, up = layer.shared_experts.gate_up_proj.chunk(2)
    block.shared_expert.gate_proj.weight.data.copy_(gate)
    block.shared_expert.up_proj.weight.data.copy_(up)
    block.shared_expert.down_proj.weight.data.copy_(layer.shared_experts.down_proj)
    hidden_TD = draw(10, 16)
    expected_TD, _ = block(hidden_TD)
    assert relative_error(layer(hidden_TD).hidden, expected_TD) < 1e-5


def test_a_bf16_layer_keeps_an_fp32_router():
    layer = build()
    exact_ED = layer.router.weight.detach().clone()
    hidden_TD = draw(64, 8)
    reference = layer(hidden_TD.bfloat16().float()).routing
    for cast in (layer.bfloat16, layer.half, lambda: layer.to("cpu", torch.bfloat16)):
        cast()
        assert layer.experts.down_proj.dtype in (torch.bfloat16, torch.float16)
        assert layer.router.weight.dtype == torch.float32
        assert torch.equal(layer.router.weight, exact_ED)  # not rounded and widened again
    output = layer(hidden_TD.bfloat16())
    assert output.hidden.dtype == torch.bfloat16
    assert output.routing.logits_TE.dtype == output.routing.topk_weights_TK.dtype == torch.float32
    assert torch.equal(output.routing.topk_ids_TK, reference.topk_ids_TK)
    torch.testing.assert_close(output.routing.logits_TE, reference.logits_TE)
    output.hidden.float().square().sum().backward()
    assert layer.router.weight.grad.dtype == torch.float32
    assert layer.double().router.weight.dtype == torch.float64
    assert layer.float().router.weight.dtype == torch.float32


@pytest.mark.parametrize("gate", BIASED_GATES)
def test_a_bias_steers_the_choice_and_nothing_else(gate):
    plain, layer = build(gate=gate), build(gate=gate, expert_bias=True)
    hidden_TD = draw(20, 8)
    assert torch.equal(layer.router.expert_bias_E, torch.zeros(5))
    torch.testing.assert_close(layer(hidden_TD).hidden, plain(hidden_TD).hidden)
    layer.router.expert_bias_E += torch.tensor([0.0, 0.0, 0.0, 0.0, 9.0])
    routing = layer(hidden_TD).routing
    assert bool((routing.topk_ids_TK[:, 0] == 4).all())
    assert not bool((plain(hidden_TD).routing.topk_ids_TK == 4).any(1).all())
    scores_TE = BIASED_GATES[gate](routing.logits_TE)
    weights_TK = scores_TE.gather(1, routing.topk_ids_TK)
    if gate != "softmax_topk":
        weights_TK = weights_TK / weights_TK.sum(1, keepdim=True)
    torch.testing.assert_close(routing.topk_weights_TK, weights_TK)
    torch.testing.assert_close(routing.logits_TE, plain(hidden_TD).routing.logits_TE)


def test_a_bias_is_a_saved_fp32_buffer():
    layer = build(gate="sigmoid", expert_bias=True)
    layer.router.expert_bias_E.fill_(1 / 3)
    exact_E = layer.router.expert_bias_E.clone()
    assert torch.equal(layer.bfloat16().router.expert_bias_E, exact_E)
    assert torch.equal(layer.state_dict()["router.expert_bias_E"], exact_E)
    copy = build(gate="sigmoid", expert_bias=True)
    copy.load_state_dict(layer.state_dict())
    assert torch.equal(copy.router.expert_bias_E, exact_E)
    layer(draw(4, 8)).hidden.sum().backward()
    assert layer.router.expert_bias_E.grad is None
    assert build().router.expert_bias_E is None


def test_autocast_leaves_the_router_alone():
    layer = build()
    hidden_TD = draw(32, 8)
    plain = layer(hidden_TD)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = layer(hidden_TD)
    assert torch.equal(cast.routing.logits_TE, plain.routing.logits_TE)
    assert cast.hidden.dtype == torch.float32
    assert 1e-5 < relative_error(cast.hidden, plain.hidden) < 2e-2


def test_the_path_taken_is_told(monkeypatch):
    layer = build()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert layer.path_for(draw(3, 8)) == "padded"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert layer.path_for() == layer.path_for(draw(3, 8)) == "grouped"
    assert layer.path_for(draw(3, 8).double()) == "fused"
    assert build(d_model=7).path_for() == "fused"
    wide = build(d_model=128, d_expert=128)
    assert wide.path_for() == wide.path_for(draw(2, 1024, 128)) == "fused"
    assert wide.path_for(draw(1, 128)) == "grouped"
    with torch.no_grad():
        assert wide.path_for(draw(1, 128)) == "slots"
    assert wide.bfloat16().path_for() == "padded"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert build(d_model=128, d_expert=128).path_for() == "padded"
    for path in ("slots", "fused", "padded"):
        assert build(path=path).path_for() == path
    if not triton_supported(draw(3, 8))[0]:
        assert build(path="triton").path_for() == "grouped"
    assert build(path="loop").path_for() == "loop"
    assert build(path="unbind").path_for() == "unbind"
    assert build(path="grouped", d_expert=3).path_for() == "unbind"
    assert "path=auto (grouped at 2048 tokens)" in repr(layer)
    assert "path=fused," in repr(build(path="fused"))
    assert "top_k=2, gate=topk_softmax" in repr(layer)
    with torch.device("meta"):
        assert "unbind" in repr(MoELayer(8, 12, 5, 2))


def test_parameter_counts():
    layer = build(n_shared_experts=1)
    total, active = layer.n_parameters()
    expert = 3 * 8 * 12
    assert total == 5 * 8 + 5 * expert + expert
    assert active == 5 * 8 + 2 * expert + expert
    assert f"parameters={total:,} ({active:,} active per token)" in repr(layer)


def test_state_dict_names_and_pickling():
    layer = build(n_shared_experts=1)
    assert {name: tuple(value.shape) for name, value in layer.state_dict().items()} == {
        "router.weight": (5, 8),
        "experts.gate_up_proj": (5, 24, 8),
        "experts.down_proj": (5, 8, 12),
        "shared_experts.gate_up_proj": (24, 8),
        "shared_experts.down_proj": (8, 12),
    }
    copy = pickle.loads(pickle.dumps(layer))
    hidden_TD = draw(4, 8)
    assert torch.equal(copy(hidden_TD).hidden, layer(hidden_TD).hidden)


def test_the_same_generator_gives_the_same_layer():
    layers = [MoELayer(8, 12, 5, 2, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    for one, other in zip(*(layer.parameters() for layer in layers), strict=True):
        assert torch.equal(one, other)


def test_training_runs_are_bitwise_equal():
    def train():
        layer = MoELayer(8, 12, 5, 2, generator=torch.Generator().manual_seed(3))
        optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2)
        for step in range(3):
            loss = F.mse_loss(layer(draw(16, 8, seed=step)).hidden, draw(16, 8, seed=100 + step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return [parameter.detach() for parameter in layer.parameters()]

    assert all(torch.equal(one, other) for one, other in zip(train(), train(), strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 6}, "top_k is 6 with 5 experts: choose 1 to 5"),
        ({"top_k": 0}, "top_k is 0: give at least 1"),
        ({"n_experts": 0}, "n_experts is 0: give at least 1"),
        ({"d_model": 0}, "d_model is 0: give at least 1"),
        ({"d_expert": -3}, "d_expert is -3: give at least 1"),
        ({"n_shared_experts": -1}, "n_shared_experts is -1: give 0 or more"),
        ({"gate": "softmax"}, "gate is 'softmax': choose one of topk_softmax, softmax_topk"),
        ({"expert_bias": True}, "gate is 'topk_softmax': with an expert bias choose one of sigmoid, sqrt_"),
        ({"path": "fast"}, "path is 'fast': choose one of auto, triton, loop, slots, counted"),
    ],
)
def test_bad_arguments_get_one_clear_line(options, message):
    arguments = {"d_model": 8, "d_expert": 12, "n_experts": 5, "top_k": 2} | options
    with pytest.raises(ValueError, match=message) as error:
        MoELayer(**arguments)
    assert "\n" not in str(error.value)


def test_a_wrong_width_or_nan_is_named():
    layer = build()
    with pytest.raises(ValueError, match=r"hidden has width 9: give \(..., 8\), the layer's d_model"):
        layer(draw(2, 9))
    with pytest.raises(ValueError, match="logits_TE holds NaN"):
        layer(torch.full((2, 8), float("nan")))


@pytest.mark.parametrize("gate", ["topk_softmax", "softmax_topk", "sigmoid", "topk_sigmoid"])
def test_one_expert_is_a_dense_layer(gate):
    found = []
    for path in ("auto", "loop"):
        layer = MoELayer(
            8, 12, 1, 1, gate=gate, path=path, generator=torch.Generator().manual_seed(0)
        ).double()
        hidden_BLD = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        output_BLD = layer(hidden_BLD.requires_grad_()).hidden
        leaves = [hidden_BLD, layer.experts.gate_up_proj, layer.experts.down_proj, layer.router.weight]
        found.append([output_BLD, *torch.autograd.grad(output_BLD.square().sum(), leaves)])
    assert layer.path_for() == "loop"
    assert MoELayer(8, 12, 1, 1).path_for() == "dense"
    for mine, exact in zip(*found, strict=True):
        torch.testing.assert_close(mine, exact)
