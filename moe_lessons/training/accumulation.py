"""The gradient of one step of the optimizer, from one micro-batch after the other.

A micro-batch is what goes through the model at once: it bounds the memory. Which tokens a step sees, and
what it minimises, does not depend on how the step is cut, with one exception: the balancing loss. With scope
"micro_batch" each part is to be even by itself. With scope "global_batch" a part knows the loads of the parts
before it, not of those to come, so the router's gradient is another than uncut. With scope "sequence" the cut
makes no difference.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.config import TrainConfig
from moe_lessons.model import ModelOutput
from moe_lessons.model.transformer import IGNORED
from moe_lessons.routing import Routing
from moe_lessons.training.distributed import Ranks
from moe_lessons.training.objective import RouterLosses, count_rows, router_losses
from moe_lessons.training.precision import LossScaler, autocast
from moe_lessons.training.wrapping import gradients_stay_here


class StepLosses(NamedTuple):
    """What one step came to, M micro-batches together.

    Attributes
    ----------
    loss_M : Tensor, shape (M,)
        Each micro-batch's mean cross entropy in nats.
    router : RouterLosses
        Means over the micro-batches, weighed by their tokens.
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
    mask_BL: Tensor | None = None,
) -> StepLosses:
    """Add up the gradients of a step's mean loss, balancing loss and z-loss included.

    The step's loss is the mean over its tokens. Cross entropy and z-loss are means over tokens, so M does not
    matter to them: a micro-batch counts by the tokens in it, all alike unless a mask leaves some out. The
    balancing loss multiplies a load by a mean probability, and there it does: with scope "micro_batch" every
    micro-batch is to be even by itself. With scope "global_batch" the load is that of the step's parts up to
    this one: the counts of later ones are not there yet, and to wait for them would keep all graphs in
    memory. So the router's gradient differs from that of M = 1, which sees the whole.

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
    mask_BL : Tensor, bool, shape (B, L), optional
        False for padding: it is routed nowhere, and no loss, load or bias update counts it.

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
    masks = [None] * n_parts if mask_BL is None else mask_BL.chunk(n_parts)
    shares = None if mask_BL is None else _shares(mask_BL, targets_BL, n_parts)
    parts = zip(inputs_BL.chunk(n_parts), targets_BL.chunk(n_parts), masks, strict=True)
    for part, (part_inputs_BL, part_targets_BL, part_mask_BL) in enumerate(parts):
        stay = gradients_stay_here(forward, ranks) if part + 1 < n_parts else nullcontext()
        with stay:
            try:
                with autocast(config.precision, inputs_BL.device):
                    masked = {} if part_mask_BL is None else {"mask_BL": part_mask_BL}
                    output = forward(part_inputs_BL, part_targets_BL, **masked)
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
            scaler.scale(loss / n_parts if shares is None else loss * shares[part]).backward()
        losses.append(output.loss.detach())
        balancing.append(router.load_balancing.detach())
        z.append(router.z.detach())
        routings.append([Routing(*(tensor.detach() for tensor in routing)) for routing in output.routings])
        if part + 1 < n_parts and config.balancing_scope == "global_batch":
            counts_LE = count_rows(output.routings)
            earlier_counts_LE = counts_LE if earlier_counts_LE is None else earlier_counts_LE + counts_LE
    means = RouterLosses(*(_mean(torch.stack(each), shares) for each in (balancing, z)))
    return StepLosses(torch.stack(losses), means, tuple(map(join, zip(*routings, strict=True))))


def _shares(mask_BL: Tensor, targets_BL: Tensor, n_parts: int) -> list[float]:
    """The part of the step's tokens with a target that each micro-batch holds."""
    counts = [int(part_BL.sum()) for part_BL in (mask_BL & (targets_BL != IGNORED)).chunk(n_parts)]
    if not all(counts):
        raise ValueError(f"mask_BL leaves micro-batch {counts.index(0)} without a target: leave it out")
    return [count / sum(counts) for count in counts]


def _mean(values_M: Tensor, shares: list[float] | None) -> Tensor:
    return values_M.mean() if shares is None else (values_M * values_M.new_tensor(shares)).sum()


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
