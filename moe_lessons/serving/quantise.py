"""Weights in a few bits: rounded to whole numbers, with a scale for each group of inputs."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.experts import SwiGLUExperts
from moe_lessons.model import MoETransformer

GROUP = 32  # inputs that share a scale, as in MXFP4 and in llama.cpp's formats
SCALE_BITS = 16
LEAST, MOST = 2, 8  # bits
AS_IT_IS = 16  # so many bits or more: a weight is left alone


class Quantised(NamedTuple):
    """Whole numbers and what one of them is worth.

    Attributes
    ----------
    codes : Tensor, int8, of the weight's shape (..., D)
        -top to top, where top is 2^(bits - 1) - 1.
    scales : Tensor, float16, of shape (..., D / group)
        Scales are rounded to 16 bits before codes are made, so that codes fit the scales that are kept.
    bits : int
    """

    codes: Tensor
    scales: Tensor
    bits: int

    def dequantise(self) -> Tensor:
        """Return the weights that codes and scales stand for, float32, of the codes' shape."""
        groups = self.codes.unflatten(-1, (self.scales.shape[-1], -1)).float()
        return (groups * self.scales.float().unsqueeze(-1)).flatten(-2)

    @property
    def n_bytes(self) -> float:
        """Bytes of codes and scales, packed as tightly as their bits allow."""
        return (self.codes.numel() * self.bits + self.scales.numel() * SCALE_BITS) / 8


def quantise(weight: Tensor, bits: int, group: int | None = GROUP) -> Quantised:
    """Round weights to the nearest of 2^bits - 1 evenly spaced numbers, symmetric about zero.

    The largest magnitude of a group gets the largest code, so zero stays zero and nothing is cut off.

    Parameters
    ----------
    weight : Tensor of shape (..., D)
        The last axis are a matrix' inputs.
    bits : int
        2 to 8.
    group : int or None
        Inputs that share a scale; None is one scale a row.

    Returns
    -------
    Quantised

    Raises
    ------
    ValueError
        If bits are outside 2 to 8, the group does not divide D, or a weight is not finite or too large for a
        16-bit scale.

    References
    ----------
    Dettmers et al., "LLM.int8()", arXiv:2208.07339, section 2 (absmax); Dettmers and Zettlemoyer, "The case
    for 4-bit precision", arXiv:2212.09720, section 2.2 (blocks).

    Examples
    --------
    >>> packed = quantise(torch.tensor([[0.0, -7.0, 3.4, 0.5]]), bits=4, group=2)
    >>> packed.codes, packed.scales
    (tensor([[ 0, -7,  7,  1]], dtype=torch.int8), tensor([[1.0000, 0.4856]], dtype=torch.float16))
    >>> packed.dequantise()
    tensor([[ 0.0000, -7.0000,  3.3992,  0.4856]])
    """
    if not LEAST <= bits <= MOST:
        raise ValueError(f"bits={bits}: choose {LEAST} to {MOST}")
    d_in = weight.shape[-1] if weight.dim() else 0
    size = d_in if group is None else group
    if size < 1 or d_in % size:
        raise ValueError(f"group={group}: choose a divisor of the {d_in} inputs of a row")
    groups = weight.detach().float().unflatten(-1, (-1, size))
    top = 2 ** (bits - 1) - 1
    scales = (groups.abs().amax(-1) / top).half()
    if not scales.isfinite().all():
        raise ValueError("weight is not finite, or too large for a 16-bit scale: look at it before it is cut")
    kept = scales.float().unsqueeze(-1)
    codes = (groups / torch.where(kept > 0, kept, 1.0)).round().clamp(-top, top)
    codes = torch.where(kept > 0, codes, 0.0)  # a scale too small for 16 bits
    return Quantised(codes.to(torch.int8).flatten(-2), scales, bits)


def bits_per_weight(bits: int, group: int = GROUP) -> float:
    """Bits that a weight takes with its share of a scale.

    Examples
    --------
    >>> bits_per_weight(4, 32), bits_per_weight(8, 128)
    (4.5, 8.125)
    """
    if group < 1:
        raise ValueError(f"group={group}: choose 1 or more")
    return bits + SCALE_BITS / group


def relative_error(weight: Tensor, other: Tensor) -> float:
    """How far another matrix is from a weight, as a share of the weight's own size (Frobenius norms).

    Examples
    --------
    >>> relative_error(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0]))
    0.2
    """
    truth = weight.detach().double()
    distance = torch.linalg.vector_norm(other.detach().double() - truth)
    return float(distance / torch.linalg.vector_norm(truth))


Bits = int | Sequence[int] | Sequence[Sequence[int]]


def bits_by_expert(model: MoETransformer, bits_LE: Bits) -> list[list[int]]:
    """Write out how many bits each expert of each layer gets: one number may stand for all.

    Raises
    ------
    ValueError
        If the lists do not fit the model's layers and experts, or a number of bits is neither 2 to 8 nor
        16 or more, which leaves an expert as it is.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> sizes = ModelConfig(n_layers=2, d_model=16, n_heads=2, d_expert=8, n_experts=3, top_k=1)
    >>> bits_by_expert(MoETransformer(sizes), 4)
    [[4, 4, 4], [4, 4, 4]]
    """
    layers = model.moe_layers
    n_experts = layers[0].spec.n_experts if layers else 0
    if isinstance(bits_LE, int):
        rows = [[bits_LE] * n_experts for _ in layers]
    else:
        rows = [[row] * n_experts if isinstance(row, int) else list(row) for row in bits_LE]
    if len(rows) != len(layers) or any(len(row) != n_experts for row in rows):
        raise ValueError(
            f"bits_LE has {[len(row) for row in rows]} numbers by layer: give one number, or {n_experts} for "
            f"each of {len(layers)} layers"
        )
    for bits in {bits for row in rows for bits in row}:
        if not (LEAST <= bits <= MOST or bits >= AS_IT_IS):
            raise ValueError(f"bits={bits}: choose {LEAST} to {MOST}, or {AS_IT_IS} for an expert as it is")
    return rows


def quantised_model(model: MoETransformer, bits_LE: Bits, group: int | None = GROUP) -> MoETransformer:
    """Copy a model and give its experts the values that they would have in fewer bits.

    Weights are stored as before: this shows what the bits cost in accuracy, not in memory.

    Parameters
    ----------
    model : MoETransformer
        Of SwiGLU experts.
    bits_LE : int, or nested list of int of shape (L, E)
        For all experts, or for each of each layer; 16 or more leaves an expert as it is.
    group : int or None
        See `quantise`.

    Returns
    -------
    MoETransformer

    Raises
    ------
    ValueError
        If bits or group do not fit.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=1, d_model=32, n_heads=2, d_expert=32, n_experts=2))
    >>> before, after = (m.moe_layers[0].experts.down_proj for m in (model, quantised_model(model, 8)))
    >>> 0 < relative_error(before, after) < 0.01
    True
    """
    rows = bits_by_expert(model, bits_LE)
    smaller = copy.deepcopy(model)
    with torch.no_grad():
        for layer, row in zip(smaller.moe_layers, rows, strict=True):
            assert isinstance(layer.experts, SwiGLUExperts)
            for bank in (layer.experts.gate_up_proj, layer.experts.down_proj):
                for expert, bits in enumerate(row):
                    if bits < AS_IT_IS:
                        bank[expert] = quantise(bank[expert], bits, group).dequantise()
    return smaller
