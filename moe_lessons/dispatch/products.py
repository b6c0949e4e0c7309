"""The matrix products of the fused path, written where they belong, by the faster library at hand."""

from functools import cache

import torch
from torch import Tensor

from moe_lessons.device import cpu_name

# Below, what oneDNN saves is less than what it takes to start it.
ONEDNN_ROWS, ONEDNN_MULTIPLICATIONS = 16, 2**21


def product(left_MN: Tensor, right_NP: Tensor, out_MP: Tensor) -> None:
    """Write left @ right into `out_MP`, without a copy of either.

    In fp32 PyTorch multiplies with MKL, which on AMD processors was measured at half the speed of oneDNN
    (115 and 250 GFLOP/s on one core of an EPYC with AVX-512). PyTorch ships both: where `onednn_is_faster`,
    the larger products go to oneDNN.

    Examples
    --------
    >>> out = torch.empty(1, 1)
    >>> product(torch.tensor([[2.0, 3.0]]), torch.tensor([[1.0], [10.0]]), out)
    >>> out
    tensor([[32.]])
    """
    if left_MN.dtype is torch.float32 and left_MN.device.type == "cpu" and onednn_is_faster():
        few = min(left_MN.shape) < ONEDNN_ROWS  # rows, or the rows summed over
        if not few and left_MN.numel() * right_NP.shape[1] >= ONEDNN_MULTIPLICATIONS:
            out_MP.copy_(onednn_linear(left_MN, right_NP.t()))
            return
    torch.mm(left_MN, right_NP, out=out_MP)


def prepares_code(dtype: torch.dtype, device: torch.device) -> bool:
    """Say whether `product` meets oneDNN, which prepares code for each new size.

    16-bit types go there on every CPU, fp32 where `onednn_is_faster`.

    Examples
    --------
    >>> prepares_code(torch.bfloat16, torch.device("cpu")), prepares_code(torch.float64, torch.device("cpu"))
    (True, False)
    """
    if device.type != "cpu":
        return False
    return dtype.itemsize == 2 or (dtype is torch.float32 and onednn_is_faster())


def onednn_linear(x_MN: Tensor, weight_PN: Tensor) -> Tensor:
    """Return x @ weight.T from oneDNN, which PyTorch gives no public way to for dense fp32 tensors.

    The operator is the one that PyTorch's compiler emits.
    """
    return torch.ops.mkldnn._linear_pointwise.default(x_MN, weight_PN, None, "none", [], "")


@cache
def onednn_is_faster() -> bool:
    """Say whether fp32 products should go to oneDNN: on AMD with AVX-512, if it is there and right."""
    if "AMD" not in cpu_name() or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    x_MN = torch.linspace(-1, 1, 35).view(7, 5).t()  # strided, as transposed operands are
    weight_PN = torch.linspace(1, 2, 21).view(7, 3).t()
    try:
        return torch.allclose(onednn_linear(x_MN, weight_PN), x_MN @ weight_PN.t(), atol=1e-5)
    except (AttributeError, RuntimeError):
        return False
