"""A block's tensors under our names, in our layout; gradients translate the same way."""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from moe_lessons.interop.folders import InteropError
from moe_lessons.layer import LayerSpec

# What the router, its parts and the shared experts are called in one family or another.
RENAMED = (
    (r"(gate|router)\.((wg|classifier|layer|gate|proj)\.)?weight", "router.weight"),
    (r"(gate|router)\.(classifier\.)?bias", "router.bias_E"),
    (r"((gate|router)\.)?(moe_statics\.)?(e_score_correction_bias|expert_bias)", "router.expert_bias_E"),
    (r"router\.scale", "router.norm_scale_D"),
    (r"router\.per_expert_scale", "router.expert_scale_E"),
    (r"gate\.global_scale", "router.global_scale"),
    (r"experts\.(gate_up_proj|down_proj)", r"experts.\1"),
    (r"experts\.gate_up_proj_bias", "experts.gate_up_bias"),
    (r"experts\.down_proj_bias", "experts.down_bias"),
    (r"experts\.up_proj", "experts.gate_up_proj"),
    (r"(input_linear|experts\.input_linear)\.weight", "experts.gate_up_proj"),
    (r"(output_linear|experts\.output_linear)\.weight", "experts.down_proj"),
    (r"bias", "around.final_bias_D"),
    (r"shared_(experts?|mlp)\.(gate_up_proj|input_linear)(\.weight)?", "shared.gate_up"),
    (r"shared_(experts?|mlp)\.(down_proj|output_linear)(\.weight)?", "shared.down"),
    (r"shared_(experts?|mlp)\.(gate_proj|up_proj)(\.weight)?", r"shared.\2"),
    (r"shared_(experts?|mlp)\.(gate_proj|up_proj|down_proj)\.bias", r"shared.\2_bias"),
    (r"shared_expert_gate\.weight", "shared_gate.weight"),
    (r"(fc1_latent_proj|pre_expert_proj)\.(weight|bias)", r"around.to_latent.\2"),
    (r"(fc2_latent_proj|post_expert_proj)\.(weight|bias)", r"around.from_latent.\2"),
    (r"(pre_feedforward_layernorm_2|pre_expert_norm)\.weight", "around.input_norm.weight"),
    (r"post_feedforward_layernorm_2\.weight", "around.output_norm.weight"),
    (r"post_mlp_layernorm\.weight", "around.final_norm.weight"),
    (r"experts\.post_expert_norm\.weight", "experts.norm_scale"),
)

Tensors = dict[str, Tensor]


def transposed(tensors: Tensors, spec: LayerSpec, values: bool) -> Tensors:
    """Matrices are stored to be multiplied from the right: (E, D, 2F) and (E, F, D) (Llama-4, Aria)."""
    matrices = ("experts.gate_up_proj", "experts.down_proj")
    return {name: tensor.mT if name in matrices else tensor for name, tensor in tensors.items()}


def interleaved(tensors: Tensors, spec: LayerSpec, values: bool) -> Tensors:
    """The same, and gate and up take turns, column by column (gpt-oss)."""
    tensors = transposed(tensors, spec, values)
    for name in ("experts.gate_up_proj", "experts.gate_up_bias"):
        tensors[name] = torch.cat([tensors[name][:, 0::2], tensors[name][:, 1::2]], dim=1)
    return tensors


def dbrx(tensors: Tensors, spec: LayerSpec, values: bool) -> Tensors:
    """All experts' rows in one matrix: w1 the gate, v1 up, w2 the transposed down projection."""
    gate, up, down = (
        tensors.pop(f"experts.mlp.{name}").unflatten(0, (spec.n_experts, -1)) for name in ("w1", "v1", "w2")
    )
    return {
        **tensors,
        "experts.gate_up_proj": torch.cat([gate, up], dim=1),
        "experts.down_proj": down.mT,
    }


def one_by_one(tensors: Tensors, spec: LayerSpec, values: bool) -> Tensors:
    """Every expert is a module of its own (Switch, NLLB-MoE)."""
    names = {
        "wi.weight": "gate_up_proj",
        "wo.weight": "down_proj",
        "fc1.weight": "gate_up_proj",
        "fc2.weight": "down_proj",
        "fc1.bias": "gate_up_bias",
        "fc2.bias": "down_bias",
    }
    for theirs, ours in names.items():
        each = [tensors.pop(f"experts.expert_{e}.{theirs}", None) for e in range(spec.n_experts)]
        if each[0] is not None:
            tensors[f"experts.{ours}"] = torch.stack(each)  # type: ignore[arg-type]
    return tensors


