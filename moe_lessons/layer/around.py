"""What some models put around their experts: a narrower width, norms, a bias."""

import torch
from torch import Tensor, nn

from moe_lessons.layer.spec import LayerSpec


class Around(nn.Module):
    """Before the experts n_i(V x), after them U n_o(y), at the end norm_f(y) + b; each only if asked for.

    Parameters
    ----------
    spec : LayerSpec
        `d_latent`, `latent_bias`, `input_norm`, `output_norm`, `final_norm`, `final_bias`.
    generator : torch.Generator, optional
        Source of the initial weights of V and U.

    Examples
    --------
    >>> around = Around(LayerSpec(8, 16, 4, 2, d_latent=6))
    >>> around.before(torch.zeros(3, 8)).shape, around.after(torch.zeros(3, 6)).shape
    (torch.Size([3, 6]), torch.Size([3, 8]))
    """

    def __init__(self, spec: LayerSpec, generator: torch.Generator | None = None) -> None:
        super().__init__()
        width, inner = spec.d_model, spec.d_latent or spec.d_model

        def linear(n_in: int, n_out: int) -> nn.Linear | None:
            return nn.Linear(n_in, n_out, bias=spec.latent_bias) if spec.d_latent else None

        def norm(eps: float | None, size: int) -> nn.RMSNorm | None:
            return None if eps is None else nn.RMSNorm(size, eps=eps)

        self.to_latent, self.from_latent = linear(width, inner), linear(inner, width)
        self.input_norm, self.output_norm = norm(spec.input_norm, inner), norm(spec.output_norm, inner)
        self.final_norm = norm(spec.final_norm, width)
        self.final_bias_D = nn.Parameter(torch.empty(width)) if spec.final_bias else None
        self.reset_parameters(generator)

    @staticmethod
    def wanted(spec: LayerSpec) -> bool:
        """Whether a layer has any of it."""
        norms = (spec.input_norm, spec.output_norm, spec.final_norm)
        return bool(spec.d_latent or spec.final_bias or any(eps is not None for eps in norms))

    def reset_parameters(self, generator: torch.Generator | None = None, std: float = 0.02) -> None:
        """Draw the projections anew; biases become 0, the norms' scales 1."""
        for linear in (self.to_latent, self.from_latent):
            if linear is not None:
                nn.init.normal_(linear.weight, std=std, generator=generator)
                if linear.bias is not None:
                    nn.init.zeros_(linear.bias)
        for norm in (self.input_norm, self.output_norm, self.final_norm):
            if norm is not None:
                norm.reset_parameters()
        if self.final_bias_D is not None:
            nn.init.zeros_(self.final_bias_D)

    def before(self, hidden_TD: Tensor) -> Tensor:
        """Turn tokens into what the routed experts read."""
        return _through(hidden_TD, self.to_latent, self.input_norm)

    def after(self, output_TX: Tensor) -> Tensor:
        """Turn the sum of the routed experts into what is added to the shared experts."""
        return _through(output_TX, self.output_norm, self.from_latent)

    def finish(self, output_TD: Tensor) -> Tensor:
        """Turn the sum of both into the layer's output."""
        output_TD = _through(output_TD, self.final_norm)
        return output_TD if self.final_bias_D is None else output_TD + self.final_bias_D


def _through(rows: Tensor, *parts: nn.Module | None) -> Tensor:
    for part in parts:
        if isinstance(part, nn.RMSNorm):  # under autocast, rows are narrower than its scale
            rows = rows.to(part.weight.dtype)
        rows = rows if part is None else part(rows)
    return rows
