"""Gradients where experts lie on several ranks: who adds up what, what to divide by, and one norm for all.

The loss is the mean over W ranks of each rank's mean over its own tokens, l = (1/W) sum_r l_r. A *dense*
weight is on every rank and sees one rank's tokens there, so its gradients are averaged over all W ranks: DDP
and FSDP do that. An *expert's* weight is on W / n_ep ranks, its replicas. To each of them came the rows of
n_ep ranks, and their gradients: what it holds is a sum of n_ep of the W terms already. The replicas' sums are
added up, and the total is divided by W, not by the number of replicas. To average over the ep ranks, as if
they held the same expert, mixes different experts.
"""

from typing import cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh

from moe_lessons.parallel.experts import banks, ep_of, local
from moe_lessons.parallel.mesh import REPLICA


def expert_parameters(model: nn.Module) -> list[nn.Parameter]:
    """List the parameters that are cut along the experts.

    Examples
    --------
    >>> expert_parameters(nn.Linear(2, 2))
    []
    """
    return [parameter for bank in banks(model) for parameter in bank.parameters()]


def dense_parameters(model: nn.Module) -> list[nn.Parameter]:
    """List the others, which every rank trains alike.

    Examples
    --------
    >>> len(dense_parameters(nn.Linear(2, 2)))
    2
    """
    experts = {id(parameter) for parameter in expert_parameters(model)}
    return [parameter for parameter in model.parameters() if id(parameter) not in experts]


@torch.no_grad()
def reduce_experts(model: nn.Module, mesh: DeviceMesh) -> None:
    """Add up each expert's gradients over its replicas and divide by the number of all ranks, in place.

    Once a step, after the last backward. The dense weights' gradients are left to DDP or FSDP.

    Parameters
    ----------
    model : Module
        After `shard_experts`.
    mesh : DeviceMesh
        That of `shard_experts`; one of the "ep" dimension alone has no replicas.

    Examples
    --------
    Two replicas of two shards, each rank with a gradient of 1 for its expert: 2 of the 4 terms are added, and
    the sum is 2 / 4 on every rank. Alone, a sum of one term is divided by 1:

    >>> from moe_lessons.parallel import alone, shard_experts
    >>> from moe_lessons.layer import MoELayer
    >>> layer = MoELayer(d_model=8, d_expert=16, n_experts=4, top_k=2)
    >>> with alone() as mesh:
    ...     shard_experts(layer, mesh)(torch.ones(3, 8)).hidden.sum().backward()
    ...     reduce_experts(layer, mesh)
    """
    replicas = mesh[REPLICA] if mesh.ndim > 1 else None
    for parameter in expert_parameters(model):
        gradient = _gradient(parameter)
        if replicas is not None and replicas.size() > 1:
            distributed.all_reduce(gradient, group=replicas.get_group())
        gradient /= mesh.size()


@torch.no_grad()
def total_norm(model: nn.Module, mesh: DeviceMesh) -> Tensor:
    """Norm of the whole model's gradient: the dense part once, the experts of every shard once.

    Every rank gets the same number. What a rank sees by itself is another one, and clipping by it would make
    the dense weights of the ranks drift apart.

    Parameters
    ----------
    model : Module
        After `reduce_experts`.
    mesh : DeviceMesh

    Returns
    -------
    Tensor of shape (), float32 or wider

    Examples
    --------
    >>> from moe_lessons.parallel import alone, shard_experts
    >>> from moe_lessons.layer import MoELayer
    >>> layer = MoELayer(d_model=8, d_expert=16, n_experts=4, top_k=2)
    >>> _ = layer(torch.ones(3, 8)).hidden.sum().backward()
    >>> before = torch.nn.utils.get_total_norm([p.grad for p in layer.parameters()])
    >>> with alone() as mesh:
    ...     _ = layer.zero_grad(), shard_experts(layer, mesh)(torch.ones(3, 8)).hidden.sum().backward()
    ...     after = total_norm(layer, mesh)
    >>> bool((before - after).abs() < 1e-6 * before)
    True
    """
    dense = [p.grad for p in dense_parameters(model) if p.grad is not None]
    dense_norm = torch.nn.utils.get_total_norm(dense) if dense else torch.tensor(0.0)
    if hasattr(dense_norm, "full_tensor"):  # of FSDP's shards
        dense_norm = dense_norm.full_tensor()
    mine = torch.nn.utils.get_total_norm([_gradient(p) for p in expert_parameters(model)])
    squares = mine.double().square()
    distributed.all_reduce(squares, group=ep_of(mesh).get_group())
    return (dense_norm.double().square() + squares).sqrt().to(mine.dtype)


@torch.no_grad()
def clip(model: nn.Module, max_norm: float, mesh: DeviceMesh) -> Tensor:
    """Scale all gradients down so that the whole model's norm is at most `max_norm`; return what it was.

    `torch.nn.utils.clip_grad_norm_` refuses the mix of DTensors and others, and would not know that shards
    are parts of one model.

    Parameters
    ----------
    model : Module
        After `reduce_experts`.
    max_norm : float
    mesh : DeviceMesh

    Returns
    -------
    Tensor of shape ()
        The norm before.

    References
    ----------
    Pascanu et al., arXiv 1211.5063, algorithm 1.

    Examples
    --------
    >>> from moe_lessons.parallel import alone, shard_experts
    >>> from moe_lessons.layer import MoELayer
    >>> layer = MoELayer(d_model=8, d_expert=16, n_experts=4, top_k=2)
    >>> with alone() as mesh:
    ...     (1e3 * shard_experts(layer, mesh)(torch.ones(3, 8)).hidden).sum().backward()
    ...     before = clip(layer, 1e-3, mesh)
    ...     f"{float(total_norm(layer, mesh)):.3f}"
    '0.001'
    """
    norm = total_norm(model, mesh)
    # The factor of `clip_grad_norm_`: never above 1, and no division by a norm of 0.
    factor = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
    for parameter in model.parameters():
        if parameter.grad is not None:
            gradient = local(parameter.grad)
            gradient.mul_(factor.to(gradient.dtype))
    return norm


def _gradient(parameter: nn.Parameter) -> Tensor:
    """This rank's part of a gradient; zeros where there is none, since other ranks may have one."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return local(cast(Tensor, parameter.grad))
