"""The layer itself."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from moe_lessons.balancing import load_balancing_loss, z_loss
from moe_lessons.config.gradient import warn
from moe_lessons.experts import Experts, SharedExperts, SwiGLUExperts
from moe_lessons.layer.around import Around
from moe_lessons.layer.gating import routed
from moe_lessons.layer.masking import put_back, real_tokens, routed_nowhere
from moe_lessons.layer.paths import TYPICAL_TOKENS, Path, check_path, path_for, scaled_inputs, through_experts
from moe_lessons.layer.router import Router
from moe_lessons.layer.spec import LayerSpec
from moe_lessons.linear import FeedForward
from moe_lessons.routing import Gate, Routing
from moe_lessons.routing.base import real_rows


class MoEOutput(NamedTuple):
    """A layer's output, of its input's shape, and the routing behind it (leading axes flattened to T)."""

    hidden: Tensor
    routing: Routing


class MoELayer(nn.Module):
    """A feed-forward layer made of E experts, of which a router gives each token K.

    This is the short form, with SwiGLU experts; `MoELayer.of` puts a layer together from any parts.

    Parameters
    ----------
    d_model, d_expert, n_experts, top_k : int
        D, F, E and K.
    gate : str, Gate or callable
        A key of `moe_lessons.routing.GATES`, or a function of your own of (logits_TE, top_k), which returns
        ids and weights (T, K); see `LayerSpec`. With "topk_sigmoid" the weight scales the expert's input.
    expert_bias : bool
        Whether the router has an `expert_bias_E`, which steers the choice and never the weights; of the
        named gates, for those in `BIASED_GATES`. `moe_lessons.balancing` has the rules that set it.
    routed_scale : float
        A factor on the weights, whatever the gate.
    n_shared_experts : int
        Experts that see every token: one SwiGLU network, so many times as wide, added with weight 1.
    path : str or callable
        "auto", "triton", a key of `moe_lessons.dispatch.PATHS`, or a function of your own with the
        arguments of `moe_lessons.dispatch.moe_loop`. "auto" takes the Triton kernels on a GPU
        that they run on, and elsewhere what `moe_lessons.dispatch.choose` names, or with one expert a dense
        network; `path_for` says which. Experts that are not SwiGLU run on "generic". What `torch.compile`
        makes of each is said in `moe_lessons.dispatch`.
    generator : torch.Generator, optional
        Source of the initial weights.

    Attributes
    ----------
    spec : LayerSpec
    router : Router
        `router.weight` has shape (E, D) and stays fp32 when the layer is cast to a narrower dtype.
    experts : SwiGLUExperts, or Experts for other kinds
    shared_experts : FeedForward, SharedExperts or None

    Raises
    ------
    ValueError
        If a size is below 1, `top_k` exceeds `n_experts`, `gate` or `path` is unknown, or the gate takes no
        bias. When called, if a function of your own returns another shape than is asked for.

    Warns
    -----
    UserWarning
        If K = 1 and the gate renormalises: then the task's loss does not train the router.

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
        gate: Any = "topk_softmax",
        expert_bias: bool = False,
        routed_scale: float = 1.0,
        n_shared_experts: int = 0,
        path: Path = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if n_shared_experts < 0:
            raise ValueError(f"n_shared_experts is {n_shared_experts}: give 0 or more")
        shared = n_shared_experts * d_expert if d_expert > 0 else 0
        sizes = d_model, d_expert, n_experts, top_k
        spec = LayerSpec(*sizes, gate, expert_bias, routed_scale, d_shared=shared)
        self._build(spec, path, generator)

    @classmethod
    def of(
        cls, spec: LayerSpec, *, path: Path = "auto", generator: torch.Generator | None = None
    ) -> "MoELayer":
        """Put a layer together from a list of parts.

        Examples
        --------
        >>> from moe_lessons.experts import ungated
        >>> from moe_lessons.routing import Gate
        >>> gate = Gate("sigmoid", renormalize=True, scale=2.5)
        >>> layer = MoELayer.of(LayerSpec(8, 16, 4, 2, gate, kind=ungated("relu2"), d_latent=6))
        >>> layer(torch.zeros(3, 8)).hidden.shape, layer.path_for()
        (torch.Size([3, 8]), 'generic')
        """
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._build(spec, path, generator)
        return layer

    def _build(self, spec: LayerSpec, path: Path, generator: torch.Generator | None) -> None:
        generic = not spec.kind.is_swiglu or spec.n_null_experts > 0
        check_path(path, generic, spec.kind.name if not spec.n_null_experts else "null")
        warn(spec.warning)
        self.spec, self.path = spec, path
        self.gate, self.top_k = spec.gate, spec.top_k
        width, inner = spec.d_model, spec.d_latent or spec.d_model
        self.router = Router(
            width,
            spec.n_experts + spec.n_null_experts,
            expert_bias=spec.expert_bias,
            bias=spec.router_bias,
            norm_eps=spec.router_norm,
            expert_scale=spec.expert_scale,
            global_scale=spec.global_scale,
            generator=generator,
        )
        sizes = spec.n_experts, inner, spec.d_expert
        self.experts: SwiGLUExperts | Experts = (
            Experts(*sizes, spec.kind, generator=generator)
            if generic
            else SwiGLUExperts(*sizes, generator=generator)
        )
        shared_kind = spec.shared_kind or spec.kind
        self.shared_experts: nn.Module | None = None
        if spec.d_shared and shared_kind.is_swiglu:
            self.shared_experts = FeedForward(width, spec.d_shared, generator=generator)
        elif spec.d_shared:
            self.shared_experts = SharedExperts(1, width, spec.d_shared, shared_kind, generator=generator)
        self.shared_gate = nn.Linear(width, 1, bias=False) if spec.shared_gate else None
        self.around = Around(spec, generator) if Around.wanted(spec) else None
        self._reset_shared_gate(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew, in the order in which a new layer draws them.

        For a layer that was made on the meta device: `layer.to_empty(device=...)`, then this.

        Examples
        --------
        >>> with torch.device("meta"):
        ...     layer = MoELayer(8, 16, 4, 2)
        >>> layer.to_empty(device="cpu").reset_parameters()
        """
        for part in (self.router, self.experts, self.shared_experts, self.around):
            if part is not None:
                part.reset_parameters(generator)  # type: ignore[operator]
        self._reset_shared_gate(generator)

    def _reset_shared_gate(self, generator: torch.Generator | None) -> None:
        if self.shared_gate is not None:
            nn.init.normal_(self.shared_gate.weight, std=self.router.std, generator=generator)

    def forward(self, hidden: Tensor, mask: Tensor | None = None, **gate_inputs: Tensor) -> MoEOutput:
        """Route each token of (..., D) to its experts and add up what they return.

        Parameters
        ----------
        hidden : Tensor of shape (..., D)
        mask : bool Tensor of shape (...), optional
            True for real tokens. The others (padding) are routed nowhere and cost nothing: their output is
            0, their expert ids are -1, and no load, loss or bias update counts them.
        **gate_inputs : Tensor of shape (T, ...)
            What the gate wants beside the logits, such as `token_ids_T` of hash routing.

        Raises
        ------
        ValueError
            If the last axis is not D, the mask does not fit, or the router's logits hold NaN (looked for on
            CPU only).
        """
        d_model = self.spec.d_model
        if hidden.shape[-1] != d_model:
            raise ValueError(
                f"hidden has width {hidden.shape[-1]}: give (..., {d_model}), the layer's d_model"
            )
        hidden_TD = hidden.reshape(-1, d_model)
        if mask is None:
            output_TD, routing = self._forward(hidden_TD, gate_inputs)
        else:
            n_tokens, kept_N = len(hidden_TD), real_tokens(mask, hidden)
            kept_inputs = {name: value.index_select(0, kept_N) for name, value in gate_inputs.items()}
            output_ND, routing = self._forward(hidden_TD.index_select(0, kept_N), kept_inputs)
            output_TD = put_back(output_ND, kept_N, n_tokens)
            routing = routed_nowhere(routing, kept_N, n_tokens)
        return MoEOutput(output_TD.reshape(hidden.shape), routing)

    def _forward(self, hidden_TD: Tensor, gate_inputs: dict[str, Tensor]) -> MoEOutput:
        routing = routed(self.router, self.gate, self.top_k, hidden_TD, gate_inputs, self.spec.routed_scale)
        to_experts = scaled_inputs if self.spec.on_input else through_experts
        rows_TX = hidden_TD if self.around is None else self.around.before(hidden_TD)
        ids_TK, weights_TK = routing.topk_ids_TK, routing.topk_weights_TK
        output_TD = to_experts(self.experts, self.spec, self.path, rows_TX, ids_TK, weights_TK)
        if self.around is not None:
            output_TD = self.around.after(output_TD)
        if self.shared_experts is not None:
            output_TD = output_TD + self._shared(hidden_TD)
        if self.around is not None:
            output_TD = self.around.finish(output_TD)
        return MoEOutput(output_TD, routing)

    def _shared(self, hidden_TD: Tensor) -> Tensor:
        assert self.shared_experts is not None
        shared_TD = self.shared_experts(hidden_TD)
        if self.shared_gate is not None:
            shared_TD = shared_TD * self.shared_gate(hidden_TD).sigmoid()
        return shared_TD if self.spec.shared_scale == 1 else shared_TD * self.spec.shared_scale

    def aux_loss(self, output: MoEOutput, **options: Any) -> Tensor:
        """The load-balancing loss of an output, with scores of the gate's own kind: 1 when balanced.

        Parameters
        ----------
        output : MoEOutput
        **options
            Of `moe_lessons.balancing.load_balancing_loss`: `scope`, `normalization`, ...

        Examples
        --------
        >>> layer = MoELayer(8, 16, 4, 2)
        >>> output = layer(torch.randn(64, 8))
        >>> loss = output.hidden.square().mean() + 0.01 * layer.aux_loss(output) + 1e-3 * layer.z_loss(output)
        """
        logits_TE, ids_TK, _ = output.routing
        return load_balancing_loss(logits_TE, ids_TK, **{"scores": self.spec.loss_scores, **options})

    def z_loss(self, output: MoEOutput) -> Tensor:
        """The router z-loss of an output; tokens that were routed nowhere do not count."""
        return z_loss(output.routing.logits_TE, mask_T=real_rows(output.routing.topk_ids_TK))

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
        return path_for(self.experts, self.spec, self.path, hidden)

    def n_parameters(self) -> tuple[int, int]:
        """Count all parameters, and those that one token uses: all but its E - K unchosen experts.

        Examples
        --------
        >>> MoELayer(d_model=2, d_expert=3, n_experts=4, top_k=2).n_parameters()  # 4*2 + (4 or 2)*3*2*3
        (80, 44)
        """
        total = sum(parameter.numel() for parameter in self.parameters())
        per_expert = sum(p.numel() // len(p) for p in self.experts.parameters() if p.dim() > 1)
        always = self.gate.n_always if isinstance(self.gate, Gate) else 0
        return total, total - max(0, self.spec.n_experts - self.top_k - always) * per_expert

    def extra_repr(self) -> str:
        """Show gate, path and parameter counts in the module's printed form."""
        total, active = self.n_parameters()
        path = self.path if isinstance(self.path, str) else self.path_for()
        if path != self.path_for():
            path += f" ({self.path_for()} at {TYPICAL_TOKENS} tokens)"
        gate = self.gate if isinstance(self.gate, str) else self.spec.describe().split("; ")[0]
        return (
            f"top_k={self.top_k}, gate={gate}, path={path}, "
            f"parameters={total:,} ({active:,} active per token)"
        )