def unused_rows(tensors: Tensors, spec: LayerSpec, values: bool) -> Tensors:
    """Null experts have rows that nothing reads, and the router a bias that is never added (LongCat)."""
    tensors.pop("router.bias_E", None)
    return {**tensors, "experts.gate_up_proj": tensors["experts.gate_up_proj"][: spec.n_experts]}


def zero_centred(tensors: Tensors, spec: LayerSpec, values: bool) -> Tensors:
    """Norms multiply by 1 + weight (Muse Spark)."""
    norms = ("around.input_norm.weight", "experts.norm_scale")
    return {name: tensor + 1 if values and name in norms else tensor for name, tensor in tensors.items()}


def shared_in_the_bank(tensors: Tensors, spec: LayerSpec, values: bool) -> Tensors:
    """Shared experts are the last of the bank, and of the router; there is no selection bias for them."""
    gate, up, down = (tensors.pop(f"shared.{name}") for name in ("gate_proj", "up_proj", "down"))
    bank = {"gate_up_proj": torch.cat([gate, up], dim=1), "down_proj": down}
    for name, shared in bank.items():
        tensors[f"experts.{name}"] = torch.cat([tensors[f"experts.{name}"], shared])
    if "router.expert_bias_E" in tensors:
        bias_E = tensors["router.expert_bias_E"]
        tensors["router.expert_bias_E"] = torch.cat([bias_E, bias_E.new_zeros(len(down))])
    return tensors


Layout = Callable[[Tensors, LayerSpec, bool], Tensors]


def translate(
    tensors: Mapping[str, Tensor],
    spec: LayerSpec,
    *,
    layout: Layout | None = None,
    inside: str = "",
    ignored: str = "",
    values: bool = True,
) -> Tensors:
    """Bring the tensors of a transformers block into the names and the layout of a `MoELayer`.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        A block's `state_dict()`, or its gradients by the same names.
    spec : LayerSpec
    layout : callable, optional
        One of this module's functions, for families whose tensors lie differently.
    inside : str
        The prefix of the part to read, as a pattern; without it all names count.
    ignored : str
        A pattern of names that are no part of the layer.
    values : bool
        False for gradients: then nothing is added to a norm's weight.

    Raises
    ------
    InteropError
        If a tensor has no place in the layer.

    Examples
    --------
    >>> spec = LayerSpec(4, 6, 2, 1, "softmax_topk")
    >>> experts = {"experts.gate_up_proj": torch.ones(2, 12, 4), "experts.down_proj": torch.ones(2, 4, 6)}
    >>> sorted(translate({"gate.weight": torch.ones(2, 4), **experts}, spec))
    ['experts.down_proj', 'experts.gate_up_proj', 'router.weight']
    """
    found: Tensors = {}
    for name, tensor in tensors.items():
        short = re.sub(f"^({inside})" if inside else "^", "", name)
        if not (ignored and re.fullmatch(ignored, short)):
            found[_ours(short)] = tensor
    if layout is not None:
        found = layout(found, spec, values)
    found = _shared(found, spec)
    if "router.expert_bias_E" in found:
        found["router.expert_bias_E"] = found["router.expert_bias_E"].reshape(-1)
    left = sorted(name for name in found if name.startswith("?"))
    if left:
        raise InteropError(f"{left[0][1:]}: this layer has no place for it")
    return found


def _ours(name: str) -> str:
    for pattern, ours in RENAMED:
        if re.fullmatch(pattern, name):
            return re.sub(f"^{pattern}$", ours, name)
    return name if name.startswith("experts.") else f"?{name}"


def _shared(tensors: Tensors, spec: LayerSpec) -> Tensors:
    """Stack gate and up; a bank of one has one axis more."""
    for suffix in ("", "_bias"):
        gate, up = (tensors.pop(f"shared.{half}_proj{suffix}", None) for half in ("gate", "up"))
        if up is not None:
            tensors[f"shared.gate_up{suffix}"] = up if gate is None else torch.cat([gate, up])
    names = {
        "shared.gate_up": "gate_up_proj",
        "shared.down": "down_proj",
        "shared.gate_up_bias": "gate_up_bias",
        "shared.down_proj_bias": "down_bias",
    }
    plain = (spec.shared_kind or spec.kind).is_swiglu
    for theirs, ours in names.items():
        if theirs in tensors:
            tensor = tensors.pop(theirs)
            tensors[f"shared_experts.{ours}"] = tensor if plain else tensor.unsqueeze(0)
    return tensors
