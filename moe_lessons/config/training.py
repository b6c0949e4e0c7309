"""The settings of a training run."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from moe_lessons.config.gradient import router_without_gradient, warn
from moe_lessons.config.model import ModelConfig
from moe_lessons.config.wording import require

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
BALANCING_SCOPES = ("micro_batch", "sequence", "global_batch")  # those of `load_balancing_loss`
TOKENIZERS = ("bytes", "bpe")  # or the path of a tokenizer.json; see moe_lessons.data
BPE_VOCABULARY = 4096
PARALLEL = ("auto", "ddp", "fsdp", "ep", "ep_fsdp")
SCHEDULES = ("cosine", "linear", "constant")
REPEATS = ("drop", "keep")
BALANCING = ("none", "aux_loss", "bias_sign", "bias_proportional", "bias_ema", "bias_quantile")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a training run.

    Raises
    ------
    ValueError
        If a setting makes no sense; the message names argument, value and remedy.

    Warns
    -----
    UserWarning
        If the task's loss will not train the router: one expert per token, behind a gate that renormalises.

    References
    ----------
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101 (AdamW);
    Fedus et al., "Switch Transformers", arXiv:2101.03961, equation 4 (alpha);
    Wang et al., "Auxiliary-Loss-Free Load Balancing", arXiv:2408.15664, algorithm 1 (bias_rate);
    Qiu et al., "Demons in the Detail", arXiv:2501.11873 (balancing_scope);
    Zoph et al., "ST-MoE", arXiv:2202.08906, equation 5 (z-loss).
    """

    name: str = "custom"
    model: ModelConfig = field(default_factory=ModelConfig)
    corpus: str | tuple[str, ...] = "language-reference"  # or the path of a file or folder, or several
    held_out: str = ""  # another text that is held out, instead of a share of the corpus
    held_out_share: float = 0.1  # of one text; see moe_lessons.data
    repeats: str = "drop"  # one of REPEATS: paragraphs of a user's text that came before
    tokenizer: str = "bytes"  # one of TOKENIZERS; how many tokens there are is the model's vocab_size
    seed: int = 0
    steps: int = 1700
    batch_size: int = 8  # B, windows of context_length tokens in one step of the optimizer
    accumulation_steps: int = 1  # those windows go through the model in so many micro-batches
    learning_rate: float = 1.4e-3  # the peak
    schedule: str = "cosine"  # one of SCHEDULES: how the learning rate falls after the warm-up
    min_learning_rate_ratio: float = 0.1  # where it ends
    warmup_steps: int = 50
    schedule_start: int = 0  # the step at which the schedule begins; later if a resumed run warms up again
    schedule_steps: int = 0  # the step at which it ends, and the rate stays; 0: with the run, at `steps`
    weight_decay: float = 0.4  # on matrices only
    betas: tuple[float, float] = (0.9, 0.95)
    adam_eps: float = 1e-8
    grad_clip: float = 1.0  # largest norm of the gradient
    balancing: str = "aux_loss"  # one of BALANCING; a bias needs a gate that takes one, such as "sigmoid"
    balancing_scope: str = (
        "global_batch"  # with "aux_loss": one of BALANCING_SCOPES, where loads are to be even
    )
    alpha: float = 0.01  # with "aux_loss": weight of the load-balancing loss, summed over layers
    bias_rate: float = 0.001  # with "bias_...": the rule's rate, for "bias_ema" its gain
    z_loss_weight: float = 0.001  # weight of the router z-loss, summed over layers
    log_every: int = 10
    evaluate_every: int = 200
    checkpoint_every: int = 200
    keep: int = 2  # checkpoints that stay, the best one beside them
    device: str = "auto"  # cuda if there is one
    parallel: str = "auto"  # one of PARALLEL: what several processes under torchrun share
    ep_size: int = 0  # with "ep", "ep_fsdp": how many ranks share one set of experts; 0: all of them
    precision: str = "auto"  # one of PRECISIONS; auto: bf16 on a GPU that has it in hardware, else fp32
    compile: bool = False  # let torch.compile rewrite the model's forward; the first steps take minutes

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_size",
            "accumulation_steps",
            "log_every",
            "evaluate_every",
            "checkpoint_every",
            "keep",
        ):
            require(getattr(self, name) >= 1, name, getattr(self, name), "choose 1 or more")
        for name in ("warmup_steps", "seed", "schedule_start", "schedule_steps", "ep_size"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "choose 0 or more")
        for name in ("weight_decay", "alpha", "bias_rate", "z_loss_weight"):
            require(0 <= getattr(self, name) < math.inf, name, getattr(self, name), "choose 0 or more")
        require(self.seed < 2**63, "seed", self.seed, "choose a number below 2**63")
        for name in ("learning_rate", "grad_clip", "adam_eps"):
            positive = 0 < getattr(self, name) < math.inf
            require(positive, name, getattr(self, name), "choose a positive number")
        two = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        require(two, "betas", self.betas, "choose two numbers from 0 to below 1")
        require(0 < self.held_out_share < 1, "held_out_share", self.held_out_share, "choose between 0 and 1")
        require(
            0 <= self.min_learning_rate_ratio <= 1,
            "min_learning_rate_ratio",
            self.min_learning_rate_ratio,
            "choose 0 to 1",
        )
        for name, known in (
            ("schedule", SCHEDULES),
            ("repeats", REPEATS),
            ("balancing", BALANCING),
            ("balancing_scope", BALANCING_SCOPES),
            ("precision", PRECISIONS),
            ("parallel", PARALLEL),
        ):
            value = getattr(self, name)
            require(value in known, name, value, f"choose one of {', '.join(known)}")
        require(
            self.batch_size % self.accumulation_steps == 0,
            "accumulation_steps",
            self.accumulation_steps,
            f"choose a divisor of batch_size={self.batch_size}, the windows of one step",
        )
        require(
            self.model.expert_bias or not self.balancing.startswith("bias_"),
            "balancing",
            self.balancing,
            "give the model expert_bias=True, as override(balancing=...) does",
        )
        require(
            not (self.compile and self.parallel.startswith("ep")),
            "compile",
            self.compile,
            f"leave it out with parallel={self.parallel!r}, whose sizes change with every step",
        )
        warn(router_without_gradient(self.model.gate, self.model.top_k, self.model.n_experts))

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one step of the optimizer trains on: B * L."""
        return self.batch_size * self.model.context_length

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dictionary that JSON can hold; `from_dict` reads it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """Build a configuration from what `to_dict` returned, or JSON made of it."""
        corpus = values["corpus"]
        made = {
            **values,
            "model": ModelConfig(**values["model"]),
            "betas": tuple(values["betas"]),
            "corpus": corpus if isinstance(corpus, str) else tuple(corpus),
        }
        return cls(**made)

    def override(self, **changes: Any) -> "TrainConfig":
        """Return a copy with some settings changed, those of the model included; None means unchanged.

        A new `balancing` also gives the model an expert bias, or takes it away. A new `tokenizer` also sets
        the vocabulary: 256 for bytes, `BPE_VOCABULARY` for "bpe".

        Examples
        --------
        >>> TrainConfig().override(steps=5, top_k=4, seed=None).model.top_k
        4
        """
        given = {name: value for name, value in changes.items() if value is not None}
        if "balancing" in given:
            given.setdefault("expert_bias", given["balancing"].startswith("bias_"))
        if "tokenizer" in given and given["tokenizer"] != self.tokenizer:
            sizes = {"bytes": 256, "bpe": BPE_VOCABULARY}
            given.setdefault("vocab_size", sizes.get(given["tokenizer"], self.model.vocab_size))
        model_names = {item.name for item in dataclasses.fields(ModelConfig)}
        for_model = {name: given.pop(name) for name in list(given) if name in model_names}
        return dataclasses.replace(self, model=dataclasses.replace(self.model, **for_model), **given)
