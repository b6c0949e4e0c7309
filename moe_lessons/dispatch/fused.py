"""The experts with forward and backward by hand, as the paths "fused" and "padded"."""

import torch
from torch import Tensor

from moe_lessons.dispatch.arguments import check_shapes, compute_dtype, transformed
from moe_lessons.dispatch.by_hand import FusedExperts, fused_output, lay_out
from moe_lessons.dispatch.loops import moe_unbind
from moe_lessons.dispatch.operators import fused_forward
from moe_lessons.dispatch.plan import Plan


def moe_fused(
    hidden_TD: Tensor,
    topk_ids_TK: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    plan: Plan | None = None,
) -> Tensor:
    """Sort rows by expert and run the experts one after the other, in pieces that fit the cache.

    Forward and backward are written by hand: see this module's first lines. Any dtype and shape; idle experts
    cost nothing. Where gradients of gradients are asked for, `moe_unbind` gives them.

    Parameters, returns and errors are those of `moe_loop`; `plan` spares the sort where it is done already.

    Examples
    --------
    >>> hidden_TD, ids_TK, weights_TK = torch.ones(1, 1), torch.tensor([[1]]), torch.tensor([[0.5]])
    >>> gate_up_proj, down_proj = torch.tensor([[[50.0], [1.0]], [[50.0], [2.0]]]), torch.ones(2, 1, 1)
    >>> moe_fused(hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj)  # half of silu(50) * 2
    tensor([[50.]])
    """
    return run_fused(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj, plan)


def moe_padded(
    hidden_TD: Tensor,
    topk_ids_TK: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    plan: Plan | None = None,
) -> Tensor:
    """Give every expert as many rows as the busiest needs, and run all of them in batched products.

    Few calls, but zeros are multiplied too: good for small experts with even loads. Forward and backward are
    those of `moe_fused`.

    Parameters, returns and errors are those of `moe_loop`; `plan` spares the sort where it is done already.

    Examples
    --------
    >>> hidden_TD, ids_TK, weights_TK = torch.ones(1, 1), torch.tensor([[1]]), torch.tensor([[0.5]])
    >>> gate_up_proj, down_proj = torch.tensor([[[50.0], [1.0]], [[50.0], [2.0]]]), torch.ones(2, 1, 1)
    >>> moe_padded(hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj)
    tensor([[50.]])
    """
    return run_fused(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj, plan, padded=True)


def run_fused(
    hidden_TD: Tensor,
    topk_ids_TK: Tensor,
    topk_weights_TK: Tensor,
    gate_up_proj: Tensor,
    down_proj: Tensor,
    plan: Plan | None,
    *,
    padded: bool = False,
) -> Tensor:
    """Lay out the rows and run the experts; for `torch.compile` both are one operator, whatever the rooms."""
    check_shapes(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    if topk_ids_TK.numel() == 0 or transformed():
        return moe_unbind(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    dtype = compute_dtype(hidden_TD)
    inputs = [
        hidden_TD.to(dtype).contiguous(),
        topk_weights_TK,
        gate_up_proj.to(dtype).contiguous(),
        down_proj.to(dtype).contiguous(),
    ]
    training = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    if torch.compiler.is_compiling():
        output_TD, _ = fused_forward(*inputs, topk_ids_TK, training)
        return output_TD.to(hidden_TD.dtype)
    rooms = lay_out(inputs, topk_ids_TK, padded=padded, plan=plan)
    if training:
        output_TD = FusedExperts.apply(*inputs, topk_ids_TK, rooms)
    else:
        output_TD, _ = fused_output(inputs, rooms, n_kept=0)
    return output_TD.to(hidden_TD.dtype)
