"""What training minimises and what it is judged by: losses, the learning rate, held-out bits per byte."""

import contextlib
import math
from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.balancing import UPDATES, load_balancing_loss, quantile_bias, z_loss
from moe_lessons.balancing.groups import sum_over_ranks, world_size
from moe_lessons.config import TrainConfig
from moe_lessons.data import evaluation_windows
from moe_lessons.layer import BIASED_GATES
from moe_lessons.model import MoETransformer
from moe_lessons.routing import Routing, tokens_per_expert

# What the balancing loss makes P of: the score that the gate's weights are made of.
SCORES = {"sigmoid": "sigmoid", "topk_sigmoid": "sigmoid", "sqrt_softplus": "sqrt_softplus"}


class RouterLosses(NamedTuple):
    """Auxiliary losses without their weights, each a scalar summed over the layers."""

    load_balancing: Tensor
    z: Tensor


def router_losses(routings: tuple[Routing, ...], gate: str = "topk_softmax") -> RouterLosses:
    """Sum the load-balancing loss and the z-loss over the layers.

    Each layer for itself: loads pooled over layers can look even while every layer has collapsed.

    Parameters
    ----------
    routings : tuple of Routing
        One per layer.
    gate : str
        The gate that made them: P in the load-balancing loss is of the same kind of score.

    Returns
    -------
    RouterLosses

    Examples
    --------
    >>> undecided = Routing(torch.zeros(4, 2), torch.tensor([[0], [1], [0], [1]]), torch.ones(4, 1))
    >>> float(router_losses((undecided, undecided)).load_balancing)  # 1 per layer when balanced
    2.0
    """
    scores = SCORES.get(gate, "softmax")
    balancing = [load_balancing_loss(r.logits_TE, r.topk_ids_TK, scores=scores) for r in routings]
    return RouterLosses(
        torch.stack(balancing).sum(), torch.stack([z_loss(r.logits_TE) for r in routings]).sum()
    )


@torch.no_grad()
def update_expert_bias(model: MoETransformer, routings: tuple[Routing, ...], config: TrainConfig) -> None:
    """Set each layer's selection bias for the next step from the load of the one just done.

    After the optimizer's step, never before: a bias from the tokens that it routes lets later tokens decide
    about earlier ones. Loads are added up over the ranks of torch.distributed: all keep the same bias.

    Parameters
    ----------
    model : MoETransformer
    routings : tuple of Routing
        Of that step, one per layer.
    config : TrainConfig
        `balancing` names the rule; without "bias_" nothing is done.

    Raises
    ------
    ValueError
        If the model has no expert bias, or with "bias_quantile" on several ranks: quantiles, unlike counts,
        do not add up.

    References
    ----------
    Wang et al., arXiv 2408.15664, algorithm 1.
    """
    rule = config.balancing.removeprefix("bias_")
    if rule == config.balancing:
        return
    if rule == "quantile" and world_size() > 1:
        raise ValueError(f"balancing is {config.balancing!r} on {world_size()} ranks: choose bias_sign")
    counts_LE = torch.stack([tokens_per_expert(r.topk_ids_TK, r.logits_TE.shape[1]) for r in routings])
    (counts_LE,) = sum_over_ranks(counts_LE)
    for moe, routing, counts_E in zip(model.moe_layers, routings, counts_LE, strict=True):
        bias_E = moe.router.expert_bias_E
        if bias_E is None:
            raise ValueError(f"balancing is {config.balancing!r}: build the model with expert_bias=True")
        if rule == "quantile":
            scores_TE = BIASED_GATES[moe.gate](routing.logits_TE)
            new_E = quantile_bias(scores_TE, moe.top_k, expert_bias_E=bias_E, iterations=1)
        else:
            new_E = UPDATES[rule](bias_E, counts_E, config.bias_rate)
        bias_E.copy_(new_E)


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
