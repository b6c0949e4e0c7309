"""The small trained model that reads the sentence, in plain Python: it runs where PyTorch does not.

It is `moe_lessons.model.MoETransformer`; ``benchmarks/sentence_model.py`` trained it, and a test holds the
two to the same numbers. Shapes: T tokens, D model width, E experts, H heads, G key-value heads, P head width.
A token looks only at those before it, so what was computed for the beginning of a sentence holds as it grows:
typing a letter costs one token or two.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from operator import mul
from typing import Any, NamedTuple

from moe_lessons.explore.sentence.words import Pairs

Vector = Sequence[float]
Matrix = Sequence[Vector]
WEIGHTS, FACTS = "small.safetensors", "small.json"
_FORMATS = {"F16": "e", "F32": "f"}


class Read(NamedTuple):
    """What one layer computes for each token, before anything is chosen."""

    logits_TE: tuple[Vector, ...]
    outputs_TED: tuple[Matrix, ...]


@dataclass(frozen=True)
class Small:
    """The model: its sizes, its tokens, its weights, and how it was made.

    Attributes
    ----------
    sizes : dict
        Fields of `moe_lessons.config.ModelConfig`.
    pairs : Pairs
    weights : dict of str to nested lists
        By their names in `MoETransformer.state_dict()`, without the head, which is the embedding.
    made : dict
        Command, corpus and its checksum, seed, steps, bits per byte, shares of the experts.
    """

    sizes: dict[str, Any]
    pairs: Pairs
    weights: dict[str, Any]
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


def read_safetensors(raw: bytes) -> dict[str, Any]:
    """Read all tensors of a file: eight bytes with the length of a header, the header in JSON, the numbers.

    Returns
    -------
    dict of str to nested lists of float

    Examples
    --------
    >>> header = b'{"a":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]}}'
    >>> read_safetensors(len(header).to_bytes(8, "little") + header + struct.pack("<2e", 0.5, 2))
    {'a': [[0.5], [2.0]]}
    """
    start = 8 + int.from_bytes(raw[:8], "little")
    tensors = {}
    for name, about in json.loads(raw[8:start]).items():
        if name != "__metadata__":
            low, high = (start + offset for offset in about["data_offsets"])
            count = math.prod(about["shape"])
            numbers: Any = struct.unpack(f"<{count}{_FORMATS[about['dtype']]}", raw[low:high])
            for size in reversed(about["shape"][1:]):
                numbers = [numbers[i : i + size] for i in range(0, len(numbers), size)]
            tensors[name] = list(map(list, numbers)) if len(about["shape"]) == 2 else list(numbers)
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
    >>> len(read(small().pairs.encode("two words"), 0).logits_TE[0])
    8
    """
    beginnings = [tokens[: t + 1] for t in range(len(tokens))]
    for earlier in range(layer):
        for beginning in beginnings:  # in this order nothing calls itself more than a step deep
            step(beginning, earlier)
    steps = [step(beginning, layer) for beginning in beginnings]
    return Read(tuple(one.logits_E for one in steps), tuple(one.outputs_ED for one in steps))


class Step(NamedTuple):
    """What one layer computes for the last token of a beginning; ``after_D`` is what the next layer gets."""

    keys_GP: Matrix
    values_GP: Matrix
    logits_E: Vector
    outputs_ED: Matrix
    after_D: Vector


@lru_cache(maxsize=1024)
def step(beginning: tuple[int, ...], layer: int) -> Step:
    """Compute one layer for the last token of a beginning of the sentence."""
    model = small()
    into_D = step(beginning, layer - 1).after_D if layer else model.weights["embedding.weight"][beginning[-1]]
    keys_GP, values_GP, stream_D = _attended(model, into_D, beginning, layer)
    logits_E, outputs_ED = _experts(model, stream_D, layer)
    ids_K, weights_K = choose(logits_E, model.top_k)
    brought_D = weighted_sum(weights_K, [outputs_ED[e] for e in ids_K])
    after_D = [a + b for a, b in zip(stream_D, brought_D, strict=True)]
    return Step(keys_GP, values_GP, logits_E, outputs_ED, after_D)


