"""Families whose gate scores each expert by a sigmoid of its own: since 2025 the larger number."""

from dataclasses import replace
from typing import Any

from moe_lessons.experts import clamped_swiglu, late_clamped_swiglu, offset_swiglu, softcapped_swiglu
from moe_lessons.interop.recipes.fields import Fields
from moe_lessons.layer import LayerSpec
from moe_lessons.routing import Gate

DEEPSEEK_EPS = 1e-20


def deepseek_v3(f: Fields) -> LayerSpec:
    """A selection bias, groups by their two best, renormalised, scaled; shared experts."""
    gate = Gate(
        "sigmoid",
        renormalize=f("norm_topk_prob", "moe_renormalize"),
        eps=DEEPSEEK_EPS,
        scale=f("routed_scaling_factor", default=1.0),
        n_groups=f("n_group", "num_expert_group", default=1),
        topk_groups=f("topk_group", default=1),
    )
    return LayerSpec(**f.sizes(), gate=gate, expert_bias=True, kind=f.gated(), d_shared=f.shared())


def no_shared(f: Fields) -> LayerSpec:
    """DeepSeek-V3's gate without shared experts (MiMo-V2-Flash, Beam)."""
    return replace(deepseek_v3(f), d_shared=0)


def axk1(f: Fields) -> LayerSpec:
    """DeepSeek-V3's, with a norm over the sum of routed and shared experts (`post_mlp_layernorm`)."""
    return replace(deepseek_v3(f), final_norm=f("rms_norm_eps"))


def axk2(f: Fields) -> LayerSpec:
    """DeepSeek-V3's, but experts of groups left out count as 0, not as -inf, in the choice."""
    spec = deepseek_v3(f)
    return replace(spec, gate=replace(spec.gate, outside=0.0))  # type: ignore[type-var]


def clamped(f: Fields) -> LayerSpec:
    """DeepSeek-V3's with clamped SwiGLU in all experts (GLM-5-Next)."""
    return replace(deepseek_v3(f), kind=clamped_swiglu(f("swiglu_limit")))


def hy_v4(f: Fields) -> LayerSpec:
    """The same with a shared expert that is not clamped."""
    return replace(clamped(f), shared_kind=f.gated())


def dots3(f: Fields) -> LayerSpec:
    """DeepSeek-V3's with a width of their own for the shared experts."""
    width = f("shared_experts_intermediate_size") * f("n_shared_experts")
    shared = f.gated(bias=f("mlp_bias", default=False))
    return replace(deepseek_v3(f), d_shared=width, shared_kind=shared)


def nemotron(f: Fields) -> LayerSpec:
    """DeepSeek-V3's gate over squared-ReLU experts without a gate, in a narrower width if there is one."""
    bias = f("mlp_bias")
    return replace(
        deepseek_v3(f),
        kind=f.ungated(),
        shared_kind=f.ungated(bias=bias),
        d_shared=f("moe_shared_expert_intermediate_size"),
        d_latent=f("moe_latent_size", default=None),
        latent_bias=bias,
    )


def plain(f: Fields, *, scale: str = "", bias: bool = True, **options: Any) -> LayerSpec:
    """Renormalised sigmoids with a selection bias and no groups."""
    factor = f(scale) if scale else 1.0
    gate = Gate("sigmoid", renormalize=True, scale=factor, **options)
    return LayerSpec(**f.sizes(), gate=gate, expert_bias=bias, kind=f.gated())


def afmoe(f: Fields) -> LayerSpec:
    """Renormalised, times `route_scale`; shared experts."""
    return replace(plain(f, scale="route_scale", eps=DEEPSEEK_EPS), d_shared=f.shared())


def hy_v3(f: Fields) -> LayerSpec:
    """Renormalised, times `router_scaling_factor`; shared experts, perhaps with biases."""
    shared = f.gated(bias=f("mlp_bias"))
    spec = plain(f, scale="router_scaling_factor", eps=DEEPSEEK_EPS)
    return replace(spec, d_shared=f.shared(), shared_kind=shared)


def minimax_m2(f: Fields) -> LayerSpec:
    """Renormalised; nothing else."""
    return plain(f)


def minimax_m3(f: Fields) -> LayerSpec:
    """Experts of gpt-oss without biases, shared ones too; the routed sum times `routed_scaling_factor`."""
    kind = offset_swiglu(f("swiglu_alpha"), f("swiglu_limit"))
    spec = plain(f, scale="routed_scaling_factor")
    return replace(spec, kind=kind, d_shared=f("shared_intermediate_size"))


def step3p7(f: Fields, layer: int = -1) -> LayerSpec:
    """SwiGLU clamped after its SiLU, in the last layers only (`swiglu_limits`); read for the last layer."""
    limits, shared_limits = f("swiglu_limits", default=None), f("swiglu_limits_shared", default=None)
    bias = f("mlp_bias")
    kind, shared = f.gated(), f.gated(bias=bias)
    if limits and limits[layer]:
        kind = late_clamped_swiglu(limits[layer])
    if shared_limits and shared_limits[layer]:
        shared = replace(late_clamped_swiglu(shared_limits[layer]), bias=bias)
    spec = plain(f, scale="moe_router_scaling_factor")
    return replace(spec, kind=kind, d_shared=f("share_expert_dim"), shared_kind=shared)


