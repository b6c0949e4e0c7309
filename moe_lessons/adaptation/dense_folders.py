"""Dense models of Hugging Face's that have Mixtral's layers but for the experts: Llama's and Mistral's."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from moe_lessons.interop.folders import InteropError, read_json
from moe_lessons.interop.importing import read_weights
from moe_lessons.interop.mixtral import from_mixtral
from moe_lessons.interop.stored import Spec, StoredWeights

SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "rms_norm_eps",
)
# What transformers takes where a config.json does not say it.
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"rope_theta": 10_000.0, "sliding_window": None},
    "mistral": {"rope_theta": 10_000.0, "sliding_window": 4096, "num_key_value_heads": 8},
}
WHY_NOT = {
    "qwen2": "its queries, keys and values have biases, which Mixtral lacks",
    "qwen3": "it norms queries and keys, which Mixtral does not",
    "phi3": "it stores queries, keys and values as one matrix",
    "gemma": "its norms add 1 to their scale, and its activation is a GELU",
    "gemma2": "its norms add 1 to their scale, and its activation is a GELU",
    "gpt2": "its feed-forward network has no gate",
}
LAYER = "model.layers.{}."
NORMS = ("input_layernorm.weight", "post_attention_layernorm.weight")
ATTENTION = tuple(f"self_attn.{part}_proj.weight" for part in "qkvo")
FFN = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}
# `StoredWeights` reads `.mlp.` under Mixtral's older name.
STORED_FFN = LAYER + "block_sparse_moe.{}.weight"


@dataclass(frozen=True)
class DenseFolder:
    """A dense model's folder, its tensors read when asked for.

    Attributes
    ----------
    config : dict
        What Mixtral's `config.json` is to say of it, the experts aside.
    specs : dict of str to Spec
        Dtype and shape of each tensor that stays as it is, under its name in Mixtral.
    read : callable
        Reads one of them.
    ffn : callable
        Reads a part of a layer's feed-forward network: (layer, "gate" | "up" | "down").
    """

    config: dict[str, Any]
    specs: dict[str, Spec]
    read: Callable[[str], Tensor]
    ffn: Callable[[int, str], Tensor]


def read_dense(folder: str | Path) -> DenseFolder:
    """Open a dense model's folder, and check names and shapes before anything is read.

    Parameters
    ----------
    folder : path
        With `config.json` of a Llama or Mistral, or of a Mixtral with a single expert, and safetensors.

    Raises
    ------
    InteropError
        If the folder is missing, its weights are not safetensors, it is of another family, or says something
        that Mixtral cannot.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InteropError(f"{folder} is not a folder: give a run, or one with config.json and safetensors")
    values = read_json(folder / "config.json")
    family = values.get("model_type")
    if family == "mixtral":
        return _of_one_expert(folder, values)
    if family not in DEFAULTS:
        reason = WHY_NOT.get(str(family), "its layers are not known to be Mixtral's")
        experts = any("expert" in name and values[name] not in (0, 1, None) for name in values)
        reason = "it has experts already" if experts else reason
        raise InteropError(f"model_type is {family!r}: {reason}; give a model of type llama or mistral")
    config = mixtral_config({**DEFAULTS[family], **values})
    stored = StoredWeights(folder)
    specs = _checked(config, stored)

    @lru_cache(maxsize=1)  # all experts' copies of one matrix are written one after the other
    def ffn(layer: int, part: str) -> Tensor:
        return stored.read(STORED_FFN.format(layer, FFN[part]))

    return DenseFolder(config, specs, stored.read, ffn)


def _of_one_expert(folder: Path, values: dict[str, Any]) -> DenseFolder:
    """A Mixtral with a single expert: what `moe-lessons export` makes of a dense run."""
    ours = from_mixtral(values)
    if ours.n_experts != 1:
        raise InteropError(
            f"num_local_experts is {ours.n_experts}: it has experts already; give a dense model, "
            "of type llama or mistral, or a run of ours with n_experts=1"
        )
    weights = read_weights(folder)
    kept = {
        piece.key: name
        for name, parts in weights.layout.items()
        for piece in parts
        if ".moe.experts." not in name and ".moe.router." not in name
    }
    halves = {"gate": slice(None, ours.d_expert), "up": slice(ours.d_expert, None)}

    @lru_cache(maxsize=1)
    def ffn(layer: int, part: str) -> Tensor:
        bank = f"blocks.{layer}.moe.experts."
        if part == "down":
            return weights.read(f"{bank}down_proj")[0]
        return weights.read(f"{bank}gate_up_proj")[0][halves[part]]

    return DenseFolder(
        {name: value for name, value in values.items() if name not in ("dtype", "torch_dtype")},
        {key: weights.specs[name] for key, name in kept.items()},
        weights.stored.read,
        ffn,
    )


