"""The two configurations: `ModelConfig` and the `config.json` of a Mixtral checkpoint."""

import dataclasses
from typing import Any

from moe_lessons.accounting.fields import MAX_LAYERS, MAX_SIZE
from moe_lessons.config import ModelConfig
from moe_lessons.interop.folders import InteropError

# One function under two names: a softmax over the chosen logits is that over all of them, renormalised.
MIXTRAL_GATES = ("topk_softmax", "softmax_topk_renorm")

# Sizes that both sides have: theirs -> ours.
SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "intermediate_size": "d_expert",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "num_local_experts": "n_experts",
    "num_experts_per_tok": "top_k",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "norm_eps",
}
TRANSLATED = {*SIZES.values(), "rope_theta", "tie_embeddings", "gate"}
NO_PLACE = {
    "n_shared_experts": "Mixtral has no experts that every token passes",
    "routed_scale": "Mixtral's weights sum to 1",
    "expert_bias": "Mixtral's router has no bias on the choice of experts",
    "n_dense_layers": "every layer of Mixtral has experts",
    "moe_every": "every layer of Mixtral has experts",
}
# What `ModelConfig` cannot say, and the only value that it stands for.
FIXED = {
    "model_type": "mixtral",
    "hidden_act": "silu",
    "attention_dropout": 0.0,
    "router_jitter_noise": 0.0,
}


def check_exportable(config: ModelConfig) -> None:
    """Refuse a model that Mixtral's code would not compute.

    Raises
    ------
    InteropError
        The message names the setting, its value and the reason.

    Examples
    --------
    >>> check_exportable(ModelConfig(n_shared_experts=1))
    Traceback (most recent call last):
        ...
    moe_lessons.interop.folders.InteropError: n_shared_experts=1: Mixtral has no experts ...
    """
    if config.gate not in MIXTRAL_GATES:
        raise InteropError(
            f"gate={config.gate!r}: Mixtral's weights are a softmax over the chosen logits; "
            f"train with {' or '.join(MIXTRAL_GATES)} to export"
        )
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        irrelevant = item.name == "d_dense" and config.n_moe_layers == config.n_layers
        if item.name in TRANSLATED or irrelevant or value == item.default:
            continue
        reason = NO_PLACE.get(item.name, "Mixtral's configuration has no such setting")
        raise InteropError(f"{item.name}={value}: {reason}; train with {item.name}={item.default} to export")


def to_mixtral(config: ModelConfig, *, dtype: str = "float32", alpha: float = 0.0) -> dict[str, Any]:
    """Return what `config.json` says of a model, with nothing that matters left to a default.

    Parameters
    ----------
    config : ModelConfig
    dtype : str
        Of the stored weights, as "float32".
    alpha : float
        Weight of our load-balancing loss, which adds up layers and is 1 per balanced layer. Theirs looks
        at all layers as one and is K when they are balanced: with ``alpha * n_layers / K`` both pull alike.

    Raises
    ------
    InteropError
        If Mixtral has no place for something in it.

    Examples
    --------
    >>> theirs = to_mixtral(ModelConfig(top_k=1, rope_theta=500.0))
    >>> theirs["num_experts_per_tok"], theirs["rope_parameters"], theirs["eos_token_id"]
    (1, {'rope_type': 'default', 'rope_theta': 500.0}, None)
    """
    check_exportable(config)
    return {
        "architectures": ["MixtralForCausalLM"],
        **FIXED,
        **{theirs: getattr(config, ours) for theirs, ours in SIZES.items()},
        "head_dim": config.d_head,
        "sliding_window": None,
        "tie_word_embeddings": config.tie_embeddings,
        # transformers 5 reads the first, earlier ones the second; both would fall back on a million.
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rope_theta": config.rope_theta,
        # No token means begin, end or padding here. The defaults would be 1 and 2, and generation
        # would stop at whatever token has the number 2.
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "router_aux_loss_coef": alpha * config.n_layers / config.top_k,
        "output_router_logits": False,
        "initializer_range": 0.02,
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def from_mixtral(values: dict[str, Any]) -> ModelConfig:
    """Return the configuration of the model that a `config.json` describes.

    Raises
    ------
    InteropError
        If it is not Mixtral's, leaves a size out, or asks for what `MoETransformer` does not compute.

    Examples
    --------
    >>> from_mixtral(to_mixtral(ModelConfig(n_layers=3))) == ModelConfig(n_layers=3)
    True
    """
    if values.get("model_type") != FIXED["model_type"]:
        raise InteropError(f"model_type is {values.get('model_type')!r}: only 'mixtral' can be imported")
    if values.get("quantization_config"):
        raise InteropError("quantization_config is set: import the weights in float32, bfloat16 or float16")
    for name, only in FIXED.items():
        if values.get(name, only) != only:
            raise InteropError(f"{name} is {values[name]!r}: this model has {only!r} only")
    missing = [name for name in SIZES if values.get(name) is None]
    if missing:
        raise InteropError(f"config.json does not say {', '.join(missing)}: a guess could change every logit")
    sizes = {ours: _size(values, theirs) for theirs, ours in SIZES.items()}
    config = ModelConfig(
        **sizes, rope_theta=_rope_theta(values), tie_embeddings=bool(values.get("tie_word_embeddings", False))
    )
    if values.get("head_dim") not in (None, config.d_head):
        raise InteropError(
            f"head_dim is {values['head_dim']}: this model has hidden_size / num_attention_heads = "
            f"{config.d_head} only"
        )
    window = values.get("sliding_window")
    if window is not None and _number(values, "sliding_window") < config.context_length:
        raise InteropError(
            f"sliding_window is {window}: attention here sees all of max_position_embeddings="
            f"{config.context_length}; with max_position_embeddings={window} in config.json both agree"
        )
    return config


def alpha_of(values: dict[str, Any], config: ModelConfig) -> float:
    """Return the weight of our load-balancing loss for a `router_aux_loss_coef`, 0 where none is given."""
    theirs = _number(values, "router_aux_loss_coef") if values.get("router_aux_loss_coef") else 0.0
    return theirs * config.top_k / config.n_layers


def _rope_theta(values: dict[str, Any]) -> float:
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise InteropError(f"rope_parameters is {rope!r}: give an object with rope_type and rope_theta")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise InteropError(f"rope_type is {kind!r}: this model has plain rotary positions ('default') only")
    theta = rope.get("rope_theta", values.get("rope_theta"))
    if theta is None:
        raise InteropError("config.json does not say rope_theta: a guess could change every logit")
    return _number({"rope_theta": theta}, "rope_theta")


def _size(values: dict[str, Any], name: str) -> Any:
    """A whole number of a plausible size; the norm's epsilon may be any number."""
    if name == "rms_norm_eps":
        return _number(values, name)
    high = MAX_LAYERS if name == "num_hidden_layers" else MAX_SIZE
    if type(values[name]) is not int or not 1 <= values[name] <= high:
        raise InteropError(f"{name} is {values[name]!r}: config.json needs a whole number, 1 to {high}")
    return values[name]


def _number(values: dict[str, Any], name: str) -> float:
    if type(values[name]) not in (int, float):
        raise InteropError(f"{name} is {values[name]!r}: config.json needs a number")
    return float(values[name])
