"""What every path asks of its arguments, and the dtype it computes in."""

import torch
from torch import Tensor

from moe_lessons.routing.base import check_ids, traced, transformed

__all__ = ["check_ids", "check_shapes", "compute_dtype", "traced", "transformed"]


def check_shapes(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> None:
    """Refuse arguments whose shapes do not fit together.

    Examples
    --------
    >>> ids_TK = torch.zeros(3, 1, dtype=torch.int64)
    >>> check_shapes(torch.ones(2, 1), ids_TK, torch.ones(3, 1), torch.ones(1, 2, 1), torch.ones(1, 1, 1))
    Traceback (most recent call last):
    ValueError: hidden_TD has shape (2, 1): topk_ids_TK (3, 1) and down_proj (1, 1, 1) ask for (3, 1)
    """
    n_experts, d_model, d_expert = down_proj.shape
    expected = {
        "hidden_TD": (hidden_TD, (topk_ids_TK.shape[0], d_model)),
        "topk_weights_TK": (topk_weights_TK, tuple(topk_ids_TK.shape)),
        "gate_up_proj": (gate_up_proj, (n_experts, 2 * d_expert, d_model)),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}: topk_ids_TK {tuple(topk_ids_TK.shape)} and "
                f"down_proj {tuple(down_proj.shape)} ask for {shape}"
            )


def compute_dtype(hidden_TD: Tensor) -> torch.dtype:
    """Return the dtype of the products: the input's, or autocast's where it is on.

    Examples
    --------
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     compute_dtype(torch.ones(1, 1))
    torch.bfloat16
    """
    device_type = hidden_TD.device.type
    # Autocast knows linear layers, but no grouped product and none that writes into given memory.
    if torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type)
    return hidden_TD.dtype