def laguna(f: Fields) -> LayerSpec:
    """Logits may be softcapped; the routed sum times `moe_routed_scaling_factor`; a shared expert."""
    cap = f("moe_router_logit_softcapping")
    spec = plain(f, scale="moe_routed_scaling_factor", softcap=cap if cap > 0 else None)
    return replace(spec, d_shared=f("shared_expert_intermediate_size"))


def kolibri(f: Fields) -> LayerSpec:
    """The bias is added to the logits, for the choice only; sigmoids of the chosen logits."""
    gate = Gate("sigmoid", renormalize=f("norm_topk_prob"), bias_on="logits")
    shared = f("shared_expert_intermediate_size")
    return LayerSpec(**f.sizes(), gate=gate, expert_bias=True, kind=f.gated(), d_shared=shared)


def flint(f: Fields) -> LayerSpec:
    """No bias; renormalised if `norm_topk_prob`; a shared expert without a gate."""
    gate = Gate("sigmoid", renormalize=f("norm_topk_prob"))
    return LayerSpec(**f.sizes(), gate=gate, kind=f.gated(), d_shared=f("shared_expert_intermediate_size"))


def lfm2(f: Fields) -> LayerSpec:
    """A bias if `use_expert_bias`; renormalised with 1e-6 in the sum; no shared expert."""
    gate = Gate("sigmoid", renormalize=f("norm_topk_prob"), eps=1e-6, scale=f("routed_scaling_factor"))
    return LayerSpec(**f.sizes(), gate=gate, expert_bias=f("use_expert_bias"))


def cohere2(f: Fields) -> LayerSpec:
    """Softmax or sigmoid of the chosen logits (`expert_selection_fn`); shared experts added or averaged."""
    if f("expert_selection_fn") == "softmax":
        gate = Gate("softmax", renormalize=True)
    else:
        gate = Gate("sigmoid", renormalize=f("norm_topk_prob"))
    spec = LayerSpec(**f.sizes(), gate=gate, kind=f.gated(), d_shared=f.shared())
    if spec.d_shared and f("shared_expert_combination_strategy") == "average":
        return replace(spec, gate=replace(gate, scale=0.5), shared_scale=0.5)
    return spec


def llama4(f: Fields) -> LayerSpec:
    """The sigmoid of the chosen logit scales the expert's input; K = 1, and a shared expert."""
    gate = Gate("sigmoid", on_input=True)
    shared = f("intermediate_size")
    return LayerSpec(**f.sizes() | {"d_expert": shared}, gate=gate, kind=f.gated(), d_shared=shared)


def inkling(f: Fields) -> LayerSpec:
    """Shared experts have router rows: always chosen, and renormalised together with the K others."""
    n_shared, sizes = f("n_shared_experts"), f.sizes()
    gate = Gate("sigmoid", renormalize=True, scale=f("route_scale"), n_always=n_shared)
    sizes["n_experts"] += n_shared
    return LayerSpec(**sizes, gate=gate, expert_bias=True, kind=f.gated(), global_scale=True)


def inkling2(f: Fields) -> LayerSpec:
    """Experts whose two halves are softcapped (`mlp_gate_softcap`, `mlp_up_softcap`); no shared expert."""
    kind = softcapped_swiglu(f("mlp_gate_softcap"), f("mlp_up_softcap"))
    gate = Gate(
        _score(f), renormalize=True, eps=DEEPSEEK_EPS, scale=f("routed_scaling_factor", "route_scale")
    )
    return LayerSpec(**f.sizes(), gate=gate, expert_bias=True, kind=kind)


def deepseek_v4(f: Fields) -> LayerSpec:
    """sqrt(softplus), renormalised; all experts clamped. Its first layers route by a table of token ids."""
    gate = Gate(_score(f), renormalize=True, eps=DEEPSEEK_EPS, scale=f("routed_scaling_factor"))
    kind = clamped_swiglu(f("swiglu_limit"))
    return LayerSpec(
        **f.sizes(),
        gate=gate,
        expert_bias=True,
        kind=kind,
        d_shared=f("moe_intermediate_size", "intermediate_size"),
        shared_kind=replace(kind, bias=f("mlp_bias", default=False)),
    )


def muse_spark(f: Fields) -> LayerSpec:
    """Logits times `output_multiplier`; latent experts with a norm before them and one of their own."""
    gate = Gate(
        "sigmoid",
        renormalize=True,
        eps=1e-15,
        scale=f("routed_scaling_factor"),
        logit_scale=f("output_multiplier"),
    )
    return LayerSpec(
        **f.sizes(),
        gate=gate,
        expert_bias=True,
        kind=replace(f.gated(), norm_eps=f("post_norm_eps")),
        d_latent=f("moe_hidden_size"),
        input_norm=f("rms_norm_eps"),
    )


def _score(f: Fields) -> str:
    return {"sqrtsoftplus": "sqrt_softplus"}.get(f("scoring_func"), f("scoring_func"))
