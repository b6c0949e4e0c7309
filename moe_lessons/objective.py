"""What training minimises and what it is judged by: losses, the learning rate, held-out bits per byte."""

import contextlib
import math
from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.balancing import load_balancing_loss, z_loss
from moe_lessons.config import TrainConfig
from moe_lessons.data import evaluation_windows
from moe_lessons.model import MoETransformer
from moe_lessons.routing import Routing


class RouterLosses(NamedTuple):
    """Auxiliary losses without their weights, each a scalar summed over the layers."""

    load_balancing: Tensor
    z: Tensor


def router_losses(routings: tuple[Routing, ...]) -> RouterLosses:
    """Sum the load-balancing loss and the z-loss over the layers.

    Each layer for itself: loads pooled over layers can look even while every layer has collapsed.

    Parameters
    ----------
    routings : tuple of Routing
        One per layer.

    Returns
    -------
    RouterLosses

    Examples
    --------
    >>> undecided = Routing(torch.zeros(4, 2), torch.tensor([[0], [1], [0], [1]]), torch.ones(4, 1))
    >>> float(router_losses((undecided, undecided)).load_balancing)  # 1 per layer when balanced
    2.0
    """
    balancing = [load_balancing_loss(routing.logits_TE, routing.topk_ids_TK) for routing in routings]
    return RouterLosses(
        torch.stack(balancing).sum(), torch.stack([z_loss(r.logits_TE) for r in routings]).sum()
    )


def learning_rate_at(config: TrainConfig, step: int) -> float:
    """Linear warm-up to the peak, then half a cosine down to its `min_learning_rate_ratio`.

    Parameters
    ----------
    config : TrainConfig
    step : int
        Counted from 0.

    References
    ----------
    Loshchilov and Hutter, "SGDR", arXiv:1608.03983, equation 5.

    Examples
    --------
    >>> config = TrainConfig(learning_rate=1.0, warmup_steps=2, steps=12, min_learning_rate_ratio=0.0)
    >>> [round(learning_rate_at(config, step), 2) for step in (0, 1, 2, 7)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    floor = config.min_learning_rate_ratio
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def make_optimizer(model: MoETransformer, config: TrainConfig) -> torch.optim.AdamW:
    """Build AdamW that decays matrices and leaves the norms' vectors alone.

    References
    ----------
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101, algorithm 2.
    """
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Bfloat16 autocast on a GPU that has it in hardware; everywhere else float32 throughout."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


def bits_per_byte(nats: float) -> float:
    """Convert a cross entropy over bytes from nats to bits.

    Examples
    --------
    >>> round(bits_per_byte(math.log(256)), 6)
    8.0
    """
    return nats / math.log(2)


@torch.no_grad()
def evaluate(model: MoETransformer, tokens_M: Tensor, *, tokens_per_batch: int = 4096) -> float:
    """Mean bits per byte over held-out tokens, cut into windows of the model's context length.

    Parameters
    ----------
    model : MoETransformer
    tokens_M : Tensor, int64, shape (M,)
        At least one token more than the context length.
    tokens_per_batch : int
        Bounds the memory; the result depends on it by rounding only.

    Returns
    -------
    float
    """
    length = model.config.context_length
    device = model.embedding.weight.device
    was_training = model.training
    model.eval()
    inputs_WL, targets_WL = evaluation_windows(tokens_M, length)
    n_windows = max(1, tokens_per_batch // length)
    nats = 0.0
    for inputs_BL, targets_BL in zip(inputs_WL.split(n_windows), targets_WL.split(n_windows), strict=True):
        with precision(device):
            loss = model(inputs_BL.to(device), targets_BL.to(device)).loss
        assert loss is not None
        nats += loss.item() * len(inputs_BL)
    model.train(was_training)
    return bits_per_byte(nats / len(inputs_WL))
