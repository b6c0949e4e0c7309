"""Linear maps by the faster library at hand: what `torch.nn.functional.linear` computes, gradients too."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moe_lessons.dispatch import products
from moe_lessons.dispatch.arguments import compute_dtype, traced
from moe_lessons.experts import SwiGLU, swiglu_activation


def linear(hidden: Tensor, weight_PN: Tensor) -> Tensor:
    """Return hidden @ weight.T: oneDNN's product where that is faster, `F.linear` everywhere else.

    In fp32 PyTorch multiplies with MKL, which on AMD processors with AVX-512 takes twice as long; see
    `moe_lessons.dispatch.products`. The bits of the two differ, as those of any two libraries do.

    Parameters
    ----------
    hidden : Tensor of shape (..., N)
    weight_PN : Tensor of shape (P, N)

    Returns
    -------
    Tensor of shape (..., P)

    Examples
    --------
    >>> linear(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[11.,  2.]])
    """
    if not _to_onednn(hidden, weight_PN):
        return F.linear(hidden, weight_PN)
    return OneDnnLinear.apply(hidden.flatten(0, -2), weight_PN).unflatten(0, hidden.shape[:-1])


class OneDnnLinear(torch.autograd.Function):
    """x @ weight.T for matrices; its gradients are two more such products, and so are theirs."""

    @staticmethod
    def forward(ctx: Any, *arguments: Tensor) -> Tensor:
        """Return (M, P) for x (M, N) and weight (P, N)."""
        ctx.save_for_backward(*arguments)
        return products.onednn_linear(*arguments)

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of both."""
        x_MN, weight_PN = ctx.saved_tensors
        d_MP = d_outputs[0]
        want_x, want_weight = ctx.needs_input_grad
        return (
            OneDnnLinear.apply(d_MP, weight_PN.t()) if want_x else None,
            OneDnnLinear.apply(d_MP.t(), x_MN.t()) if want_weight else None,
        )


class Linear(nn.Linear):
    """`nn.Linear` without a bias, multiplied by `linear`.

    Examples
    --------
    >>> Linear(3, 2)(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., N) to (..., P)."""
        return linear(hidden, self.weight)


class FeedForward(SwiGLU):
    """`SwiGLU` multiplied by `linear`: the feed-forward network of a dense layer.

    Examples
    --------
    >>> FeedForward(4, 6)(torch.zeros(3, 4)).shape
    torch.Size([3, 4])
    """

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        return linear(swiglu_activation(linear(hidden, self.gate_up_proj)), self.down_proj)


def only_expert(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> Tensor:
    """Run all tokens through one expert: a dense layer, with nothing to bring anywhere.

    Parameters and returns are those of `moe_lessons.dispatch.moe_loop` with E = K = 1.

    Examples
    --------
    >>> ids_T1, weights_T1 = torch.zeros(2, 1, dtype=torch.int64), torch.tensor([[1.0], [0.5]])
    >>> gate_up_proj, down_proj = torch.tensor([[[50.0], [1.0]]]), torch.ones(1, 1, 1)
    >>> only_expert(torch.ones(2, 1), ids_T1, weights_T1, gate_up_proj, down_proj)  # silu(50) * 1
    tensor([[50.],
            [25.]])
    """
    activation_TF = swiglu_activation(linear(hidden_TD, gate_up_proj.squeeze(0)))
    return (linear(activation_TF, down_proj.squeeze(0)) * topk_weights_TK).to(hidden_TD.dtype)


def _to_onednn(hidden: Tensor, weight_PN: Tensor) -> bool:
    """Say whether a product is oneDNN's: fp32 on a CPU that it is faster on, and enough to multiply."""
    if hidden.device.type != "cpu" or compute_dtype(hidden) is not torch.float32:
        return False
    rows = hidden.numel() // max(1, hidden.shape[-1])
    return (
        min(rows, *weight_PN.shape) >= products.ONEDNN_ROWS
        and rows * weight_PN.numel() >= products.ONEDNN_MULTIPLICATIONS
        and hidden.dim() > 1
        and weight_PN.dtype is torch.float32
        and products.onednn_is_faster()
        and not traced()
    )
