"""A trained model that comes with the package: 32 small experts in each of 4 layers, 4 for each byte.

`benchmarks/fine32.py` trained and wrote it, on equal parts of English, source code and names of characters.
Experts are stored in int8 with a scale for each 32 inputs, all else in bf16: a quarter of fp32's bytes.
"""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from moe_lessons.config import ModelConfig
from moe_lessons.data import as_tokens, language_reference, standard_library
from moe_lessons.model import MoETransformer
from moe_lessons.model.attention import rotary_tables
from moe_lessons.serving.quantise import Quantised, quantise

TEXT_BYTES, HELD_OUT = 360_000, 16_384  # of each kind of text, and how many of them, the last, are held out
EXPERTS = ("experts.gate_up_proj", "experts.down_proj")
CODES, SCALES, NAMES = ".codes", ".scales", "held_out.names"
BITS = 8


def pack(model: MoETransformer, names_N: Tensor) -> bytes:
    """Write a model and the held-out names as the bytes of a safetensors file.

    Parameters
    ----------
    model : MoETransformer
    names_N : Tensor of shape (N,), uint8
        The one held-out text that depends on which characters a Python knows.
    """
    tensors = {NAMES: names_N.to(torch.uint8)}
    for name, weight in model.state_dict().items():
        if name.endswith(EXPERTS):
            packed = quantise(weight, BITS)
            tensors |= {name + CODES: packed.codes, name + SCALES: packed.scales}
        else:
            tensors[name] = weight.to(torch.bfloat16)
    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def unpack(tensors: dict[str, Tensor], config: ModelConfig) -> MoETransformer:
    """Build the model that packed tensors hold, in float32 and evaluation mode."""
    state = {name: tensor.float() for name, tensor in tensors.items() if not name.endswith((CODES, SCALES))}
    state.pop(NAMES, None)
    for name in tensors:
        if name.endswith(CODES):
            whole = name.removesuffix(CODES)
            state[whole] = Quantised(tensors[name], tensors[whole + SCALES], BITS).dequantise()
    with torch.device("meta"):
        model = MoETransformer(config)
    model.cos_LP, model.sin_LP = rotary_tables(config.context_length, config.d_head, config.rope_theta)
    model.load_state_dict(state, assign=True)
    return model.eval()


def load_fine32() -> MoETransformer:
    """Load the model; each call returns one of its own.

    Returns
    -------
    MoETransformer
        Of bytes, in float32 and evaluation mode: 4 layers, D = 128, E = 32, K = 4, F = 64, a context of 128.

    Raises
    ------
    ValueError
        If its file is missing, or not the one that was committed.

    Examples
    --------
    >>> from moe_lessons.model import parameter_counts
    >>> parameter_counts(load_fine32())
    (3425408, 672896)
    """
    return unpack(_stored(), ModelConfig(**facts()["config"]["model"]))


def held_out() -> dict[str, Tensor]:
    """Return text of each kind that the model has not seen: 16,384 bytes each, int64.

    Examples
    --------
    >>> texts = held_out()
    >>> list(texts), bytes(texts["names"][:18].tolist())
    (['English', 'code', 'names'], b'yllable po\\nvai syl')
    """
    kinds: dict[str, Callable[[], bytes]] = {"English": language_reference, "code": standard_library}
    texts = {kind: as_tokens(read()[:TEXT_BYTES][-HELD_OUT:]).long() for kind, read in kinds.items()}
    return {**texts, "names": _stored()[NAMES].long()}


def facts() -> dict[str, Any]:
    """Return what is on record about the model: its settings, its bits per byte, how long it took to train.

    Examples
    --------
    >>> facts()["about"]["script"]
    'benchmarks/fine32.py'
    """
    record: dict[str, Any] = json.loads(
        (files("moe_lessons") / "results" / "fine32.json").read_text(encoding="utf-8")
    )
    return record


@cache
def _stored() -> dict[str, Tensor]:
    try:
        raw = (files("moe_lessons") / "results" / "fine32.safetensors").read_bytes()
    except OSError as error:
        raise ValueError(f"fine32.safetensors cannot be read ({error}): install moe-lessons again") from error
    return checked(raw, facts()["sha256"])


def checked(raw: bytes, sha256: str) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file whose checksum is known.

    Raises
    ------
    ValueError
        If it has another.

    Examples
    --------
    >>> checked(b"damaged", "0" * 64)
    Traceback (most recent call last):
        ...
    ValueError: fine32.safetensors does not match its checksum: install moe-lessons again
    """
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise ValueError("fine32.safetensors does not match its checksum: install moe-lessons again")
    return load(raw)
