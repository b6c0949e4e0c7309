"""Whole training steps: our model, Hugging Face's Mixtral with the same weights, and our own dense model."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moe_lessons.bench.contestants import NotHere
from moe_lessons.bench.dense import EQUAL_ACTIVE, variants
from moe_lessons.config import TrainConfig
from moe_lessons.experts import SwiGLU
from moe_lessons.interop.mixtral import to_mixtral
from moe_lessons.interop.names import pieces
from moe_lessons.linear import FeedForward, Linear
from moe_lessons.model import DenseBlock, MoETransformer
from moe_lessons.training.objective import make_optimizer

Forward = Callable[[Tensor], Tensor]
OURS, DENSE, ONE_EXPERT, DENSE_TORCH = "ours", "dense", "dense_one_expert", "dense_torch_linear"
PEERS = {"hf_eager": "eager", "hf_grouped_mm": "grouped_mm"}
LOGITS_WITHIN = {"cpu": 1e-5, "cuda": 0.2}  # on a GPU products are in bf16
LOSS_WITHIN = {"cpu": 1e-5, "cuda": 0.01}


@dataclass
class Trainee:
    """A model and its optimizer.

    Attributes
    ----------
    model : nn.Module
    forward : callable
        Tokens (B, L) to logits (B, L, V).
    optimizer : torch.optim.Optimizer
    config : TrainConfig
    """

    model: nn.Module
    forward: Forward
    optimizer: torch.optim.Optimizer
    config: TrainConfig

    def loss(self, tokens_BL: Tensor, targets_BL: Tensor) -> Tensor:
        """Mean cross entropy of the next token."""
        with precision(tokens_BL.device):
            logits_BLV = self.forward(tokens_BL)
        return F.cross_entropy(logits_BLV.float().flatten(0, 1), targets_BL.flatten())

    def step(self, tokens_BL: Tensor, targets_BL: Tensor) -> None:
        """Forward, loss, backward, clipping, AdamW."""
        self.loss(tokens_BL, targets_BL).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Return bf16 autocast on a GPU, nothing on a CPU: everybody multiplies in the same format."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


def ours(config: TrainConfig, device: torch.device) -> Trainee:
    """Return our model."""
    generator = torch.Generator().manual_seed(config.seed)
    return trainee(MoETransformer(config.model, generator=generator).to(device), config)


def dense(config: TrainConfig, device: torch.device, *, products: str = "ours") -> Trainee:
    """Return our model with plain feed-forward networks, as wide as K experts: no router.

    `products` "torch" has it multiply by `F.linear` throughout, as everybody would write it; our own linear
    maps go to oneDNN where that is faster.
    """
    equal = variants(config)[EQUAL_ACTIVE]
    model = MoETransformer(equal.model)
    model.blocks = nn.ModuleList(DenseBlock(equal.model) for _ in model.blocks)
    model.initialize(torch.Generator().manual_seed(config.seed))
    if products == "torch":
        for module in model.modules():
            module.__class__ = {Linear: nn.Linear, FeedForward: SwiGLU}.get(type(module), type(module))
    return trainee(model.to(device), config)


def trainee(model: MoETransformer, config: TrainConfig) -> Trainee:
    """Return one of our models with its optimizer."""
    optimizer = make_optimizer(model, config)
    return Trainee(model, lambda tokens_BL: model(tokens_BL).logits_BLV, optimizer, config)


def mixtral(config: TrainConfig, device: torch.device, implementation: str) -> Trainee:
    """Return Hugging Face's Mixtral with the weights that `ours` has.

    Raises
    ------
    NotHere
        If transformers is not installed.
    """
    try:
        from transformers import MixtralConfig, MixtralForCausalLM
    except ImportError:
        raise NotHere("transformers is not installed") from None
    source = ours(config, torch.device("cpu")).model.state_dict()
    how: dict[str, Any] = {"attn_implementation": "sdpa", "experts_implementation": implementation}
    theirs = MixtralConfig(**to_mixtral(config.model), **how)
    model = MixtralForCausalLM(theirs).float().train()
    with torch.no_grad():
        parameters = model.state_dict()
        for name, value in mixtral_names(config, source):
            parameters.pop(name).copy_(value)
    if parameters:
        raise NotHere(f"this transformers has further weights: {', '.join(parameters)}")
    model.to(device)
    optimizer = make_optimizer(model, config)  # it asks for nothing but parameters
    return Trainee(model, lambda tokens_BL: model(tokens_BL, use_cache=False).logits, optimizer, config)


def mixtral_names(config: TrainConfig, source: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Give each of our tensors the name that transformers 5 has for it in memory."""
    every_layer = frozenset(range(config.model.n_layers))
    for name, (piece,) in pieces(config.model, fused_layers=every_layer).items():
        yield piece.key.replace("block_sparse_moe", "mlp"), source[name]


def contestants(config: TrainConfig, device: torch.device) -> tuple[dict[str, Trainee], dict[str, str]]:
    """Build who can take part, and say of the others why not."""
    found = {
        OURS: ours(config, device),
        DENSE: dense(config, device),
        DENSE_TORCH: dense(config, device, products="torch"),
        ONE_EXPERT: ours(variants(config)[EQUAL_ACTIVE], device),
    }
    absent = {}
    for name, implementation in PEERS.items():
        try:
            found[name] = mixtral(config, device, implementation)
        except NotHere as reason:
            absent[name] = str(reason)
    return found, absent


def check(trainees: dict[str, Trainee], tokens_BL: Tensor, targets_BL: Tensor) -> dict[str, float]:
    """Return each peer's largest difference from our logits.

    Raises
    ------
    ValueError
        If logits, loss or the gradient's norm differ: then the two do not do the same work.
    """
    expected = _answer(trainees[OURS], tokens_BL, targets_BL)
    kind = tokens_BL.device.type
    differences = {}
    for name in PEERS:
        if name not in trainees:
            continue
        found = _answer(trainees[name], tokens_BL, targets_BL)
        differences[name] = float((found[0] - expected[0]).abs().max())
        if not differences[name] <= LOGITS_WITHIN[kind]:
            raise ValueError(f"{name}: logits differ by {differences[name]:.1e}; nothing is reported")
        for what, mine, theirs in zip(("loss", "gradient norm"), expected[1:], found[1:], strict=True):
            if not abs(theirs / mine - 1) <= LOSS_WITHIN[kind]:
                raise ValueError(f"{name}: {what} is {theirs:.6f}, ours {mine:.6f}; nothing is reported")
    return differences


def _answer(trainee: Trainee, tokens_BL: Tensor, targets_BL: Tensor) -> tuple[Tensor, float, float]:
    with torch.no_grad(), precision(tokens_BL.device):
        logits_BLV = trainee.forward(tokens_BL).float()
    loss = trainee.loss(tokens_BL, targets_BL)
    loss.backward()
    norm = nn.utils.get_total_norm([p.grad for p in trainee.model.parameters() if p.grad is not None])
    trainee.optimizer.zero_grad(set_to_none=True)
    return logits_BLV, loss.item(), norm.item()
