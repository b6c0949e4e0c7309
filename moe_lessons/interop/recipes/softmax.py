"""Families whose gate is a softmax, over all experts or, which is renormalising it, over the chosen ones."""

from dataclasses import replace

from moe_lessons.experts import gated, offset_swiglu, ungated
from moe_lessons.interop.recipes.fields import ACTS, Fields
from moe_lessons.layer import LayerSpec
from moe_lessons.routing import Gate, sparse_mixer_topk

RENORMALISED = Gate("softmax", renormalize=True)
KEPT = Gate("softmax")


def mixtral(f: Fields) -> LayerSpec:
    """softmax over the chosen logits; nothing else (Mixtral, MiniMax-01, Granite, Qwen3-VL)."""
    return LayerSpec(**f.sizes(), gate=RENORMALISED, kind=f.gated())


def kept(f: Fields) -> LayerSpec:
    """softmax over all experts, the chosen ones as they are (Jamba)."""
    return LayerSpec(**f.sizes(), gate=KEPT, kind=f.gated())


def either(f: Fields) -> LayerSpec:
    """One of the two, as `norm_topk_prob` says (OLMoE, FlexOlmo, Qwen3, Mellum)."""
    return mixtral(f) if f("norm_topk_prob") else kept(f)


def qwen2(f: Fields) -> LayerSpec:
    """... and a shared expert with a sigmoid gate of its own (Qwen2-MoE, Qwen3-Next)."""
    return replace(either(f), d_shared=f("shared_expert_intermediate_size"), shared_gate=True)


def qwen3_5(f: Fields) -> LayerSpec:
    """The same, always renormalised."""
    return replace(mixtral(f), d_shared=f("shared_expert_intermediate_size"), shared_gate=True)


def hunyuan(f: Fields) -> LayerSpec:
    """Renormalised, and one shared expert as wide as the others. Sizes may differ from layer to layer."""
    first = {name: value[0] if isinstance(value, list) else value for name, value in f.sizes().items()}
    return LayerSpec(**first, gate=RENORMALISED, kind=f.gated(), d_shared=first["d_expert"])


def granite(f: Fields) -> LayerSpec:
    """Mixtral's, with a shared expert next to it in the decoder layer (`shared_mlp`)."""
    return replace(mixtral(f), d_shared=f("shared_intermediate_size"))


def aria(f: Fields) -> LayerSpec:
    """Routed experts are always SwiGLU; the shared ones follow `hidden_act` and may have biases."""
    width = f("intermediate_size") * f("moe_num_shared_experts")
    shared = f.gated(bias=f("mlp_bias"))
    return LayerSpec(**f.sizes(), gate=RENORMALISED, kind=gated("silu"), d_shared=width, shared_kind=shared)


def gpt_oss(f: Fields) -> LayerSpec:
    """Biases in the router and in the experts, whose gate is clamped and whose up half gets 1 added."""
    kind = offset_swiglu(f("swiglu_alpha"), f("swiglu_limit"), bias=True)
    return LayerSpec(**f.sizes(), gate=RENORMALISED, kind=kind, router_bias=True)


def dbrx(f: Fields) -> LayerSpec:
    """The chosen probabilities are divided by their p-norm (`moe_normalize_expert_weights`); p is 1."""
    ffn = f.inside("ffn_config")
    power = ffn("moe_normalize_expert_weights", default=None)
    gate = KEPT if power is None else Gate("softmax", renormalize=True, norm=power)
    act = ffn("ffn_act_fn", default={}).get("name", "silu")
    return LayerSpec(**ffn.sizes() | {"d_model": f("d_model")}, gate=gate, kind=gated(ACTS[act]))


def ernie(f: Fields) -> LayerSpec:
    """A selection bias on probabilities; the sum that they are divided by is at least `moe_norm_min`."""
    gate = Gate("softmax", renormalize=True, least_sum=f("moe_norm_min"))
    sizes = f.sizes()
    if isinstance(sizes["d_expert"], list):  # of text and of vision
        sizes["d_expert"] = sizes["d_expert"][0]
    shared = sizes["d_expert"] * f("moe_num_shared_experts")
    return LayerSpec(**sizes, gate=gate, kind=f.gated(), expert_bias=True, d_shared=shared)


