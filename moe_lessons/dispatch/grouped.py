"""All experts in two grouped matrix products: what PyTorch offers for this, on CPU and GPU."""

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.dispatch.arguments import check_shapes, compute_dtype
from moe_lessons.dispatch.loops import moe_unbind
from moe_lessons.dispatch.plan import Plan, combine, gather_slots, permutation_plan
from moe_lessons.experts import swiglu_activation

GROUPED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)  # F.grouped_mm rejects fp64
GROUPED_ALIGNMENT_BYTES = 16


def moe_grouped(
    hidden_TD: Tensor,
    topk_ids_TK: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    plan: Plan | None = None,
) -> Tensor:
    """Sort rows by expert and run all experts in two grouped matrix products, with no wait for the host.

    Where `grouped_supported` says no (fp64, widths off the 16-byte alignment), it is `moe_unbind`.

    Parameters, returns and errors are those of `moe_loop`; `plan` spares the sort where it is done already.

    Examples
    --------
    >>> hidden_TD, ids_TK, weights_TK = torch.ones(1, 4), torch.tensor([[1]]), torch.tensor([[2.0]])
    >>> gate_up_proj = torch.full((2, 8, 4), 10.0)  # gate = up = 40, and silu(40) is 40 in fp32
    >>> moe_grouped(hidden_TD, ids_TK, weights_TK, gate_up_proj, torch.ones(2, 4, 4))  # 2 * 4 * 1600
    tensor([[12800., 12800., 12800., 12800.]])
    """
    if topk_ids_TK.numel() == 0 or not grouped_supported(hidden_TD, gate_up_proj, down_proj):
        return moe_unbind(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    check_shapes(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    plan = plan or permutation_plan(topk_ids_TK, gate_up_proj.shape[0])
    dtype = compute_dtype(hidden_TD)
    rows_SD = gather_slots(hidden_TD.to(dtype), plan, topk_ids_TK.shape[1])
    # The plan's last end is S, so no row is left uninitialised.
    gate_up_S2F = F.grouped_mm(rows_SD, gate_up_proj.to(dtype).mT, offs=plan.expert_ends_E)
    results_SD = F.grouped_mm(swiglu_activation(gate_up_S2F), down_proj.to(dtype).mT, offs=plan.expert_ends_E)
    return combine(results_SD, topk_weights_TK, plan).to(hidden_TD.dtype)


def grouped_supported(hidden_TD: Tensor, gate_up_proj: Tensor, down_proj: Tensor) -> bool:
    """Say whether `F.grouped_mm` takes these tensors: device, dtype, and rows that start on 16 bytes.

    Examples
    --------
    >>> grouped_supported(torch.ones(3, 8), torch.ones(2, 8, 8), torch.ones(2, 8, 4))
    True
    >>> grouped_supported(torch.ones(3, 7), torch.ones(2, 8, 7), torch.ones(2, 7, 4))
    False
    """
    device = hidden_TD.device
    if device.type not in ("cpu", "cuda"):
        return False
    dtype = compute_dtype(hidden_TD)
    if dtype not in GROUPED_DTYPES:
        return False
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return False
    if torch.compiler.is_compiling() and dtype is not torch.bfloat16:
        return False  # the shape rules that torch.compile uses know bf16 only
    d_model, d_expert = down_proj.shape[-2:]
    if any(width * dtype.itemsize % GROUPED_ALIGNMENT_BYTES for width in (d_model, d_expert)):
        return False
    if not (gate_up_proj.is_contiguous() and down_proj.is_contiguous()):
        return False
    if torch.compiler.is_compiling():  # where a tensor's memory begins is not known yet
        return True
    offsets_bytes = (weight.storage_offset() * weight.itemsize for weight in (gate_up_proj, down_proj))
    return all(offset % GROUPED_ALIGNMENT_BYTES == 0 for offset in offsets_bytes)
