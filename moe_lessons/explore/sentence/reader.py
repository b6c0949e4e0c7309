"""The small trained model that reads the sentence, in numpy alone: it runs where PyTorch does not.

It is `moe_lessons.model.MoETransformer`; ``benchmarks/sentence_model.py`` trained it, and a test holds the
two to the same numbers. Shapes: T tokens, D model width, E experts, H heads, G key-value heads, P head width.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moe_lessons.explore.sentence.words import Pairs

Array = NDArray[np.float32]
WEIGHTS, FACTS = "small.safetensors", "small.json"
_DTYPES = {"F16": np.float16, "F32": np.float32}


class Read(NamedTuple):
    """What one layer computes for each token, before anything is chosen."""

    logits_TE: Array
    outputs_TED: Array


@dataclass(frozen=True)
class Small:
    """The model: its sizes, its tokens, its weights, and how it was made.

    Attributes
    ----------
    sizes : dict
        Fields of `moe_lessons.config.ModelConfig`.
    pairs : Pairs
    weights : dict of str to array
        By their names in `MoETransformer.state_dict()`, without the head, which is the embedding.
    made : dict
        Command, corpus and its checksum, seed, steps, bits per byte, shares of the experts.
    """

    sizes: dict[str, Any]
    pairs: Pairs
    weights: dict[str, Array]
    made: dict[str, Any]

    @property
    def n_layers(self) -> int:
        """Layers, each with experts."""
        return int(self.sizes["n_layers"])

    @property
    def n_experts(self) -> int:
        """E, experts in a layer."""
        return int(self.sizes["n_experts"])

    @property
    def top_k(self) -> int:
        """K, experts for each token, as it was trained."""
        return int(self.sizes["top_k"])


def read_safetensors(raw: bytes) -> dict[str, Array]:
    """Read all tensors of a file: eight bytes with the length of a header, the header in JSON, the numbers.

    Returns
    -------
    dict of str to float32 array

    Examples
    --------
    >>> header = b'{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}'
    >>> read_safetensors(len(header).to_bytes(8, "little") + header + np.float16(0.5).tobytes())
    {'a': array([0.5], dtype=float32)}
    """
    start = 8 + int.from_bytes(raw[:8], "little")
    tensors = {}
    for name, about in json.loads(raw[8:start]).items():
        if name != "__metadata__":
            low, high = (start + offset for offset in about["data_offsets"])
            numbers = np.frombuffer(raw[low:high], dtype=_DTYPES[about["dtype"]])
            tensors[name] = numbers.reshape(about["shape"]).astype(np.float32)
    return tensors


@lru_cache(maxsize=1)
def small() -> Small:
    """Load the model that comes with the package.

    Examples
    --------
    >>> small().n_experts, small().top_k
    (8, 2)
    """
    folder = resources.files(__package__)
    facts = json.loads(folder.joinpath(FACTS).read_text(encoding="utf-8"))
    weights = read_safetensors(folder.joinpath(WEIGHTS).read_bytes())
    merges = (merge.split() for merge in facts["merges"])
    pairs = Pairs(tuple((int(left), int(right)) for left, right in merges))
    return Small(facts["model"], pairs, weights, facts["made"])


# Dragging K or picking another token computes nothing anew.
@lru_cache(maxsize=64)
def read(tokens: tuple[int, ...], layer: int) -> Read:
    """Run the model up to one layer's router and experts; the layers before it choose K as in training.

    Parameters
    ----------
    tokens : tuple of int, length T
    layer : int

    Returns
    -------
    Read
        ``logits_TE`` and the output of every expert for every token, ``outputs_TED``.

    Examples
    --------
    >>> read(small().pairs.encode("two words"), 0).logits_TE.shape[1]
    8
    """
    model = small()
    stream_TD = model.weights["embedding.weight"][list(tokens)]
    for earlier in range(layer):
        stream_TD = _attended(model, stream_TD, earlier)
        logits_TE, outputs_TED = _experts(model, stream_TD, earlier)
        ids_TK, weights_TK = choose(logits_TE, model.top_k)
        chosen_TKD = np.take_along_axis(outputs_TED, ids_TK[:, :, None], axis=1)
        stream_TD = stream_TD + (weights_TK[:, :, None] * chosen_TKD).sum(axis=1)
    return _experts(model, _attended(model, stream_TD, layer), layer)


def choose(logits_TE: Array, k: int) -> tuple[NDArray[np.intp], Array]:
    """Take the K largest logits of each token, largest first, and turn them into weights that sum to 1.

    Returns
    -------
    topk_ids_TK, topk_weights_TK : arrays of shape (T, K)

    Examples
    --------
    >>> ids_TK, weights_TK = choose(np.log(np.array([[3, 1, 2]], dtype=np.float32)), 2)
    >>> ids_TK.tolist(), weights_TK.round(2).tolist()
    ([[0, 2]], [[0.6000000238418579, 0.4000000059604645]])
    """
    ids_TK = np.argsort(-logits_TE, axis=1, kind="stable")[:, :k]
    return ids_TK, softmax(np.take_along_axis(logits_TE, ids_TK, axis=1))


def softmax(logits: Array) -> Array:
    """Softmax over the last axis.

    Examples
    --------
    >>> softmax(np.zeros((1, 2), dtype=np.float32)).tolist()
    [[0.5, 0.5]]
    """
    exps = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


def _normed(model: Small, stream_TD: Array, name: str) -> Array:
    mean_T1 = np.square(stream_TD).mean(axis=-1, keepdims=True)
    return (
        stream_TD / np.sqrt(mean_T1 + np.float32(model.sizes["norm_eps"])) * model.weights[f"{name}.weight"]
    )


def _attended(model: Small, stream_TD: Array, layer: int) -> Array:
    """Add what attention brings: each token looks at itself and those before it."""
    block, H, G = f"blocks.{layer}", model.sizes["n_heads"], model.sizes["n_kv_heads"]
    hidden_TD = _normed(model, stream_TD, f"{block}.attention_norm")
    T, P = len(hidden_TD), model.sizes["d_model"] // H

    def heads(name: str, n: int) -> Array:
        rows_TD = hidden_TD @ model.weights[f"{block}.attention.{name}.weight"].T
        return np.repeat(rows_TD.reshape(T, n, P).transpose(1, 0, 2), H // n, axis=0)

    q_HTP, k_HTP, v_HTP = heads("q_proj", H), heads("k_proj", G), heads("v_proj", G)
    q_HTP, k_HTP = _rotated(q_HTP, model.sizes["rope_theta"]), _rotated(k_HTP, model.sizes["rope_theta"])
    scores_HTT: Array = q_HTP @ k_HTP.transpose(0, 2, 1) / np.float32(np.sqrt(P))
    scores_HTT[:, np.triu(np.ones((T, T), dtype=bool), 1)] = -np.inf  # what comes later
    mixed_HTP: Array = softmax(scores_HTT) @ v_HTP
    joined_TD = mixed_HTP.transpose(1, 0, 2).reshape(T, H * P)
    brought_TD: Array = joined_TD @ model.weights[f"{block}.attention.o_proj.weight"].T
    return stream_TD + brought_TD


def _rotated(heads_HTP: Array, theta: float) -> Array:
    """Turn each pair (i, i + P/2) by the angle of its position."""
    T, P = heads_HTP.shape[1:]
    rates = np.float32(theta) ** -(np.arange(0, P, 2, dtype=np.float32) / P)
    angles_TP = np.tile(np.outer(np.arange(T, dtype=np.float32), rates), 2)
    first, second = np.split(heads_HTP, 2, axis=-1)
    turned_HTP = np.concatenate((-second, first), axis=-1)
    return (heads_HTP * np.cos(angles_TP) + turned_HTP * np.sin(angles_TP)).astype(np.float32)


def _experts(model: Small, stream_TD: Array, layer: int) -> Read:
    """Score the experts for each token, and let every expert answer: a picture may ask for any K."""
    moe = f"blocks.{layer}.moe"
    hidden_TD = _normed(model, stream_TD, f"blocks.{layer}.moe_norm")
    logits_TE = hidden_TD @ model.weights[f"{moe}.router.weight"].T
    gate_up_ETX = hidden_TD @ model.weights[f"{moe}.experts.gate_up_proj"].transpose(0, 2, 1)
    gate_ETF, up_ETF = np.split(gate_up_ETX, 2, axis=-1)
    inner_ETF = gate_ETF / (1 + np.exp(-gate_ETF)) * up_ETF
    outputs_ETD = inner_ETF @ model.weights[f"{moe}.experts.down_proj"].transpose(0, 2, 1)
    return Read(logits_TE, outputs_ETD.transpose(1, 0, 2))
