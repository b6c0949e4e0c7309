"""A bank of experts of any kind, and the experts that every token passes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moe_lessons.experts.feed_forward import check_sizes
from moe_lessons.experts.kinds import SWIGLU, ExpertKind


class Experts(nn.Module):
    """E experts of one kind in stacked tensors: what `SwiGLUExperts` is for plain SwiGLU.

    Parameters
    ----------
    n_experts, d_model, d_expert : int
        E, D and F.
    kind : ExpertKind
    std : float
        Standard deviation of the initial matrices; biases start at 0.
    generator : torch.Generator, optional
        Source of the initial weights.

    Attributes
    ----------
    gate_up_proj : Parameter of shape (E, 2F, D), gate rows first; without a gate (E, F, D)
    down_proj : Parameter of shape (E, D, F)
    gate_up_bias : Parameter of shape (E, 2F) or (E, F), or None
    down_bias : Parameter of shape (E, D), or None
    norm_scale : Parameter of shape (D,), or None
        For a kind with `norm_eps`.

    Raises
    ------
    ValueError
        If a size is below 1.

    Examples
    --------
    >>> from moe_lessons.experts.kinds import ungated
    >>> Experts(8, 4, 6, ungated("relu2")).gate_up_proj.shape
    torch.Size([8, 6, 4])
    """

    def __init__(
        self,
        n_experts: int,
        d_model: int,
        d_expert: int,
        kind: ExpertKind = SWIGLU,
        *,
        std: float = 0.02,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_sizes(n_experts=n_experts, d_model=d_model, d_expert=d_expert)
        self.kind, self.std = kind, std
        n_rows = (2 if kind.gated else 1) * d_expert
        self.gate_up_proj = nn.Parameter(torch.empty(n_experts, n_rows, d_model))
        self.down_proj = nn.Parameter(torch.empty(n_experts, d_model, d_expert))
        self.gate_up_bias = nn.Parameter(torch.empty(n_experts, n_rows)) if kind.bias else None
        self.down_bias = nn.Parameter(torch.empty(n_experts, d_model)) if kind.bias else None
        self.norm_scale = None if kind.norm_eps is None else nn.Parameter(torch.empty(d_model))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the matrices anew; biases become 0, the norm's scale 1."""
        for weight in (self.gate_up_proj, self.down_proj):
            nn.init.normal_(weight, std=self.std, generator=generator)
        for bias in (self.gate_up_bias, self.down_bias):
            if bias is not None:
                nn.init.zeros_(bias)
        if self.norm_scale is not None:
            nn.init.ones_(self.norm_scale)

    def run(self, groups: Sequence[Tensor]) -> list[Tensor]:
        """Give each expert its rows: E tensors (N, D) to as many of the same shapes."""
        # unbind: an index would make each expert's backward allocate a gradient as large as all together.
        weights = zip(self.gate_up_proj.unbind(0), self.down_proj.unbind(0), strict=True)
        nothing = [None] * len(groups)
        gate_up_biases = nothing if self.gate_up_bias is None else self.gate_up_bias.unbind(0)
        down_biases = nothing if self.down_bias is None else self.down_bias.unbind(0)
        results = []
        for rows_ND, (gate_up, down), gate_up_bias, down_bias in zip(
            groups, weights, gate_up_biases, down_biases, strict=True
        ):
            hidden = self.kind.activation(F.linear(rows_ND, gate_up, gate_up_bias))
            results.append(self._normed(F.linear(hidden, down, down_bias)))
        return results

    def _normed(self, result_ND: Tensor) -> Tensor:
        if self.norm_scale is None or self.kind.norm_eps is None:
            return result_ND
        scaled_ND = result_ND.to(torch.promote_types(result_ND.dtype, torch.float32)) * self.norm_scale
        return F.rms_norm(scaled_ND, scaled_ND.shape[-1:], eps=self.kind.norm_eps).to(result_ND.dtype)

    def extra_repr(self) -> str:
        """Show the sizes and the kind in the module's printed form."""
        n_experts, d_model, d_expert = self.down_proj.shape
        return f"n_experts={n_experts}, d_model={d_model}, d_expert={d_expert}, {self.kind.equation}"


class SharedExperts(Experts):
    """The experts that see every token, of any kind: a bank of one, as wide as all of them together.

    Examples
    --------
    >>> SharedExperts(1, 4, 6)(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 3, 4])
    """

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        return self.run([hidden])[0]
