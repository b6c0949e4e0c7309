"""What training minimises and what it is judged by: losses, the optimizer, held-out bits per byte."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moe_lessons.balancing import UPDATES, load_balancing_loss, quantile_bias, z_loss
from moe_lessons.balancing.groups import sum_over_ranks, world_size
from moe_lessons.config import TrainConfig
from moe_lessons.data import MAX_EVALUATION_TOKENS, evaluation_windows
from moe_lessons.model import MoETransformer
from moe_lessons.routing import Routing, tokens_per_expert
from moe_lessons.routing.base import real_rows
from moe_lessons.training.distributed import Ranks
from moe_lessons.training.precision import autocast

# What the balancing loss makes P of: the score that the gate's weights are made of.
SCORES = {"sigmoid": "sigmoid", "topk_sigmoid": "sigmoid", "sqrt_softplus": "sqrt_softplus"}


class RouterLosses(NamedTuple):
    """Auxiliary losses without their weights, each a scalar summed over the layers."""

    load_balancing: Tensor
    z: Tensor


def router_losses(
    routings: tuple[Routing, ...],
    gate: str = "topk_softmax",
    *,
    scope: str = "micro_batch",
    n_sequences: int | None = None,
    earlier_counts_LE: Tensor | None = None,
) -> RouterLosses:
    """Sum the load-balancing loss and the z-loss over the layers.

    Each layer for itself: loads pooled over layers can look even while every layer has collapsed. Tokens that
    a mask left out (their expert ids are -1) count nowhere.

    Parameters
    ----------
    routings : tuple of Routing
        One per layer.
    gate : str
        The gate that made them: P in the load-balancing loss is of the same kind of score.
    scope : str
        Over which tokens the load is to be even, see `load_balancing_loss`.
    n_sequences : int, optional
        How many sequences the tokens are of; scope "sequence" needs it.
    earlier_counts_LE : integer Tensor of shape (layers, E), optional
        With scope "global_batch", the rows of the step's micro-batches before this one.

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
    earlier = [None] * len(routings) if earlier_counts_LE is None else list(earlier_counts_LE)
    balancing = [
        load_balancing_loss(
            routing.logits_TE,
            routing.topk_ids_TK,
            scores=scores,
            scope=scope,
            n_sequences=n_sequences if scope == "sequence" else None,
            earlier_counts_E=counts_E if scope == "global_batch" else None,
        )
        for routing, counts_E in zip(routings, earlier, strict=True)
    ]
    return RouterLosses(
        torch.stack(balancing).sum(),
        torch.stack([z_loss(r.logits_TE, mask_T=real_rows(r.topk_ids_TK)) for r in routings]).sum(),
    )


def count_rows(routings: tuple[Routing, ...]) -> Tensor:
    """Count each expert's routed rows, layer by layer.

    Returns
    -------
    Tensor of shape (layers, E), int64

    Examples
    --------
    >>> count_rows((Routing(torch.zeros(3, 2), torch.tensor([[0], [1], [1]]), torch.ones(3, 1)),))
    tensor([[1, 2]])
    """
    return torch.stack([tokens_per_expert(r.topk_ids_TK, r.logits_TE.shape[1]) for r in routings])


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
    (counts_LE,) = sum_over_ranks(count_rows(routings))
    for moe, routing, counts_E in zip(model.moe_layers, routings, counts_LE, strict=True):
        bias_E = moe.router.expert_bias_E
        if bias_E is None:
            raise ValueError(f"balancing is {config.balancing!r}: build the model with expert_bias=True")
        if rule == "quantile":
            real_TE = routing.logits_TE[real_rows(routing.topk_ids_TK)]
            scores_TE = moe.spec.scores(real_TE)
            new_E = quantile_bias(scores_TE, moe.top_k, expert_bias_E=bias_E, iterations=1)
        else:
            new_E = UPDATES[rule](bias_E, counts_E, config.bias_rate)
        bias_E.copy_(new_E)


def make_optimizer(model: MoETransformer, config: TrainConfig) -> torch.optim.AdamW:
    """Build AdamW that decays matrices and leaves the norms' vectors alone.

    References
    ----------
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101, algorithm 2.
    """
    parameters = list(model.parameters())
    numbered = enumerate(sorted(parameters, key=lambda parameter: parameter.ndim <= 1))
    groups: dict[Any, dict[str, Any]] = {}
    for number, parameter in numbered:
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        # Fused AdamW refuses plain tensors together with shards, and shards on different ranks.
        where = getattr(parameter, "device_mesh", None)
        group = groups.setdefault((decay, where), {"params": [], "weight_decay": decay, "numbers": []})
        group["params"].append(parameter)
        group["numbers"].append(number)
    return torch.optim.AdamW(
        list(groups.values()), lr=config.learning_rate, betas=config.betas, eps=config.adam_eps, fused=True
    )


def bits_per_byte(nats: float, *, bytes_per_token: float = 1.0) -> float:
    """Convert a cross entropy in nats per token to bits per byte.

    Examples
    --------
    >>> round(bits_per_byte(math.log(256)), 6), round(bits_per_byte(math.log(4096), bytes_per_token=4), 6)
    (8.0, 3.0)
    """
    return nats / bytes_per_token / math.log(2)


@torch.no_grad()
def evaluate(
    model: MoETransformer,
    tokens_M: Tensor,
    *,
    tokens_per_batch: int = 4096,
    precision: str = "auto",
    ranks: Ranks | None = None,
    byte_lengths_V: Tensor | None = None,
) -> float:
    """Mean bits per byte over held-out tokens, cut into windows of the model's context length.

    Of more than `MAX_EVALUATION_TOKENS` tokens, windows at equal distances make up so many.

    Parameters
    ----------
    model : MoETransformer
    tokens_M : Tensor, shape (M,)
        At least one token more than the context length.
    tokens_per_batch : int
        Bounds the memory; the result depends on it by rounding only.
    precision : str
        Of the products, see `moe_lessons.training.precision`.
    ranks : Ranks, optional
        The batches are dealt out to them; all must call.
    byte_lengths_V : Tensor, int64, shape (V,), optional
        Bytes that each token stands for, as a corpus' tokenizer knows them; one each unless given.

    Returns
    -------
    float
        The nats of all predicted tokens over their bytes, in bits.
    """
    length = model.config.context_length
    device = model.embedding.weight.device
    was_training = model.training
    model.eval()
    inputs_WL, targets_WL = evaluation_windows(
        tokens_M, length, at_most=max(1, MAX_EVALUATION_TOKENS // length)
    )
    n_windows = max(1, tokens_per_batch // length)
    nats = 0.0
    ranks = ranks or Ranks()
    batches = list(zip(inputs_WL.split(n_windows), targets_WL.split(n_windows), strict=True))
    for turn in range(ranks.rank, ranks.size * math.ceil(len(batches) / ranks.size), ranks.size):
        # A rank without a batch in the last round does the last one again: shards take all ranks to gather.
        inputs_BL, targets_BL = batches[min(turn, len(batches) - 1)]
        with autocast(precision, device):
            loss = model(inputs_BL.long().to(device), targets_BL.long().to(device)).loss
        assert loss is not None
        if turn < len(batches):
            nats += loss.item() * len(inputs_BL)
    model.train(was_training)
    nats = ranks.sum(nats)
    n_bytes = targets_WL.numel() if byte_lengths_V is None else byte_lengths_V[targets_WL.long()].sum().item()
    return bits_per_byte(nats / len(inputs_WL), bytes_per_token=n_bytes / targets_WL.numel())
