"""The plain FFN, SwiGLU, and a bank of SwiGLU experts in one pair of tensors."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def ffn(hidden_ND: Tensor, up_FD: Tensor, down_DF: Tensor) -> Tensor:
    """Two matrices with a ReLU between them: the expert of Switch and GShard.

    Parameters
    ----------
    hidden_ND : Tensor of shape (N, D)
    up_FD : Tensor of shape (F, D)
    down_DF : Tensor of shape (D, F)

    Returns
    -------
    Tensor of shape (N, D)

    References
    ----------
    Vaswani et al., arXiv 1706.03762, eq. 2 (here without biases).

    Examples
    --------
    >>> ffn(torch.tensor([[1.0, -1.0]]), torch.eye(2), 3 * torch.eye(2))
    tensor([[3., 0.]])
    """
    return F.linear(F.linear(hidden_ND, up_FD).relu(), down_DF)


def swiglu(hidden_ND: Tensor, gate_up_2FD: Tensor, down_DF: Tensor) -> Tensor:
    """Three matrices, two of them stacked: down (silu(gate x) * (up x)).

    Parameters
    ----------
    hidden_ND : Tensor of shape (N, D)
    gate_up_2FD : Tensor of shape (2F, D)
        The first F rows are the gate, the last F rows are up.
    down_DF : Tensor of shape (D, F)

    Returns
    -------
    Tensor of shape (N, D)

    References
    ----------
    Shazeer, GLU Variants Improve Transformer, arXiv 2002.05202, eq. 6.

    Examples
    --------
    >>> gate_up_2FD = torch.tensor([[0.0], [5.0]])  # F = 1: gate 0, up 5
    >>> swiglu(torch.tensor([[2.0]]), gate_up_2FD, torch.tensor([[1.0]]))  # silu(0) * 10
    tensor([[0.]])
    """
    return F.linear(swiglu_activation(F.linear(hidden_ND, gate_up_2FD)), down_DF)


def swiglu_activation(gate_up_N2F: Tensor) -> Tensor:
    """Split the rows into gate and up halves and return silu(gate) * up.

    Parameters
    ----------
    gate_up_N2F : Tensor of shape (N, 2F)

    Returns
    -------
    Tensor of shape (N, F)

    Examples
    --------
    >>> swiglu_activation(torch.tensor([[0.0, 7.0]]))
    tensor([[0.]])
    """
    gate_NF, up_NF = gate_up_N2F.chunk(2, dim=-1)
    return F.silu(gate_NF) * up_NF


class SwiGLU(nn.Module):
    """One SwiGLU feed-forward network: a dense layer's FFN, or the shared experts of a MoE layer.

    Parameters
    ----------
    d_model : int
        Width D of a token.
    d_hidden : int
        Hidden width F.
    std : float
        Standard deviation of the initial weights.
    generator : torch.Generator, optional
        Source of the initial weights.

    Raises
    ------
    ValueError
        If a size is below 1.

    Examples
    --------
    >>> SwiGLU(4, 6)(torch.zeros(3, 4)).shape
    torch.Size([3, 4])
    """

    def __init__(
        self, d_model: int, d_hidden: int, *, std: float = 0.02, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_sizes(d_model=d_model, d_hidden=d_hidden)
        self.std = std
        self.gate_up_proj = nn.Parameter(torch.empty(2 * d_hidden, d_model))
        self.down_proj = nn.Parameter(torch.empty(d_model, d_hidden))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw both matrices anew, as after `to_empty` on what was made on the meta device."""
        for weight in (self.gate_up_proj, self.down_proj):
            nn.init.normal_(weight, std=self.std, generator=generator)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        return swiglu(hidden, self.gate_up_proj, self.down_proj)

    def extra_repr(self) -> str:
        """Show the sizes in the module's printed form."""
        d_model, d_hidden = self.down_proj.shape
        return f"d_model={d_model}, d_hidden={d_hidden}"


class SwiGLUExperts(nn.Module):
    """E SwiGLU experts in two tensors, the layout of Hugging Face's Mixtral.

    `gate_up_proj` has shape (E, 2F, D), gate rows first, and `down_proj` (E, D, F). The bank only holds
    weights: which rows meet which expert is what `moe_lessons.dispatch` decides.

    Parameters
    ----------
    n_experts, d_model, d_expert : int
        E, D and F.
    std : float
        Standard deviation of the initial weights.
    generator : torch.Generator, optional
        Source of the initial weights.

    Raises
    ------
    ValueError
        If a size is below 1.

    Examples
    --------
    >>> SwiGLUExperts(8, 4, 6).gate_up_proj.shape
    torch.Size([8, 12, 4])
    """

    def __init__(
        self,
        n_experts: int,
        d_model: int,
        d_expert: int,
        *,
        std: float = 0.02,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_sizes(n_experts=n_experts, d_model=d_model, d_expert=d_expert)
        self.std = std
        self.gate_up_proj = nn.Parameter(torch.empty(n_experts, 2 * d_expert, d_model))
        self.down_proj = nn.Parameter(torch.empty(n_experts, d_model, d_expert))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw both tensors anew, as after `to_empty` on what was made on the meta device."""
        for weight in (self.gate_up_proj, self.down_proj):
            nn.init.normal_(weight, std=self.std, generator=generator)

    def extra_repr(self) -> str:
        """Show the sizes in the module's printed form."""
        n_experts, d_model, d_expert = self.down_proj.shape
        return f"n_experts={n_experts}, d_model={d_model}, d_expert={d_expert}"


def check_sizes(**sizes: int) -> None:
    """Raise a ValueError that names the first size below 1.

    Examples
    --------
    >>> check_sizes(d_model=0)
    Traceback (most recent call last):
    ValueError: d_model is 0: give at least 1
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}: give at least 1")
