"""Train a model of one's own parts, give its head its last steps, and say how good it is."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from moe_lessons.config import TrainConfig
from moe_lessons.data import training_batch
from moe_lessons.own.model import OwnTransformer
from moe_lessons.steps import each
from moe_lessons.training.objective import make_optimizer
from moe_lessons.training.schedule import learning_rate_at


@dataclass(frozen=True)
class OwnRecord:
    """One step.

    Attributes
    ----------
    step : int
        Finished steps.
    loss : float
        What was minimised, in nats: cross entropy and the router's losses.
    load_loss : float
        The load-balancing loss, mean of the layers: 1 is even.
    effective_experts : list of float
        By layer, from the load's entropy.
    """

    step: int
    loss: float
    load_loss: float
    effective_experts: list[float]


def windows(tokens_N: Tensor, config: TrainConfig, step: int) -> Tensor:
    """The windows [B, L] of a step. The last token of each is a target only: nothing is asked of it."""
    shape = {"batch_size": config.batch_size, "context_length": config.model.context_length - 1}
    inputs_BL, targets_BL = training_batch(tokens_N, seed=config.seed, step=step, **shape)
    return torch.cat((inputs_BL, targets_BL[:, -1:]), dim=1)


def train_own(
    model: OwnTransformer,
    config: TrainConfig,
    train_N: Tensor,
    *,
    seconds: float = float("inf"),
    log_every: int = 10,
    on_record: Callable[[OwnRecord], None] | None = None,
) -> list[OwnRecord]:
    """Train for `config.steps` steps, or until the time is up: a part may be right and slow.

    Parameters
    ----------
    model : OwnTransformer
    config : TrainConfig
        Steps, batch, seed, rates and weights of the router's losses are taken from it.
    train_N : Tensor, shape (N,)
    seconds : float
        Of computing, not of waiting: on a busy machine the same steps are done.
    log_every : int
        Steps between records.
    on_record : callable, optional

    Returns
    -------
    list of OwnRecord
        The last step's is always there.
    """
    parts, top_k = model.parts, config.model.top_k
    optimizer = make_optimizer(model.frame, config)
    records: list[OwnRecord] = []
    began = time.thread_time()
    for step in each(range(config.steps), "step"):
        tokens_BL = windows(train_N, config, step)
        logits_BLV, router_logits_NTE = model(tokens_BL, "train")
        weights = config.alpha, config.z_loss_weight
        loss = parts.training_loss(logits_BLV, tokens_BL, router_logits_NTE, top_k, *weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.frame.parameters(), config.grad_clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(config, step)
        optimizer.step()
        optimizer.zero_grad()
        late = time.thread_time() - began > seconds
        if late or (step + 1) % log_every == 0 or step + 1 == config.steps:
            records.append(watched(model, step + 1, loss.item(), router_logits_NTE.detach()))
            if on_record is not None:
                on_record(records[-1])
        if late:
            break
    return records


def watched(model: OwnTransformer, step: int, loss: float, router_logits_NTE: Tensor) -> OwnRecord:
    """Look at the load of a step."""
    n_tokens, n_experts = router_logits_NTE.shape[1:]
    top_k = model.config.top_k
    everyone_T = torch.ones(n_tokens, dtype=torch.bool)
    load_loss = model.parts.balancing_loss(router_logits_NTE, everyone_T, top_k)
    ids_NS = router_logits_NTE.topk(top_k, dim=-1).indices.flatten(1)
    counts_NE = torch.nn.functional.one_hot(ids_NS, n_experts).sum(dim=1)
    from_entropy_N, _ = model.parts.effective_experts(counts_NE)
    return OwnRecord(step, loss, float(load_loss), from_entropy_N.tolist())


def polish_head(
    model: OwnTransformer,
    config: TrainConfig,
    train_N: Tensor,
    *,
    steps: int,
    micro_batches: int = 2,
    peak: float,
    warmup_steps: int = 2,
    max_norm: float = 1.0,
) -> None:
    """Train the head alone, by `parts.training_steps`: to it, what the body makes of each token is the input.

    It sees the windows that would come next in training, `micro_batches` batches in each step.

    Parameters
    ----------
    model : OwnTransformer
    config : TrainConfig
    train_N : Tensor, shape (N,)
    steps, micro_batches : int
        S and M of the exercise; a micro-batch is a batch of `config`.
    peak, warmup_steps, max_norm
        See the exercise.
    """
    frame = model.frame
    caught: list[Tensor] = []
    hook = frame.final_norm.register_forward_hook(lambda module, inputs, output: caught.append(output))
    with torch.no_grad():
        batches = [windows(train_N, config, config.steps + n) for n in range(steps * micro_batches)]
        for tokens_BL in batches:
            model(tokens_BL, "train")
    hook.remove()
    shape = steps, micro_batches, -1
    inputs_SMND = torch.stack([hidden_BLD[:, :-1] for hidden_BLD in caught]).view(
        *shape, config.model.d_model
    )
    targets_SMN = torch.stack([tokens_BL[:, 1:] for tokens_BL in batches]).view(*shape)
    weight_VD = frame.head.weight.detach()
    better_VD = model.parts.training_steps(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm)
    with torch.no_grad():
        frame.head.weight.copy_(better_VD)


@torch.no_grad()
def evaluate_own(model: OwnTransformer, tokens_M: Tensor) -> float:
    """Bits per byte on held-out tokens, the last window included, which is short.

    Parameters
    ----------
    model : OwnTransformer
    tokens_M : Tensor, shape (M,)
        All at once: give a few thousand at most.
    """
    length = model.config.context_length
    targets_WL = torch.zeros(-(-(len(tokens_M) - 1) // length), length, dtype=torch.long)
    inputs_WL = torch.zeros_like(targets_WL)
    inputs_WL.view(-1)[: len(tokens_M) - 1] = tokens_M[:-1]
    targets_WL.view(-1)[: len(tokens_M) - 1] = tokens_M[1:]
    lengths_W = (len(tokens_M) - 1 - length * torch.arange(len(targets_WL))).clamp(max=length)
    return float(model.parts.bits_per_byte(model(inputs_WL, "evaluate").logits_BLV, targets_WL, lengths_W))
