"""The gradient of one step of the optimizer, from one micro-batch after the other.

A micro-batch is what goes through the model at once: it bounds the memory. Which tokens a step sees, and
what it minimises, does not depend on how the step is cut, with one exception that has a name: the balancing
loss of scope "micro_batch".
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.config import TrainConfig
from moe_lessons.model import ModelOutput
from moe_lessons.routing import Routing
from moe_lessons.training.distributed import Ranks, gradients_stay_here
from moe_lessons.training.objective import RouterLosses, count_rows, router_losses
from moe_lessons.training.precision import LossScaler, autocast


class StepLosses(NamedTuple):
    """What one step came to, M micro-batches together.

    Attributes
    ----------
    loss_M : Tensor, shape (M,)
        Each micro-batch's mean cross entropy in nats.
    router : RouterLosses
        Means over the micro-batches.
    routings : tuple of Routing
        One per layer, of all tokens of the step, in their order.
    """

    loss_M: Tensor
    router: RouterLosses
    routings: tuple[Routing, ...]


class MicroBatchError(ValueError):
    """A forward pass met what is not a number; `micro_batch` says which one, counted from 0."""

    def __init__(self, message: str, micro_batch: int) -> None:
        super().__init__(message)
        self.micro_batch = micro_batch


def accumulate_gradients(
    forward: Callable[[Tensor, Tensor], ModelOutput],
    inputs_BL: Tensor,
    targets_BL: Tensor,
    config: TrainConfig,
    scaler: LossScaler,
    ranks: Ranks | None = None,
) -> StepLosses:
    """Add up the gradients of a step's mean loss, balancing loss and z-loss included.

    The step's loss is the mean over its M equally large micro-batches. Cross entropy and z-loss are means
    over tokens, so M does not matter to them. The balancing loss multiplies a load by a mean probability,
    and there it does: with scope "micro_batch" every micro-batch is to be even by itself. With scope
    "global_batch" the load is that of the step's micro-batches up to this one: the counts of later ones
    are not there yet, and to wait for them would keep all graphs in memory. With M = 1 that is the whole.

    Parameters
    ----------
    forward : callable
        The model.
    inputs_BL, targets_BL : Tensor, int64, shape (B, L)
        All windows of the step, or this rank's share.
    config : TrainConfig
    scaler : LossScaler
        Its scale multiplies the gradients.
    ranks : Ranks, optional
        Gradients are averaged over them once, after the last micro-batch.

    Returns
    -------
    StepLosses
        Without gradient, and without the scale.

    Raises
    ------
    MicroBatchError
        If a router meets NaN (looked for on CPU only).

    References
    ----------
    Qiu et al., "Demons in the Detail", arXiv:2501.11873, section 3 (a buffer of counts over micro-batches).
    """
    ranks = ranks or Ranks()
    alpha = config.alpha if config.balancing == "aux_loss" else 0.0
    n_parts = config.accumulation_steps
    losses, balancing, z, routings = [], [], [], []
    earlier_counts_LE = None
    pairs = zip(inputs_BL.chunk(n_parts), targets_BL.chunk(n_parts), strict=True)
    for part, (part_inputs_BL, part_targets_BL) in enumerate(pairs):
        stay = gradients_stay_here(forward, ranks) if part + 1 < n_parts else nullcontext()
        with stay:
            try:
                with autocast(config.precision, inputs_BL.device):
                    output = forward(part_inputs_BL, part_targets_BL)
            except ValueError as error:  # a router that meets NaN says so before the loss can
                raise MicroBatchError(str(error), part) from error
            assert output.loss is not None
            router = router_losses(
                output.routings,
                config.model.gate,
                scope=config.balancing_scope,
                n_sequences=len(part_inputs_BL),
                earlier_counts_LE=earlier_counts_LE,
            )
            loss = output.loss + alpha * router.load_balancing + config.z_loss_weight * router.z
            scaler.scale(loss / n_parts).backward()
        losses.append(output.loss.detach())
        balancing.append(router.load_balancing.detach())
        z.append(router.z.detach())
        routings.append([Routing(*(tensor.detach() for tensor in routing)) for routing in output.routings])
        if part + 1 < n_parts and config.balancing_scope == "global_batch":
            counts_LE = count_rows(output.routings)
            earlier_counts_LE = counts_LE if earlier_counts_LE is None else earlier_counts_LE + counts_LE
    means = RouterLosses(torch.stack(balancing).mean(), torch.stack(z).mean())
    return StepLosses(torch.stack(losses), means, tuple(map(join, zip(*routings, strict=True))))


def join(parts: tuple[Routing, ...]) -> Routing:
    """Put one layer's routings of several micro-batches one after the other.

    Examples
    --------
    >>> parts = [Routing(torch.zeros(1, 2), torch.tensor([[expert]]), torch.ones(1, 1)) for expert in (0, 1)]
    >>> join(tuple(parts)).topk_ids_TK.flatten()
    tensor([0, 1])
    """
    if len(parts) == 1:
        return parts[0]
    return Routing(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
