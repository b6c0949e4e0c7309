"""What every path asks of its arguments, and the dtype it computes in."""

import torch
from torch import Tensor


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


def check_ids(topk_ids_TK: Tensor, n_experts: int) -> None:
    """Refuse expert ids outside 0..E-1, looked at in CPU tensors only.

    Examples
    --------
    >>> check_ids(torch.tensor([[0, 3]]), 3)
    Traceback (most recent call last):
    ValueError: topk_ids_TK runs from 0 to 3 with 3 experts: keep ids in 0..2
    """
    on_host = topk_ids_TK.device.type == "cpu" and not torch.compiler.is_compiling()
    if not on_host or topk_ids_TK.numel() == 0:
        return
    lowest, highest = (int(bound) for bound in torch.aminmax(topk_ids_TK))
    if lowest < 0 or highest >= n_experts:
        raise ValueError(
            f"topk_ids_TK runs from {lowest} to {highest} with {n_experts} experts: "
            f"keep ids in 0..{n_experts - 1}"
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


def traced() -> bool:
    """Say whether tensors may stand for others: under `torch.compile`, or in a transform of `torch.func`.

    Examples
    --------
    >>> traced()
    False
    """
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
