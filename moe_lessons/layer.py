"""The MoE layer: a router, a bank of experts, and the dispatch between them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from moe_lessons.dispatch import PATHS, choose, grouped_supported, moe_auto
from moe_lessons.dispatch.arguments import compute_dtype
from moe_lessons.experts import SwiGLUExperts, check_sizes
from moe_lessons.kernels import moe_triton, triton_supported
from moe_lessons.linear import FeedForward, only_expert
from moe_lessons.routing import GATES, Routing, router_logits
from moe_lessons.routing.gates import sqrt_softplus

# The gates whose choice a bias can steer, and the scores that it is added to.
BIASED_GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "sqrt_softplus": sqrt_softplus,
    "softmax_topk": lambda logits_TE: logits_TE.softmax(dim=-1),
    "softmax_topk_renorm": lambda logits_TE: logits_TE.softmax(dim=-1),
}


TYPICAL_TOKENS = 2048  # of a training batch: what a path is told for where nobody names an input


class MoEOutput(NamedTuple):
    """A layer's output, of its input's shape, and the routing behind it (leading axes flattened to T)."""

    hidden: Tensor
    routing: Routing


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
    generator : torch.Generator, optional
        Source of the initial weights.

    Attributes
    ----------
    weight : Parameter of shape (E, D)
    expert_bias_E : Tensor of shape (E,) or None
        Zero at first; saved with the weights, without gradient. `forward` leaves it out: a gate adds it to
        its scores when it chooses.

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
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_experts, d_model, dtype=torch.float32))
        self.register_buffer("expert_bias_E", torch.zeros(n_experts) if expert_bias else None)
        nn.init.normal_(self.weight, std=std, generator=generator)

    def forward(self, hidden_TD: Tensor) -> Tensor:
        """Map (T, D) to logits (T, E) in fp32."""
        return router_logits(hidden_TD, self.weight)

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


class MoELayer(nn.Module):
    """A feed-forward layer made of E experts, of which a router gives each token K.

    Parameters
    ----------
    d_model, d_expert, n_experts, top_k : int
        D, F, E and K.
    gate : str
        A key of `moe_lessons.routing.GATES`. With "topk_sigmoid" the weight scales the expert's input.
    expert_bias : bool
        Whether the router has an `expert_bias_E`, which steers the choice and never the weights; for the
        gates in `BIASED_GATES`. `moe_lessons.balancing` has the rules that set it.
    n_shared_experts : int
        Experts that see every token: one SwiGLU network of width `n_shared_experts * d_expert`, added
        with weight 1.
    path : str
        "auto", "triton", or a key of `moe_lessons.dispatch.PATHS`. "auto" takes the Triton kernels on a GPU
        that they run on, and elsewhere what `moe_lessons.dispatch.choose` names, or with one expert a dense
        network; `path_for` says which.
    generator : torch.Generator, optional
        Source of the initial weights.

    Attributes
    ----------
    router : Router
        `router.weight` has shape (E, D) and stays fp32 when the layer is cast to a narrower dtype.
    experts : SwiGLUExperts
    shared_experts : SwiGLU or None

    Raises
    ------
    ValueError
        If a size is below 1, `top_k` exceeds `n_experts`, `gate` or `path` is unknown, or the gate takes no
        bias.

    References
    ----------
    Shazeer et al., arXiv 1701.06538, eq. 1; shared experts: DeepSeekMoE, arXiv 2401.06066, section 3.2.

    Examples
    --------
    >>> layer = MoELayer(d_model=8, d_expert=16, n_experts=4, top_k=2)
    >>> output = layer(torch.zeros(2, 3, 8))
    >>> output.hidden.shape, output.routing.topk_ids_TK.shape
    (torch.Size([2, 3, 8]), torch.Size([6, 2]))
    """

    def __init__(
        self,
        d_model: int,
        d_expert: int,
        n_experts: int,
        top_k: int,
        *,
        gate: str = "topk_softmax",
        expert_bias: bool = False,
        n_shared_experts: int = 0,
        path: str = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_sizes(d_model=d_model, d_expert=d_expert, n_experts=n_experts, top_k=top_k)
        if top_k > n_experts:
            raise ValueError(f"top_k is {top_k} with {n_experts} experts: choose 1 to {n_experts}")
        if n_shared_experts < 0:
            raise ValueError(f"n_shared_experts is {n_shared_experts}: give 0 or more")
        if gate not in GATES:
            raise ValueError(f"gate is {gate!r}: choose one of {', '.join(GATES)}")
        if expert_bias and gate not in BIASED_GATES:
            raise ValueError(f"gate is {gate!r}: with an expert bias choose one of {', '.join(BIASED_GATES)}")
        if path not in ("auto", "triton", *PATHS):
            raise ValueError(f"path is {path!r}: choose one of auto, triton, {', '.join(PATHS)}")
        self.top_k = top_k
        self.gate = gate
        self.path = path
        self.router = Router(d_model, n_experts, expert_bias=expert_bias, generator=generator)
        self.experts = SwiGLUExperts(n_experts, d_model, d_expert, generator=generator)
        shared = n_shared_experts * d_expert
        self.shared_experts = FeedForward(d_model, shared, generator=generator) if shared else None

    def forward(self, hidden: Tensor) -> MoEOutput:
        """Route each token of (..., D) to its experts and add up what they return.

        Raises
        ------
        ValueError
            If the last axis is not D, or the router's logits hold NaN (looked for on CPU only).
        """
        d_model = self.router.weight.shape[1]
        if hidden.shape[-1] != d_model:
            raise ValueError(
                f"hidden has width {hidden.shape[-1]}: give (..., {d_model}), the layer's d_model"
            )
        hidden_TD = hidden.reshape(-1, d_model)
        bias_E = self.router.expert_bias_E
        biased = {} if bias_E is None else {"expert_bias_E": bias_E}
        routing = GATES[self.gate](self.router(hidden_TD), self.top_k, **biased)
        output_TD = self._routed(hidden_TD, routing)
        if self.shared_experts is not None:
            output_TD = output_TD + self.shared_experts(hidden_TD)
        return MoEOutput(output_TD.reshape(hidden.shape), routing)

    def _routed(self, hidden_TD: Tensor, routing: Routing) -> Tensor:
        triton = hidden_TD.is_cuda and triton_supported(hidden_TD)[0]
        automatic = moe_triton if triton else only_expert if len(self.experts.down_proj) == 1 else moe_auto
        path = {"auto": automatic, "triton": moe_triton, **PATHS}[self.path]
        weights = self.experts.gate_up_proj, self.experts.down_proj
        if self.gate != "topk_sigmoid":
            return path(hidden_TD, routing.topk_ids_TK, routing.topk_weights_TK, *weights)
        # Weighted inputs differ between a token's experts, so each slot becomes a token with one expert.
        inputs_TKD = hidden_TD.unsqueeze(1) * routing.topk_weights_TK.unsqueeze(-1)
        inputs_SD = inputs_TKD.flatten(0, 1).to(hidden_TD.dtype)
        ids_S1 = routing.topk_ids_TK.reshape(-1, 1)
        output_SD = path(inputs_SD, ids_S1, torch.ones_like(ids_S1, dtype=torch.float32), *weights)
        return output_SD.view_as(inputs_TKD).sum(dim=1)

    def path_for(self, hidden: Tensor | None = None) -> str:
        """Name the path that `forward` takes for `hidden` if loads are even.

        Parameters
        ----------
        hidden : Tensor of shape (..., D), optional
            By default `TYPICAL_TOKENS` tokens of the experts' own dtype.

        Examples
        --------
        >>> layer = MoELayer(d_model=64, d_expert=64, n_experts=4, top_k=2)
        >>> with torch.no_grad():
        ...     layer.path_for(), layer.path_for(torch.zeros(1, 64))
        ('fused', 'slots')
        """
        gate_up_proj, down_proj = self.experts.gate_up_proj, self.experts.down_proj
        n_tokens = TYPICAL_TOKENS if hidden is None else hidden.numel() // hidden.shape[-1]
        like = down_proj if hidden is None else hidden
        grouped = grouped_supported(like, gate_up_proj, down_proj)
        triton = triton_supported(like)[0]
        if self.path == "triton" or (self.path == "auto" and like.is_cuda and triton):
            path = "triton" if triton else "grouped"
        elif self.path == "auto" and len(down_proj) == 1:
            path = "dense"
        elif self.path == "auto":
            n_experts, d_model, d_expert = down_proj.shape
            path = choose(
                n_tokens * self.top_k,
                n_experts,
                d_model,
                d_expert,
                compute_dtype(like),
                device=like.device.type,
                grouped=grouped,
                gradients=torch.is_grad_enabled(),
                threads=torch.get_num_threads(),
            )
        else:
            path = self.path
        return "unbind" if path == "grouped" and not grouped else path

    def n_parameters(self) -> tuple[int, int]:
        """Count all parameters, and those that one token uses: all but its E - K unchosen experts.

        Examples
        --------
        >>> MoELayer(d_model=2, d_expert=3, n_experts=4, top_k=1).n_parameters()  # 4*2 + (4 or 1)*3*2*3
        (80, 26)
        """
        total = sum(parameter.numel() for parameter in self.parameters())
        per_expert = sum(parameter[0].numel() for parameter in self.experts.parameters())
        return total, total - (len(self.experts.down_proj) - self.top_k) * per_expert

    def extra_repr(self) -> str:
        """Show gate, path and parameter counts in the module's printed form."""
        total, active = self.n_parameters()
        path = self.path
        if path != self.path_for():
            path += f" ({self.path_for()} at {TYPICAL_TOKENS} tokens)"
        return (
            f"top_k={self.top_k}, gate={self.gate}, path={path}, "
            f"parameters={total:,} ({active:,} active per token)"
        )
