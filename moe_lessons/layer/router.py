"""The router: one linear map from D to E in fp32, and the few things that some models add to it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moe_lessons.routing import router_logits


class Router(nn.Module):
    """One linear map from D to E that never drops below fp32, and if asked for, a bias for the choice alone.

    `layer.to(torch.bfloat16)` or `layer.half()` move everything else; the router keeps its bits.

    Parameters
    ----------
    d_model, n_experts : int
        D and E.
    std : float
        Standard deviation of the initial weights.
    expert_bias : bool
        Whether there is an `expert_bias_E`.
    bias : bool
        Whether the linear map has a learned bias, part of the logits (gpt-oss).
    norm_eps : float, optional
        What is routed is x / sqrt(mean(x^2) + eps) * scale / sqrt(D), `scale` learned (Gemma-4).
    expert_scale : bool
        Whether each expert's weight is multiplied by a learned number of its own (Gemma-4's
        `per_expert_scale`).
    global_scale : bool
        Whether all weights are multiplied by one learned number (Inkling).
    generator : torch.Generator, optional
        Source of the initial weights.

    Attributes
    ----------
    weight : Parameter of shape (E, D)
    expert_bias_E : Tensor of shape (E,) or None
        Zero at first; saved with the weights, without gradient. `forward` leaves it out: a gate adds it to
        its scores when it chooses.
    bias_E, norm_scale_D, expert_scale_E, global_scale : Parameter or None

    References
    ----------
    Switch Transformer, arXiv 2101.03961, section 2.4 (selective precision); DeepSeek-V3, arXiv 2412.19437,
    eq. 16 (the bias).

    Examples
    --------
    >>> Router(4, 8).bfloat16().weight.dtype
    torch.float32
    """

    expert_bias_E: Tensor | None

    def __init__(
        self,
        d_model: int,
        n_experts: int,
        *,
        std: float = 0.02,
        expert_bias: bool = False,
        bias: bool = False,
        norm_eps: float | None = None,
        expert_scale: bool = False,
        global_scale: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()

        def parameter(wanted: bool, *shape: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(*shape, dtype=torch.float32)) if wanted else None

        self.std, self.norm_eps = std, norm_eps
        self.weight = nn.Parameter(torch.empty(n_experts, d_model, dtype=torch.float32))
        self.register_buffer("expert_bias_E", torch.zeros(n_experts) if expert_bias else None)
        self.bias_E = parameter(bias, n_experts)
        self.norm_scale_D = parameter(norm_eps is not None, d_model)
        self.expert_scale_E = parameter(expert_scale, n_experts)
        self.global_scale = parameter(global_scale, 1)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight anew; biases become 0 and scales 1."""
        nn.init.normal_(self.weight, std=self.std, generator=generator)
        for zero in (self.expert_bias_E, self.bias_E):
            if zero is not None:
                nn.init.zeros_(zero)
        for one in (self.norm_scale_D, self.expert_scale_E, self.global_scale):
            if one is not None:
                nn.init.ones_(one)

    def forward(self, hidden_TD: Tensor) -> Tensor:
        """Map (T, D) to logits (T, E) in fp32."""
        if self.norm_scale_D is not None:
            hidden_TD = hidden_TD.to(torch.promote_types(hidden_TD.dtype, torch.float32))
            hidden_TD = F.rms_norm(hidden_TD, hidden_TD.shape[-1:], eps=self.norm_eps)
            hidden_TD = hidden_TD * (self.norm_scale_D * hidden_TD.shape[-1] ** -0.5)
        logits_TE = router_logits(hidden_TD, self.weight)
        return logits_TE if self.bias_E is None else logits_TE + self.bias_E

    def rescale(self, weights_TK: Tensor, ids_TK: Tensor) -> Tensor:
        """Multiply routing weights by the learned scales, where there are any."""
        if self.expert_scale_E is not None:
            weights_TK = weights_TK * self.expert_scale_E[ids_TK]
        return weights_TK if self.global_scale is None else weights_TK * self.global_scale

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        def keep_fp32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            narrowed = moved.is_floating_point() and moved.itemsize < 4
            return tensor.to(moved.device) if narrowed else moved

        return super()._apply(keep_fp32, recurse)

    def extra_repr(self) -> str:
        """Show the sizes in the module's printed form."""
        n_experts, d_model = self.weight.shape
        return f"d_model={d_model}, n_experts={n_experts}, {self.weight.dtype}"
