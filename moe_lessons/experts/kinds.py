"""What an expert computes between its two matrices: SwiGLU, and what models in use do instead.

With h = W x + b from the first matrix, split into halves g (gate) and u (up) where the kind is gated, each
kind is one function from h to the row that the second matrix reads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.experts.feed_forward import swiglu_activation

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu2": lambda hidden: F.relu(hidden).square(),
}


@dataclass(frozen=True)
class ExpertKind:
    """One way to fill an expert.

    Parameters
    ----------
    name : str
    equation : str
        In g and u, or in h where there is no gate.
    activation : callable
        From (N, 2F) to (N, F) where `gated`, else from (N, F) to (N, F).
    gated : bool
    bias : bool
        Whether both matrices have one.
    norm_eps : float, optional
        Each expert's output y becomes y' / sqrt(mean(y'^2) + eps) with y' = y times a learned vector that all
        experts share (Muse Spark, `post_norm_eps`).

    Examples
    --------
    >>> SWIGLU.name, SWIGLU.equation
    ('swiglu', 'silu(g) u')
    """

    name: str
    equation: str
    activation: Callable[[Tensor], Tensor]
    gated: bool = True
    bias: bool = False
    norm_eps: float | None = None

    @property
    def is_swiglu(self) -> bool:
        """Whether the quick paths serve it: plain SwiGLU, and nothing more."""
        return self.activation is swiglu_activation and not self.bias and self.norm_eps is None


SWIGLU = ExpertKind("swiglu", "silu(g) u", swiglu_activation)


def gated(act: str, *, bias: bool = False, norm_eps: float | None = None) -> ExpertKind:
    """act(g) u: SwiGLU for "silu", GeGLU for "gelu" and "gelu_tanh" (`hidden_act`).

    Raises
    ------
    ValueError
        If `act` is not a key of `ACTIVATIONS`.

    References
    ----------
    Shazeer, GLU Variants Improve Transformer, arXiv 2002.05202, eq. 5-6.

    Examples
    --------
    >>> gated("relu").activation(torch.tensor([[2.0, 5.0]]))  # g = 2, u = 5
    tensor([[10.]])
    """
    if _known(act) == "silu":
        return ExpertKind("swiglu", "silu(g) u", swiglu_activation, bias=bias, norm_eps=norm_eps)
    return ExpertKind(f"{act}-gated", f"{act}(g) u", partial(_gated, act), bias=bias, norm_eps=norm_eps)


def ungated(act: str, *, bias: bool = False) -> ExpertKind:
    """act(h), without a gate: ReLU in Switch and NLLB-MoE, squared ReLU in Nemotron-3 (`mlp_hidden_act`).

    Raises
    ------
    ValueError
        If `act` is not a key of `ACTIVATIONS`.

    References
    ----------
    So et al., Primer, arXiv 2109.08668, section 3 (squared ReLU).

    Examples
    --------
    >>> ungated("relu2").activation(torch.tensor([[-1.0, 3.0]]))
    tensor([[0., 9.]])
    """
    equation = "relu(h)^2" if act == "relu2" else f"{act}(h)"
    return ExpertKind(f"{_known(act)}, no gate", equation, partial(_ungated, act), gated=False, bias=bias)


def clamped_swiglu(limit: float) -> ExpertKind:
    """silu(min(g, L)) clamp(u, -L, L): DeepSeek-V4, GLM-5-Next and Hunyuan-V4 (`swiglu_limit`).

    Examples
    --------
    >>> clamped_swiglu(10.0).activation(torch.tensor([[99.0, -99.0]]))  # silu(10) is 10 to three digits
    tensor([[-99.9955]])
    """
    name, equation = f"swiglu, clamped at {limit:g}", "silu(min(g, L)) clamp(u, -L, L)"
    return ExpertKind(name, equation, partial(_clamped, limit))


def late_clamped_swiglu(limit: float) -> ExpertKind:
    """min(silu(g), L) clamp(u, -L, L): in Step-3.7 the gate is clamped after its SiLU (`swiglu_limits`).

    Examples
    --------
    >>> late_clamped_swiglu(7.0).activation(torch.tensor([[99.0, -99.0]]))
    tensor([[-49.]])
    """
    name, equation = f"swiglu, clamped at {limit:g} after silu", "min(silu(g), L) clamp(u, -L, L)"
    return ExpertKind(name, equation, partial(_late_clamped, limit))


def offset_swiglu(alpha: float = 1.702, limit: float = 7.0, *, bias: bool = False) -> ExpertKind:
    """(clamp(u, -L, L) + 1) g sigmoid(alpha g) with g = min(gate, L): gpt-oss, MiniMax-M3 (`swiglu_alpha`).

    gpt-oss has biases, MiniMax-M3 has none.

    Examples
    --------
    >>> offset_swiglu(alpha=1e9, limit=7.0).activation(torch.tensor([[99.0, 99.0]]))  # (7 + 1) * 7
    tensor([[56.]])
    """
    name, equation = f"swiglu with up + 1, clamped at {limit:g}", "(clamp(u, -L, L) + 1) g sigmoid(alpha g)"
    return ExpertKind(name, equation, partial(_offset, alpha, limit), bias=bias)


def softcapped_swiglu(gate_cap: float, up_cap: float) -> ExpertKind:
    """cap(g, c) sigmoid(g) cap(u, d) with cap(x, c) = c tanh(x / c): Inkling-2 (`mlp_gate_softcap`).

    Examples
    --------
    >>> softcapped_swiglu(4.0, 25.0).activation(torch.tensor([[99.0, 999.0]]))  # 4 * 1 * 25
    tensor([[100.]])
    """
    equation = "c tanh(g / c) sigmoid(g) d tanh(u / d)"
    return ExpertKind(
        f"swiglu, softcapped at {gate_cap:g} and {up_cap:g}", equation, partial(_softcapped, gate_cap, up_cap)
    )


def _known(act: str) -> str:
    if act not in ACTIVATIONS:
        raise ValueError(f"act is {act!r}: choose one of {', '.join(ACTIVATIONS)}")
    return act


# Functions of the module, not closures: a layer can be pickled.
def _gated(act: str, hidden_N2F: Tensor) -> Tensor:
    gate_NF, up_NF = hidden_N2F.chunk(2, dim=-1)
    return ACTIVATIONS[act](gate_NF) * up_NF


def _ungated(act: str, hidden_NF: Tensor) -> Tensor:
    return ACTIVATIONS[act](hidden_NF)


def _clamped(limit: float, hidden_N2F: Tensor) -> Tensor:
    gate_NF, up_NF = hidden_N2F.chunk(2, dim=-1)
    return F.silu(gate_NF.clamp(max=limit)) * up_NF.clamp(-limit, limit)


def _late_clamped(limit: float, hidden_N2F: Tensor) -> Tensor:
    gate_NF, up_NF = hidden_N2F.chunk(2, dim=-1)
    return F.silu(gate_NF).clamp(max=limit) * up_NF.clamp(-limit, limit)


def _offset(alpha: float, limit: float, hidden_N2F: Tensor) -> Tensor:
    gate_NF, up_NF = hidden_N2F.chunk(2, dim=-1)
    gate_NF = gate_NF.clamp(max=limit)
    return (up_NF.clamp(-limit, limit) + 1) * gate_NF * torch.sigmoid(alpha * gate_NF)


def _softcapped(gate_cap: float, up_cap: float, hidden_N2F: Tensor) -> Tensor:
    gate_NF, up_NF = hidden_N2F.chunk(2, dim=-1)
    capped_NF = gate_cap * torch.tanh(gate_NF / gate_cap) * up_cap * torch.tanh(up_NF / up_cap)
    return capped_NF * torch.sigmoid(gate_NF)