def choose(logits_E: Vector, k: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Take the K largest logits of a token, largest first, and turn them into weights that sum to 1.

    Examples
    --------
    >>> ids_K, weights_K = choose([math.log(3), math.log(1), math.log(2)], 2)
    >>> ids_K, [round(weight, 9) for weight in weights_K]
    ((0, 2), [0.6, 0.4])
    """
    ids_K = tuple(sorted(range(len(logits_E)), key=logits_E.__getitem__, reverse=True)[:k])
    return ids_K, softmax([logits_E[e] for e in ids_K])


def softmax(logits: Vector) -> tuple[float, ...]:
    """Softmax of a row.

    Examples
    --------
    >>> softmax([0.0, 0.0])
    (0.5, 0.5)
    """
    highest = max(logits)
    exps = [math.exp(logit - highest) for logit in logits]
    total = math.fsum(exps)
    return tuple([one / total for one in exps])


def weighted_sum(weights: Vector, rows: Matrix) -> list[float]:
    """Add rows up, each times its weight.

    Examples
    --------
    >>> weighted_sum([2.0, 1.0], [[1.0, 0.0], [0.0, 3.0]])
    [2.0, 3.0]
    """
    return [sum(map(mul, weights, column)) for column in zip(*rows, strict=True)]


def _times(matrix: Matrix, vector_D: Vector) -> list[float]:
    return [sum(map(mul, row, vector_D)) for row in matrix]


def _normed(model: Small, stream_D: Vector, name: str) -> list[float]:
    mean = sum(map(mul, stream_D, stream_D)) / len(stream_D)
    less = 1 / math.sqrt(mean + model.sizes["norm_eps"])
    return [
        one * less * weight for one, weight in zip(stream_D, model.weights[f"{name}.weight"], strict=True)
    ]


def _attended(
    model: Small, stream_D: Vector, beginning: tuple[int, ...], layer: int
) -> tuple[Matrix, Matrix, Vector]:
    """Add what attention brings: the token looks at itself and those before it. Key and value come first."""
    block, H, G = f"blocks.{layer}", model.sizes["n_heads"], model.sizes["n_kv_heads"]
    hidden_D = _normed(model, stream_D, f"{block}.attention_norm")
    at, P = len(beginning) - 1, len(stream_D) // H

    def heads(name: str) -> list[list[float]]:
        row = _times(model.weights[f"{block}.attention.{name}.weight"], hidden_D)
        return [row[i : i + P] for i in range(0, len(row), P)]

    turn = _turn(at, P, model.sizes["rope_theta"])
    queries_HP = [_rotated(head, turn) for head in heads("q_proj")]
    keys_GP, values_GP = [_rotated(head, turn) for head in heads("k_proj")], heads("v_proj")
    before = [step(beginning[: t + 1], layer) for t in range(at)]
    joined_D: list[float] = []
    for h, query_P in enumerate(queries_HP):
        g = h * G // H
        keys_TP = [one.keys_GP[g] for one in before] + [keys_GP[g]]
        values_TP = [one.values_GP[g] for one in before] + [values_GP[g]]
        looks_T = softmax([score / math.sqrt(P) for score in _times(keys_TP, query_P)])
        joined_D += weighted_sum(looks_T, values_TP)
    brought_D = _times(model.weights[f"{block}.attention.o_proj.weight"], joined_D)
    return keys_GP, values_GP, [a + b for a, b in zip(stream_D, brought_D, strict=True)]


@lru_cache(maxsize=64)
def _turn(at: int, width: int, theta: float) -> tuple[tuple[float, float], ...]:
    """Cosine and sine of a position's angle, for each pair of a head."""
    angles = [at * theta ** (-2 * i / width) for i in range(width // 2)]
    return tuple((math.cos(angle), math.sin(angle)) for angle in angles)


def _rotated(head_P: list[float], turn: tuple[tuple[float, float], ...]) -> list[float]:
    """Turn each pair (i, i + P/2) by the angle of its position."""
    half = len(turn)
    pairs = list(zip(head_P[:half], head_P[half:], turn, strict=True))
    return [a * c - b * s for a, b, (c, s) in pairs] + [b * c + a * s for a, b, (c, s) in pairs]


def _experts(model: Small, stream_D: Vector, layer: int) -> tuple[Vector, Matrix]:
    """Score the experts, and let every one of them answer: a picture may ask for any K."""
    moe = f"blocks.{layer}.moe"
    hidden_D = _normed(model, stream_D, f"blocks.{layer}.moe_norm")
    logits_E, outputs_ED = _times(model.weights[f"{moe}.router.weight"], hidden_D), []
    ups, downs = model.weights[f"{moe}.experts.gate_up_proj"], model.weights[f"{moe}.experts.down_proj"]
    for gate_up, down in zip(ups, downs, strict=True):
        both = _times(gate_up, hidden_D)
        half = len(both) // 2
        inner_F = [g / (1 + math.exp(-g)) * up for g, up in zip(both[:half], both[half:], strict=True)]
        outputs_ED.append(_times(down, inner_F))
    return logits_E, outputs_ED
