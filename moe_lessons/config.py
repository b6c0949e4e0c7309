"""What a run is made of: the sizes of a model, the settings of its training, and ready presets.

Imports no torch, so that the command line can list and check them at once.
"""

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


def _require(condition: bool, name: str, value: object, remedy: str) -> None:
    if not condition:
        raise ValueError(f"{name}={value}: {remedy}")


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
                _require(value >= least, item.name, value, f"choose {least} or more")
        culprit = "n_dense_layers" if self.moe_every <= self.n_layers else "moe_every"
        _require(
            self.n_moe_layers >= 1,
            culprit,
            getattr(self, culprit),
            f"leaves none of n_layers={self.n_layers} with experts; for a dense model choose n_experts=1",
        )
        _require(
            1 <= self.top_k <= self.n_experts, "top_k", self.top_k, f"choose 1 to n_experts={self.n_experts}"
        )
        _require(
            self.d_model % self.n_heads == 0,
            "d_model",
            self.d_model,
            f"choose a multiple of n_heads={self.n_heads}, such as "
            f"{max(1, self.d_model // self.n_heads) * self.n_heads}",
        )
        _require(
            self.d_head % 2 == 0, "d_model", self.d_model, "rotary positions need an even d_model / n_heads"
        )
        _require(
            self.n_heads % self.n_kv_heads == 0,
            "n_kv_heads",
            self.n_kv_heads,
            f"choose a divisor of n_heads={self.n_heads}",
        )
        _require(self.rope_theta > 0, "rope_theta", self.rope_theta, "choose a positive number")
        _require(self.norm_eps > 0, "norm_eps", self.norm_eps, "choose a positive number")

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


BALANCING = ("none", "aux_loss", "bias_sign", "bias_proportional", "bias_ema", "bias_quantile")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a training run.

    Raises
    ------
    ValueError
        If a setting makes no sense; the message names argument, value and remedy.

    References
    ----------
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101 (AdamW);
    Fedus et al., "Switch Transformers", arXiv:2101.03961, equation 4 (alpha);
    Wang et al., "Auxiliary-Loss-Free Load Balancing", arXiv:2408.15664, algorithm 1 (bias_rate);
    Zoph et al., "ST-MoE", arXiv:2202.08906, equation 5 (z-loss).
    """

    name: str = "custom"
    model: ModelConfig = field(default_factory=ModelConfig)
    corpus: str = "language-reference"  # or the path of a file
    seed: int = 0
    steps: int = 1700
    batch_size: int = 8  # B, windows of context_length bytes
    learning_rate: float = 1.4e-3  # the peak
    min_learning_rate_ratio: float = 0.1  # where the cosine ends
    warmup_steps: int = 50
    weight_decay: float = 0.4  # on matrices only
    betas: tuple[float, float] = (0.9, 0.95)
    grad_clip: float = 1.0  # largest norm of the gradient
    balancing: str = "aux_loss"  # one of BALANCING; a bias needs a gate that takes one, such as "sigmoid"
    alpha: float = 0.01  # with "aux_loss": weight of the load-balancing loss, summed over layers
    bias_rate: float = 0.001  # with "bias_...": the rule's rate, for "bias_ema" its gain
    z_loss_weight: float = 0.001  # weight of the router z-loss, summed over layers
    log_every: int = 10
    evaluate_every: int = 200
    checkpoint_every: int = 200
    device: str = "auto"  # cuda if there is one

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "evaluate_every", "checkpoint_every"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "choose 1 or more")
        for name in ("warmup_steps", "weight_decay", "alpha", "bias_rate", "z_loss_weight", "seed"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "choose 0 or more")
        for name in ("learning_rate", "grad_clip"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "choose a positive number")
        _require(
            0 <= self.min_learning_rate_ratio <= 1,
            "min_learning_rate_ratio",
            self.min_learning_rate_ratio,
            "choose 0 to 1",
        )
        _require(
            self.balancing in BALANCING, "balancing", self.balancing, f"choose one of {', '.join(BALANCING)}"
        )
        _require(
            self.model.expert_bias or not self.balancing.startswith("bias_"),
            "balancing",
            self.balancing,
            "give the model expert_bias=True, as override(balancing=...) does",
        )

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one step trains on: B * L."""
        return self.batch_size * self.model.context_length

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dictionary that JSON can hold; `from_dict` reads it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """Build a configuration from what `to_dict` returned."""
        return cls(**{**values, "model": ModelConfig(**values["model"]), "betas": tuple(values["betas"])})

    def override(self, **changes: Any) -> "TrainConfig":
        """Return a copy with some settings changed, those of the model included; None means unchanged.

        A new `balancing` also gives the model an expert bias, or takes it away.

        Examples
        --------
        >>> preset("smoke").override(steps=5, top_k=1, seed=None).model.top_k
        1
        """
        given = {name: value for name, value in changes.items() if value is not None}
        if "balancing" in given:
            given.setdefault("expert_bias", given["balancing"].startswith("bias_"))
        model_names = {item.name for item in dataclasses.fields(ModelConfig)}
        for_model = {name: given.pop(name) for name in list(given) if name in model_names}
        return dataclasses.replace(self, model=dataclasses.replace(self.model, **for_model), **given)


PRESETS: dict[str, TrainConfig] = {
    "cpu-tiny": TrainConfig(name="cpu-tiny"),
    "lesson": TrainConfig(name="lesson", steps=500, learning_rate=2e-3, evaluate_every=100),
    "smoke": TrainConfig(
        name="smoke",
        model=ModelConfig(n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_expert=32, context_length=32),
        steps=20,
        batch_size=4,
        warmup_steps=5,
        log_every=5,
        evaluate_every=20,
        checkpoint_every=10,
    ),
}


def nearest(word: str, choices: Sequence[str]) -> str:
    """Return the choice that looks most like a word, or all choices if none does.

    Examples
    --------
    >>> nearest("cpu_tiny", ["cpu-tiny", "lesson"])
    "did you mean 'cpu-tiny'?"
    """
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(choices)}"


def preset(name: str) -> TrainConfig:
    """Look up a preset by name.

    Raises
    ------
    ValueError
        If there is none of that name; the message suggests the nearest.

    Examples
    --------
    >>> preset("cpu-tinny")
    Traceback (most recent call last):
        ...
    ValueError: unknown preset 'cpu-tinny': did you mean 'cpu-tiny'?
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: {nearest(name, list(PRESETS))}")
    return PRESETS[name]


def difference(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> list[str]:
    """List the entries in which two nested dictionaries differ, as ``name: theirs -> ours``.

    Examples
    --------
    >>> difference({"a": 1, "model": {"top_k": 2}}, {"a": 1, "model": {"top_k": 1}})
    ['model.top_k: 1 -> 2']
    """
    lines: list[str] = []
    for name in sorted({*ours, *theirs}):
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, dict) and isinstance(other, dict):
            lines += difference(mine, other, f"{prefix}{name}.")
        elif mine != other:
            lines.append(f"{prefix}{name}: {other} -> {mine}")
    return lines
