"""The matrix products of the fused path, written where they belong, by the faster library at hand."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from moe_lessons.device import cpu_name

# oneDNN prepares code for every number of rows it has not met yet, which costs 0.1 to 0.25 ms; below so many
# multiplications it doesn't win that back.
ONEDNN_MULTIPLICATIONS = 2**25


def product(left_MN: Tensor, right_NP: Tensor, out_MP: Tensor) -> None:
    """Write left @ right into `out_MP`, without a copy of either.

    In fp32 PyTorch multiplies with MKL, which on AMD processors was measured at half the speed of oneDNN
    (115 and 250 GFLOP/s on one core of an EPYC with AVX-512). PyTorch ships both; large products go to
    oneDNN on such machines.

    Examples
    --------
    >>> out = torch.empty(1, 1)
    >>> product(torch.tensor([[2.0, 3.0]]), torch.tensor([[1.0], [10.0]]), out)
    >>> out
    tensor([[32.]])
    """
    if left_MN.dtype is torch.float32 and left_MN.numel() * right_NP.shape[1] >= ONEDNN_MULTIPLICATIONS:
        onednn = onednn_fp32() if left_MN.device.type == "cpu" else None
        if onednn is not None:
            out_MP.copy_(onednn(left_MN, right_NP.t()))
            return
    torch.mm(left_MN, right_NP, out=out_MP)


@cache
def onednn_fp32() -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return oneDNN's x @ weight.T for fp32 where it is worth calling, else None.

    PyTorch has no public way to it for dense tensors: the operator is the one that its compiler emits. So it
    is used on AMD processors with AVX-512 only, and after a look at what it computes.
    """
    if "AMD" not in cpu_name() or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return None
    try:
        operator = torch.ops.mkldnn._linear_pointwise.default

        def linear(x_MN: Tensor, weight_PN: Tensor) -> Tensor:
            return operator(x_MN, weight_PN, None, "none", [], "")

        x_MN = torch.linspace(-1, 1, 35).view(7, 5).t()  # strided, as transposed operands are
        weight_PN = torch.linspace(1, 2, 21).view(7, 3).t()
        right = torch.allclose(linear(x_MN, weight_PN), x_MN @ weight_PN.t(), atol=1e-5)
    except (AttributeError, RuntimeError):
        return None
    return linear if right else None