def mixtral_config(values: dict[str, Any]) -> dict[str, Any]:
    """Say in Mixtral's words what a Llama's or Mistral's `config.json` says, the experts aside.

    Raises
    ------
    InteropError
        If it leaves a size out, or asks for what Mixtral does not compute.
    """
    if values.get("quantization_config"):
        raise InteropError("quantization_config is set: give the weights in float32, bfloat16 or float16")
    for name, only in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
        if values.get(name, only) != only:
            raise InteropError(f"{name} is {values[name]!r}: Mixtral has {only!r} only")
    if missing := [name for name in SIZES if values.get(name) is None]:
        raise InteropError(f"config.json does not say {', '.join(missing)}: a guess could change every logit")
    heads = values["num_attention_heads"]
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    theta = rope.get("rope_theta") or values["rope_theta"]
    rope = {"rope_type": rope.get("type", "default"), **rope, "rope_theta": theta}
    tokens = ("bos_token_id", "eos_token_id", "pad_token_id")
    said: dict[str, Any] = {name: values[name] for name in tokens if name in values}
    return {
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        **{name: values[name] for name in SIZES},
        "num_key_value_heads": values.get("num_key_value_heads") or heads,
        "head_dim": values.get("head_dim") or values["hidden_size"] // heads,
        "hidden_act": "silu",
        "attention_dropout": values.get("attention_dropout", 0.0),
        "sliding_window": values["sliding_window"],
        "tie_word_embeddings": bool(values.get("tie_word_embeddings", False)),
        "rope_parameters": rope,
        "rope_theta": theta,  # earlier versions of transformers read this one
        "initializer_range": values.get("initializer_range", 0.02),
        "router_aux_loss_coef": 0.001,
        "router_jitter_noise": 0.0,
        "output_router_logits": False,
        "use_cache": True,
        # Where these are not said, the families' defaults differ from Mixtral's in nothing but padding.
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": None,
        **said,
    }


def _checked(config: dict[str, Any], stored: StoredWeights) -> dict[str, Spec]:
    """Compare names and shapes with the config, and return what is to be copied."""
    expected = _shapes(config)
    buffers = {key for key in stored.keys if key.endswith("rotary_emb.inv_freq")}
    head = {"lm_head.weight"} if config["tie_word_embeddings"] else set()  # some write the same tensor twice
    wanted = set(expected)
    for what, keys in (
        ("lacks", wanted - stored.keys),
        ("has unknown", stored.keys - wanted - buffers - head),
    ):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise InteropError(
                f"{stored.folder} {what} {_theirs(min(keys))}{more}: config.json is of another model"
            )
    specs = {key: stored.spec(key) for key in expected}
    for key, shape in expected.items():
        if specs[key].shape != shape:
            raise InteropError(f"{_theirs(key)} has shape {specs[key].shape}: config.json says {shape}")
    return {key: spec for key, spec in specs.items() if ".block_sparse_moe." not in key}


def _theirs(key: str) -> str:
    return key.replace(".block_sparse_moe.", ".mlp.")


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    width, inner = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    sizes = dict(
        zip(ATTENTION, ((queries, width), (keys, width), (keys, width), (width, queries)), strict=True)
    )
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], width)}
    for layer in range(config["num_hidden_layers"]):
        prefix = LAYER.format(layer)
        shapes |= {prefix + name: (width,) for name in NORMS}
        shapes |= {prefix + name: shape for name, shape in sizes.items()}
        for part, name in FFN.items():
            shapes[STORED_FFN.format(layer, name)] = (width, inner) if part == "down" else (inner, width)
    shapes["model.norm.weight"] = (width,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], width)
    return shapes
