"""The list of parts that a layer is put together from."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from moe_lessons.config.gradient import line_for, router_without_gradient
from moe_lessons.dispatch import NULLS
from moe_lessons.experts import SWIGLU, ExpertKind, check_sizes
from moe_lessons.routing import GATES, SCORES, Gate, Routing

# The gates whose choice a bias can steer, and the scores that it is added to.
BIASED_GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "sqrt_softplus": SCORES["sqrt_softplus"],
    "softmax_topk": SCORES["softmax"],
    "softmax_topk_renorm": SCORES["softmax"],
}

# What the balancing loss makes P of: the score that the gate's weights are made of.
LOSS_SCORES = {"sigmoid": "sigmoid", "topk_sigmoid": "sigmoid", "sqrt_softplus": "sqrt_softplus"}


@dataclass(frozen=True)
class LayerSpec:
    """A layer, part by part: for a token x with chosen experts k,

        y = norm_f( c sum_k w_k U(n_o(E_k(n_i(V x)))) + shared(x) + b )

    where all but w, E_k and the sum is optional.

    Parameters
    ----------
    d_model, d_expert, n_experts, top_k : int
        D, F, E and K.
    gate : str, Gate or callable
        A key of `GATES`, a `Gate`, or any function of (logits, top_k) that returns a `Routing`, or ids and
        weights, both (T, K); it takes `expert_bias_E` if there is one.
    expert_bias : bool
        A bias that steers the choice and never the weights (`e_score_correction_bias`).
    routed_scale : float
        c, a factor on the weights of any gate: G for a layer that was cut into G slices an expert.
    kind : ExpertKind
        E_k: what an expert computes (`hidden_act`, `swiglu_limit`, ...).
    n_null_experts : int
        Experts after the E that return their input or zero (LongCat's `zero_expert_num`).
    null : str
        Which of the two: "identity" or "zero".
    d_shared : int
        Hidden width of the experts that see every token; 0 for none.
    shared_kind : ExpertKind, optional
        By default `kind`.
    shared_gate : bool
        shared(x) = sigmoid(v x) f(x), with a learned v (Qwen2-MoE).
    shared_scale : float
        A number instead (1/2 where Cohere averages).
    d_latent : int, optional
        V and U: experts work in this width (Nemotron-3's `moe_latent_size`).
    latent_bias : bool
    input_norm, output_norm, final_norm : float, optional
        Eps of the RMS norms n_i, n_o (both Gemma-4) and norm_f (AXK1).
    final_bias : bool
        b (JetMoE).
    router_bias, expert_scale, global_scale : bool
    router_norm : float, optional
        As `Router` explains them.

    Raises
    ------
    ValueError
        If a size is below 1, `top_k` exceeds the number of experts, or a name is unknown.

    Examples
    --------
    >>> LayerSpec(8, 16, 4, 2).describe()
    'topk_softmax; swiglu'
    >>> LayerSpec(8, 16, 4, 2, Gate("sigmoid"), d_shared=16, shared_gate=True, d_latent=4).describe()
    'sigmoid; swiglu; shared, with a sigmoid gate; latent experts'
    """

    d_model: int
    d_expert: int
    n_experts: int
    top_k: int
    gate: str | Callable[..., Routing | tuple[Tensor, Tensor]] = "topk_softmax"
    expert_bias: bool = False
    routed_scale: float = 1.0
    kind: ExpertKind = SWIGLU
    n_null_experts: int = 0
    null: str = "identity"
    d_shared: int = 0
    shared_kind: ExpertKind | None = None
    shared_gate: bool = False
    shared_scale: float = 1.0
    d_latent: int | None = None
    latent_bias: bool = False
    input_norm: float | None = None
    output_norm: float | None = None
    final_norm: float | None = None
    final_bias: bool = False
    router_bias: bool = False
    router_norm: float | None = None
    expert_scale: bool = False
    global_scale: bool = False

    def __post_init__(self) -> None:
        check_sizes(d_model=self.d_model, d_expert=self.d_expert, n_experts=self.n_experts, top_k=self.top_k)
        for name in ("d_shared", "n_null_experts"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give 0 or more")
        always = self.gate.n_always if isinstance(self.gate, Gate) else 0
        choice = self.n_experts + self.n_null_experts - always
        if self.top_k > choice:
            raise ValueError(f"top_k is {self.top_k} with {choice} experts: choose 1 to {choice}")
        if isinstance(self.gate, str) and self.gate not in GATES:
            raise ValueError(f"gate is {self.gate!r}: choose one of {', '.join(GATES)}")
        if self.expert_bias and isinstance(self.gate, str) and self.gate not in BIASED_GATES:
            known = ", ".join(BIASED_GATES)
            raise ValueError(f"gate is {self.gate!r}: with an expert bias choose one of {known}")
        if not 0 < self.routed_scale < math.inf:
            raise ValueError(f"routed_scale is {self.routed_scale}: choose a positive number")
        if self.null not in NULLS:
            raise ValueError(f"null is {self.null!r}: choose one of {', '.join(NULLS)}")

    @property
    def on_input(self) -> bool:
        """Whether weights scale the experts' inputs instead of their outputs."""
        return self.gate == "topk_sigmoid" or (isinstance(self.gate, Gate) and self.gate.on_input)

    @property
    def loss_scores(self) -> str:
        """What kind of score the balancing loss is to be made of, a key of `balancing.PROBABILITIES`."""
        if isinstance(self.gate, Gate):
            return self.gate.score
        return LOSS_SCORES.get(self.gate, "softmax") if isinstance(self.gate, str) else "softmax"

    def scores(self, logits_TE: Tensor) -> Tensor:
        """Turn logits into what the selection bias is added to."""
        if isinstance(self.gate, Gate) and self.gate.bias_on == "logits":
            return logits_TE
        return SCORES[self.loss_scores](logits_TE)

    @property
    def warning(self) -> str | None:
        """What is to be said about K = 1 behind a gate that renormalises: None, or one line."""
        n_choices = self.n_experts + self.n_null_experts
        if isinstance(self.gate, str):
            return router_without_gradient(self.gate, self.top_k, n_choices)
        if not isinstance(self.gate, Gate) or not self.gate.always_one or self.top_k != 1 or n_choices == 1:
            return None
        return line_for(self.gate.describe())

    def describe(self) -> str:
        """Say in a few words what the layer is made of."""
        gate = self.gate.describe() if isinstance(self.gate, Gate) else self.gate
        words = [gate if isinstance(gate, str) else getattr(gate, "__name__", "a gate of one's own")]
        words[0] += ", selection bias" if self.expert_bias else ""
        words[0] += f", times {self.routed_scale:g}" if self.routed_scale != 1 else ""
        words.append(self.kind.name + (", biases" if self.kind.bias else ""))
        if self.kind.norm_eps is not None:
            words.append("a norm of their own")
        if self.n_null_experts:
            words.append(f"{self.n_null_experts} null experts ({self.null})")
        if self.d_shared:
            words.append("shared" + (", with a sigmoid gate" if self.shared_gate else ""))
        parts = {
            "latent experts": self.d_latent,
            "router bias": self.router_bias,
            "router norm": self.router_norm,
            "a scale per expert": self.expert_scale,
            "a learned scale": self.global_scale,
            "norm before the experts": self.input_norm,
            "norm after the experts": self.output_norm,
            "norm at the end": self.final_norm,
            "bias at the end": self.final_bias,
        }
        return "; ".join([*words, *(name for name, there in parts.items() if there)])
