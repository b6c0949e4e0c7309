"""Whether the kernels can run here, and the one function that uses them where they can."""

import importlib.util
import warnings

import torch
from torch import Tensor

from moe_lessons.dispatch import moe_grouped
from moe_lessons.dispatch.arguments import check_ids, check_shapes, compute_dtype
from moe_lessons.kernels.mode import LOWEST_CAPABILITY, interpreting

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def triton_supported(hidden_TD: Tensor) -> tuple[bool, str]:
    """Say whether `moe_triton` runs Triton kernels on such a tensor and, if not, why not.

    Parameters
    ----------
    hidden_TD : Tensor
        Its device and dtype decide; under autocast, the dtype that autocast would give it.

    Returns
    -------
    (bool, str)
        The reason is one line, empty if all is well.

    Examples
    --------
    >>> triton_supported(torch.ones(1, 1, dtype=torch.float64))
    (False, 'Triton kernels compute in fp32, bf16 and fp16, not in float64')
    """
    device = hidden_TD.device
    if device.type not in ("cpu", "cuda"):
        return False, f"Triton kernels run on CUDA GPUs, not on {device.type}"
    dtype = compute_dtype(hidden_TD)
    if dtype not in DTYPES:
        return False, f"Triton kernels compute in fp32, bf16 and fp16, not in {str(dtype).split('.')[-1]}"
    if importlib.util.find_spec("triton") is None:
        return False, "Triton is not installed: it exists for Linux only"
    if device.type == "cpu":
        if interpreting():
            return True, ""
        return False, "Triton kernels run on a GPU, or on a CPU with TRITON_INTERPRET=1 set before the start"
    if interpreting():
        return False, "Triton is in interpreter mode (TRITON_INTERPRET is set): it would leave the GPU idle"
    name, (major, minor) = _gpu(device)
    if (major, minor) < LOWEST_CAPABILITY:
        return False, f"Triton needs compute capability 8.0, and {name} has {major}.{minor}"
    return True, ""


def _gpu(device: torch.device) -> tuple[str, tuple[int, int]]:
    return torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)


# torch.compile takes the answer as a constant. `torch.compiler.assume_constant_result` sets just this, but
# imports Triton, and then it is too late for `kernel_device`.
_gpu._dynamo_marked_constant = True  # type: ignore[attr-defined]


def moe_triton(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> Tensor:
    """Sum each token's chosen experts in six Triton kernels, forward and backward.

    The host is never asked how many tokens an expert has, so the call can be captured in a CUDA graph; no
    floating-point number is added by two programs, so results repeat bit for bit. Where `triton_supported`
    says no, one warning gives the reason and `moe_grouped` does the work.

    Parameters
    ----------
    hidden_TD : Tensor of shape (T, D)
    topk_ids_TK : integer Tensor of shape (T, K)
        Expert ids, 0 to E - 1. On a GPU they are trusted: looking at them would stop the host.
    topk_weights_TK : Tensor of shape (T, K)
    gate_up_proj : Tensor of shape (E, 2F, D)
    down_proj : Tensor of shape (E, D, F)
        Tensors that are not contiguous are copied first.

    Returns
    -------
    Tensor of shape (T, D), dtype of `hidden_TD`

    Raises
    ------
    ValueError
        If the shapes do not fit together, or an id in a CPU tensor is outside 0..E-1.

    References
    ----------
    Guo et al., SonicMoE, arXiv 2512.14080: the dataflow, and what need not be saved for the backward pass.

    Examples
    --------
    >>> hidden_TD, ids_TK, weights_TK = torch.ones(1, 1), torch.tensor([[1]]), torch.tensor([[0.5]])
    >>> gate_up_proj, down_proj = torch.tensor([[[50.0], [1.0]], [[50.0], [2.0]]]), torch.ones(2, 1, 1)
    >>> moe_triton(hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj)  # doctest: +SKIP
    tensor([[50.]])
    """
    check_shapes(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    check_ids(topk_ids_TK, down_proj.shape[0])
    supported, reason = triton_supported(hidden_TD)
    if not supported:
        warnings.warn(f"moe_triton is moe_grouped here: {reason}", stacklevel=2)
        return moe_grouped(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    if topk_ids_TK.numel() == 0:  # no row to launch a kernel for, but gradients are to be 0, not missing
        return moe_grouped(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    from moe_lessons.kernels.moe import moe_forward

    dtype = compute_dtype(hidden_TD)
    differentiable = (hidden_TD, topk_weights_TK, gate_up_proj, down_proj)
    output_TD, *_ = moe_forward(
        hidden_TD.to(dtype).contiguous(),
        topk_ids_TK.contiguous(),
        topk_weights_TK.contiguous(),
        gate_up_proj.to(dtype).contiguous(),
        down_proj.to(dtype).contiguous(),
        training=torch.is_grad_enabled() and any(tensor.requires_grad for tensor in differentiable),
    )
    return output_TD.to(hidden_TD.dtype)
