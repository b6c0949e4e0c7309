"""A cut layer computes what the whole one did; latent and shared layers hold what the counter counts."""

import json
from pathlib import Path

import pytest
import torch

from moe_lessons.accounting import from_config
from moe_lessons.accounting.flops import layer_multiply_adds
from moe_lessons.accounting.granularity import cut_costs, latent_costs
from moe_lessons.accounting.parameters import layer_parameters
from moe_lessons.accounting.shapes import MoE
from moe_lessons.experts import gated, ungated
from moe_lessons.layer import LayerSpec, MoELayer, cut_layer
from moe_lessons.routing import GATES, Gate

GATES_TO_CUT = [
    *GATES,
    Gate("sigmoid"),
    Gate("sigmoid", renormalize=True, scale=2.5),
    Gate(),
    Gate(on_input=True),
]


def build(seed=0, **options):
    spec = {"d_model": 12, "d_expert": 8, "n_experts": 5, "top_k": 2} | options
    layer = MoELayer.of(LayerSpec(**spec)).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    return layer


def tokens(n=40, d_model=12):
    return torch.randn(n, d_model, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.mark.parametrize("gate", GATES_TO_CUT, ids=lambda g: g if isinstance(g, str) else g.describe())
@pytest.mark.parametrize("granularity", [1, 2, 8])
@pytest.mark.filterwarnings("ignore:K = 1")
def test_a_cut_layer_is_the_same_function(gate, granularity):
    for top_k in (1, 3):
        layer = build(gate=gate, top_k=top_k)
        fine = cut_layer(layer, granularity)
        torch.testing.assert_close(fine(tokens()).hidden, layer(tokens()).hidden, rtol=1e-5, atol=1e-5)
        assert fine.spec.n_experts == 5 * granularity


def test_without_the_factor_it_is_another_function():
    layer = build()
    fine = cut_layer(layer, 4)
    fine.spec = LayerSpec(12, 2, 20, 8)
    gap = (fine(tokens()).hidden - layer(tokens()).hidden).abs().max()
    assert gap > 0.5 * layer(tokens()).hidden.abs().max()


def test_shared_and_latent_parts_stay():
    layer = build(d_shared=6, d_latent=7, kind=gated("silu"))
    fine = cut_layer(layer, 2)
    torch.testing.assert_close(fine(tokens()).hidden, layer(tokens()).hidden, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"kind": ungated("relu2")}, {"gate": Gate("sigmoid", n_groups=5, topk_groups=2)}, {"router_bias": True}],
)
def test_what_is_not_cut_is_refused(options):
    with pytest.raises(ValueError, match="give one of SwiGLU experts without biases"):
        cut_layer(build(**options), 2)


@pytest.mark.parametrize("granularity", [1, 2, 4])
def test_cut_costs_are_the_layers(granularity):
    layer = MoELayer(12, 8, 5, 2)
    total, active = cut_layer(layer, granularity).n_parameters()
    costs = cut_costs(12, 8, 5, 2, granularity)
    assert (costs.total, costs.active) == (total, active)


# Latent layers: the layer that is built, the counter, and the closed form agree.

TRUTH = Path(__file__).parents[1] / "accounting" / "parameter_truth_2026.json"
NEMOTRON_SUPER = {  # as in the configuration of NVIDIA-Nemotron-3-Super-120B-A12B; one block of each kind
    "model_type": "nemotron_h",
    "hidden_size": 4096,
    "vocab_size": 131072,
    "hybrid_override_pattern": "ME*E",
    "num_hidden_layers": 4,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "mamba_num_heads": 128,
    "mamba_head_dim": 64,
    "ssm_state_size": 128,
    "conv_kernel": 4,
    "n_groups": 8,
    "n_routed_experts": 512,
    "num_experts_per_tok": 22,
    "moe_intermediate_size": 2688,
    "moe_latent_size": 1024,
    "moe_shared_expert_intermediate_size": 5376,
    "n_shared_experts": 1,
    "intermediate_size": 5376,
    "mlp_hidden_act": "relu2",
}
SIGMOID = Gate("sigmoid", renormalize=True)
LAYERS = {
    "Nemotron-3 Super": LayerSpec(
        4096, 2688, 512, 22, SIGMOID, True, kind=ungated("relu2"), d_shared=5376, d_latent=1024
    ),
    "Kimi-K3": LayerSpec(7168, 3072, 896, 16, SIGMOID, True, d_shared=6144, d_latent=3584, output_norm=1e-5),
}


def counted(name):
    """The layer with experts, as the counter describes it."""
    config = NEMOTRON_SUPER
    if name == "Kimi-K3":
        config = json.loads(TRUTH.read_text(encoding="utf-8"))["models"]["Kimi-K3"]["config"]
    layers = [layer for layer, _ in from_config(config).layers if isinstance(layer.ffn, MoE)]
    return layers[0]


@pytest.mark.parametrize("name", LAYERS)
def test_a_latent_layer_holds_what_the_counter_counts(name):
    spec, layer = LAYERS[name], counted(name)
    parts = {
        k: v
        for k, v in layer_parameters(layer).items()
        if k in ("router", "routed_experts", "shared_experts")
    }
    with torch.device("meta"):
        built = MoELayer.of(spec, path="auto")
    bias = 0 if built.router.expert_bias_E is None else built.router.expert_bias_E.numel()
    held = sum(p.numel() for p in built.parameters()) + (bias if not _counts_bias(built) else 0)
    assert held - bias == sum(total for total, _ in parts.values())
    shared = (3 if spec.kind.gated else 2) * spec.d_model * spec.d_shared
    norm = spec.d_latent if spec.output_norm else 0
    costs = latent_costs(
        spec.d_model, spec.d_expert, spec.n_experts, spec.top_k, spec.d_latent, gated=spec.kind.gated
    )
    assert costs.total + shared + norm == sum(total for total, _ in parts.values())
    assert costs.active + shared + norm == sum(active for _, active in parts.values())
    moe_only = layer_multiply_adds(layer) - (
        layer_multiply_adds(type(layer)(**{**layer.__dict__, "ffn": None}))
    )
    assert costs.multiply_adds + shared == moe_only


def _counts_bias(layer):
    return any(name.endswith("expert_bias_E") for name, _ in layer.named_parameters())


def test_a_latent_wider_than_the_model_is_refused():
    with pytest.raises(ValueError, match="d_latent is 128: choose 1 to d_model=64"):
        latent_costs(64, 32, 8, 2, 128)
    with pytest.raises(ValueError, match="granularity is 3: choose a divisor of d_expert=64"):
        cut_costs(64, 64, 8, 2, 3)