def deepseek_v2(f: Fields) -> LayerSpec:
    """Groups by their best expert (`topk_method`), probabilities kept, times `routed_scaling_factor`."""
    groups = {}
    if f("topk_method") == "group_limited_greedy":
        groups = {"n_groups": f("n_group"), "topk_groups": f("topk_group"), "group_best": 1}
    gate = Gate("softmax", scale=f("routed_scaling_factor"), **groups)
    shared = f.gated(bias=f("mlp_bias", default=False))
    return LayerSpec(**f.sizes(), gate=gate, kind=f.gated(), d_shared=f.shared(), shared_kind=shared)


def mistral4(f: Fields) -> LayerSpec:
    """Softmax, groups by the sum of their two best, renormalised; no selection bias."""
    gate = Gate(
        "softmax",
        renormalize=f("norm_topk_prob", default=True),  # Mistral-Large-4 always does
        eps=1e-20,
        scale=f("routed_scaling_factor"),
        n_groups=f("n_group"),
        topk_groups=f("topk_group"),
    )
    return LayerSpec(**f.sizes(), gate=gate, kind=f.gated(), d_shared=f.shared())


def longcat(f: Fields) -> LayerSpec:
    """`zero_expert_num` experts return their input: a token that takes them costs less."""
    return LayerSpec(
        **f.sizes() | {"n_experts": f("n_routed_experts")},
        gate=Gate("softmax", scale=f("routed_scaling_factor")),
        expert_bias=True,
        kind=f.gated(),
        n_null_experts=f("zero_expert_num", default=0),
    )


def jetmoe(f: Fields) -> LayerSpec:
    """Mixtral's, and a bias added to the output. Its attention has experts too, which this is not."""
    return replace(mixtral(f), final_bias=True)


def gemma4(f: Fields) -> LayerSpec:
    """The router reads a norm of its own and scales weights per expert; norms around GeGLU experts.

    The dense network that runs beside them in each layer is not part of it.
    """
    eps = f("rms_norm_eps")
    return LayerSpec(
        **f.sizes(),
        gate=RENORMALISED,
        kind=f.gated(),
        router_norm=eps,
        expert_scale=True,
        input_norm=eps,
        output_norm=eps,
    )


def phimoe(f: Fields) -> LayerSpec:
    """SparseMixer as in evaluation: two choices, each weighed against its near rivals."""
    return LayerSpec(**f.sizes(), gate=SparseMixer(f("router_jitter_noise")), kind=f.gated())


def switch(f: Fields) -> LayerSpec:
    """K = 1, ReLU experts, the probability kept. Places are not limited here (`expert_capacity`)."""
    sizes = (f("d_model"), f("d_ff"), f("num_experts"), 1)
    return LayerSpec(*sizes, gate=KEPT, kind=f.ungated(), router_bias=f("router_bias"))


def nllb(f: Fields) -> LayerSpec:
    """K = 2, ReLU experts with biases; outputs times 1 - `moe_token_dropout` when evaluated, dropless."""
    sizes = (f("d_model"), f("encoder_ffn_dim"), f("num_experts"), 2)
    gate = Gate("softmax", renormalize=True, scale=1 - f("moe_token_dropout"))
    return LayerSpec(*sizes, gate=gate, kind=ungated("relu", bias=True), router_bias=f("router_bias"))


class SparseMixer:
    """`sparse_mixer_topk` with its jitter."""

    __name__ = "SparseMixer, as in evaluation"

    def __init__(self, jitter: float) -> None:
        self.jitter = jitter

    def __call__(self, logits_TE, top_k):  # type: ignore[no-untyped-def]
        """Choose and weigh."""
        return sparse_mixer_topk(logits_TE, top_k, jitter=self.jitter)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparseMixer) and other.jitter == self.jitter

    def __hash__(self) -> int:
        return hash(self.jitter)
