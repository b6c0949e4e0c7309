"""What several processes do to a model, so that its gradients are those of all ranks' tokens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from moe_lessons.config import TrainConfig
from moe_lessons.model import MoETransformer
from moe_lessons.training.distributed import Ranks, patience
from moe_lessons.training.shards import whole

# Kept in fp32 for each parameter: itself, its gradient, AdamW's two moments.
BYTES_PER_PARAMETER = 16


def wrap(model: MoETransformer, ranks: Ranks, parallel: str = "auto", ep_size: int = 0) -> Callable[..., Any]:
    """Return what to call in a training step; its gradients are those of all ranks' tokens.

    With "ep" the experts' gradients are so only after `clip_gradients`. Where weights are cut, the model's
    own parameters become shards, so make the optimizer afterwards.

    Parameters
    ----------
    model : MoETransformer
        Whole, and the same on all ranks.
    ranks : Ranks
    parallel : str
        One of `moe_lessons.config.PARALLEL`.
    ep_size : int
        With "ep" and "ep_fsdp", how many ranks share one set of experts; 0 for all of them.
    """
    if ranks.size == 1:
        return model
    parallel = choose_parallel(parallel, model, ranks.device)
    elsewhere: set[nn.Parameter] = set()
    if parallel in ("ep", "ep_fsdp"):
        from moe_lessons.parallel import expert_mesh, expert_parameters, shard_experts

        mesh = expert_mesh(ep_size or ranks.size, ranks.device.type, patience(parallel))
        elsewhere = set(expert_parameters(shard_experts(model, mesh)))
    if parallel in ("fsdp", "ep_fsdp"):
        from torch.distributed.fsdp import fully_shard

        # Whole blocks: their outputs are new tensors. A hook on a view, as MoELayer's is, can get lost.
        for block in model.blocks:
            fully_shard(block, ignored_params=elsewhere)
        fully_shard(model, ignored_params=elsewhere)
        return model
    if elsewhere:
        # Else DDP would begin by giving every rank the experts of the first, and then average the gradients
        # of different experts, without a word.
        names = [name for name, parameter in model.named_parameters() if parameter in elsewhere]
        nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
    return nn.parallel.DistributedDataParallel(model)


def choose_parallel(parallel: str, model: nn.Module, device: torch.device) -> str:
    """Resolve "auto": "fsdp" where weights, gradients and optimizer would fill half a GPU, else "ddp".

    Examples
    --------
    >>> choose_parallel("auto", nn.Linear(2, 2), torch.device("cpu"))
    'ddp'
    """
    if parallel != "auto":
        return parallel
    needed = BYTES_PER_PARAMETER * sum(parameter.numel() for parameter in model.parameters())
    full = device.type == "cuda" and needed > torch.cuda.get_device_properties(device).total_memory / 2
    return "fsdp" if full else "ddp"


@contextmanager
def gradients_stay_here(module: Callable[..., Any], ranks: Ranks) -> Iterator[None]:
    """Let backward add to this rank's gradients without averaging: for all micro-batches but the last."""
    inner: Any = getattr(module, "_orig_mod", module)  # of what torch.compile made
    if ranks.size == 1:
        yield
    elif isinstance(inner, nn.parallel.DistributedDataParallel):
        with inner.no_sync():
            yield
    else:
        inner.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            inner.set_requires_gradient_sync(True)


def clip_gradients(model: MoETransformer, config: TrainConfig, ranks: Ranks) -> Tensor:
    """Finish the experts' gradients if other ranks hold some, clip all, and return their norm before.

    Once a step, on all ranks.
    """
    if ranks.size > 1 and config.parallel in ("ep", "ep_fsdp"):
        from moe_lessons.parallel import clip, mesh_of, reduce_experts

        mesh = mesh_of(model)
        assert mesh is not None
        reduce_experts(model, mesh)
        return clip(model, config.grad_clip, mesh)
    return whole(torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip))
