"""The matrix products of the fused path, written where they belong, by the faster library at hand."""

from functools import cache

import torch
from torch import Tensor

from moe_lessons.device import cpu_name

# oneDNN prepares code for each size that it has not met lately, in 0.1 to 0.25 ms. Loads differ at every
# step, so whole blocks of rows go to it, which come in few sizes, and what is left over goes to MKL.
BLOCK_ROWS = 16
ONEDNN_MULTIPLICATIONS = 2**21


def product(rows_NM: Tensor, matrix_MP: Tensor, out_NP: Tensor) -> None:
    """Write an expert's rows times its matrix into `out_NP`.

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
    blocks = rows_for_onednn(rows_NM, matrix_MP.numel())
    if blocks:
        out_NP[:blocks] = onednn_linear(rows_NM[:blocks], matrix_MP.t())
    if blocks < len(rows_NM):
        torch.mm(rows_NM[blocks:], matrix_MP, out=out_NP[blocks:])


def product_over_rows(left_NM: Tensor, right_NP: Tensor, out_MP: Tensor) -> None:
    """Write left.T @ right into `out_MP`: the gradient of a matrix, summed over its expert's rows.

    Examples
    --------
    >>> out = torch.empty(1, 1)
    >>> product_over_rows(torch.tensor([[2.0], [3.0]]), torch.tensor([[1.0], [10.0]]), out)
    >>> out
    tensor([[32.]])
    """
    blocks = rows_for_onednn(left_NM, out_MP.numel())
    if blocks == 0:
        torch.mm(left_NM.t(), right_NP, out=out_MP)
        return
    out_MP.copy_(onednn_linear(left_NM[:blocks].t(), right_NP[:blocks].t()))
    if blocks < len(left_NM):
        out_MP.addmm_(left_NM[blocks:].t(), right_NP[blocks:])


def rows_for_onednn(rows_NM: Tensor, multiplications_per_row: int) -> int:
    """Return how many rows, the first of them, are multiplied by oneDNN: whole blocks, or none."""
    blocks = len(rows_NM) // BLOCK_ROWS * BLOCK_ROWS
    if rows_NM.dtype is not torch.float32 or blocks * multiplications_per_row < ONEDNN_MULTIPLICATIONS:
        return 0
    return blocks if rows_NM.device.type == "cpu" and onednn_is_faster() else 0


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
