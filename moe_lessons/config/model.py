"""The sizes of a model."""

import dataclasses
import math
from dataclasses import dataclass

from moe_lessons.config.wording import require


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a `MoETransformer`; the structure is that of Mixtral.

    Raises
    ------
    ValueError
        If sizes don't fit together; the message names argument, value and remedy.

    References
    ----------
    Jiang et al., "Mixtral of Experts", arXiv:2401.04088, section 2.

    Examples
    --------
    >>> ModelConfig(top_k=9)
    Traceback (most recent call last):
        ...
    ValueError: top_k=9: choose 1 to n_experts=8
    """

    vocab_size: int = 256  # bytes
    n_layers: int = 4
    d_model: int = 128  # D
    n_heads: int = 4
    n_kv_heads: int = 2  # fewer than n_heads: grouped-query attention
    d_expert: int = 128  # F
    n_experts: int = 8  # E
    top_k: int = 2  # K
    gate: str = "topk_softmax"
    routed_scale: float = 1.0  # a factor on the experts' weights, such as G for experts cut into G slices
    expert_bias: bool = False  # a bias on the choice of experts, for a `balancing` that sets it
    n_shared_experts: int = 0
    context_length: int = 128  # L
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    tie_embeddings: bool = False
    n_dense_layers: int = 0  # the first so many layers have one feed-forward network instead of experts
    moe_every: int = 1  # 2: experts in layers 2, 4, 6, ... only, counted from 1
    d_dense: int | None = None  # hidden width of a dense layer; None: what a token meets in a MoE layer

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if type(value) is int:
                least = 0 if item.name in ("n_shared_experts", "n_dense_layers") else 1
                require(value >= least, item.name, value, f"choose {least} or more")
        culprit = "n_dense_layers" if self.moe_every <= self.n_layers else "moe_every"
        require(
            self.n_moe_layers >= 1,
            culprit,
            getattr(self, culprit),
            f"leaves none of n_layers={self.n_layers} with experts; for a dense model choose n_experts=1",
        )
        require(
            1 <= self.top_k <= self.n_experts, "top_k", self.top_k, f"choose 1 to n_experts={self.n_experts}"
        )
        require(
            self.d_model % self.n_heads == 0,
            "d_model",
            self.d_model,
            f"choose a multiple of n_heads={self.n_heads}, such as "
            f"{max(1, self.d_model // self.n_heads) * self.n_heads}",
        )
        require(
            self.d_head % 2 == 0, "d_model", self.d_model, "rotary positions need an even d_model / n_heads"
        )
        require(
            self.n_heads % self.n_kv_heads == 0,
            "n_kv_heads",
            self.n_kv_heads,
            f"choose a divisor of n_heads={self.n_heads}",
        )
        require(0 < self.rope_theta < math.inf, "rope_theta", self.rope_theta, "choose a positive number")
        require(
            0 < self.routed_scale < math.inf, "routed_scale", self.routed_scale, "choose a positive number"
        )
        require(0 < self.norm_eps < math.inf, "norm_eps", self.norm_eps, "choose a positive number")

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads

    def has_experts(self, layer: int) -> bool:
        """Whether a layer, counted from 0, is a MoE layer rather than a dense one.

        Examples
        --------
        >>> config = ModelConfig(n_layers=6, n_dense_layers=2, moe_every=2)
        >>> [layer for layer in range(6) if config.has_experts(layer)]
        [3, 5]
        """
        return layer >= self.n_dense_layers and (layer + 1) % self.moe_every == 0

    @property
    def n_moe_layers(self) -> int:
        """How many layers have experts."""
        return sum(self.has_experts(layer) for layer in range(self.n_layers))

    @property
    def d_feed_forward(self) -> int:
        """Hidden width of a dense layer: by default as many parameters as a token meets in a MoE layer."""
        return self.d_dense or (self.top_k + self.n_shared_experts) * self.d_expert
