"""An expert-parallel layer held against the same layer in one process: output and every gradient.

A loss curve cannot do this. A wrong factor on the experts' gradients is invisible to it under AdamW, which
divides each gradient by its own size.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import DeviceMesh

from moe_lessons.layer import MoELayer
from moe_lessons.layer.paths import Path
from moe_lessons.parallel.exchange import dispatch, exchange
from moe_lessons.parallel.experts import LocalExperts, banks, ep_of, local, shard_experts
from moe_lessons.parallel.gradients import reduce_experts

PARTS = ("output", "rows", "gate_up", "down", "router")
COUNTS = {
    "even": (40, 40, 40, 40),
    "uneven": (3, 70, 11, 29),
    "rank 0 has no tokens": (0, 50, 20, 9),
    "only rank 0 has tokens": (60, 0, 0, 0),
    "nobody has tokens": (0, 0, 0, 0),
}
ROUTERS = ("random", "everybody to the first experts")
MISTAKES = ("rows_by_sender", "no_way_back", "experts_averaged")


@dataclass(frozen=True)
class Sizes:
    """Of the layer that is compared."""

    d_model: int = 16
    d_expert: int = 24
    n_experts: int = 8
    top_k: int = 3


class MistakenExperts(LocalExperts):
    """`LocalExperts` with one of `MISTAKES`, to see that the comparison finds it."""

    mistake = ""

    def forward(self, rows_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor, path: Path = "auto") -> Tensor:
        """Do what `LocalExperts` does, but for one thing."""
        arrived_RD, local_ids_R, sent = dispatch(rows_TD, ids_TK, self.n_experts, self.ep)
        if self.mistake == "rows_by_sender":  # taken for rows by expert, without sorting them
            local_ids_R = local_ids_R.sort().values
        back_SD = exchange(self.compute(arrived_RD, local_ids_R, path), sent.arrives_G, sent.sends_G, self.ep)
        if self.mistake != "no_way_back":  # sorted by expert, taken for sorted by token
            back_SD = back_SD.index_select(0, sent.plan.inverse_S)
        return (back_SD.unflatten(0, weights_TK.shape) * weights_TK.unsqueeze(-1).to(back_SD)).sum(1)


def compare(
    mesh: DeviceMesh,
    counts: tuple[int, ...],
    *,
    router: str = "random",
    dtype: torch.dtype = torch.float64,
    mistake: str = "",
    sizes: Sizes | None = None,
    gate: str = "topk_softmax",
    path: Path = "unbind",
) -> dict[str, float]:
    """Run a layer on all ranks and in one process; say how far apart they are.

    Parameters
    ----------
    mesh : DeviceMesh
        As `expert_mesh` makes it.
    counts : tuple of int
        Tokens of each rank, repeated where there are more ranks.
    router : str
        One of `ROUTERS`.
    dtype : torch.dtype
        fp64 tells a mistake from rounding.
    mistake : str
        One of `MISTAKES`, or none.
    sizes : Sizes, optional
    gate : str
    path : str or callable
        How each rank computes its own experts, and how the one process does.

    Returns
    -------
    dict
        For each of `PARTS` the relative error in the Frobenius norm, the largest over the ranks.
    """
    sizes = sizes or Sizes()
    rank, n_ranks = distributed.get_rank(), distributed.get_world_size()
    tokens_W = [counts[i % len(counts)] for i in range(n_ranks)]
    device = device_of(mesh)
    one, ours = (_layer(sizes, router, dtype, gate, path).to(device) for _ in range(2))
    tokens = _tokens(sum(tokens_W), sizes.d_model, router, dtype)
    hidden_TD, targets_TD = (tensor.to(device) for tensor in tokens)
    all_TD = hidden_TD.clone().requires_grad_()
    output_TD = one(all_TD).hidden
    (output_TD * targets_TD).sum().div(n_ranks).backward()

    shard_experts(ours, mesh)
    if mistake:
        (bank,) = banks(ours)
        bank.__class__ = MistakenExperts
        cast(Any, bank).mistake = mistake
    first = sum(tokens_W[:rank])
    mine = slice(first, first + tokens_W[rank])
    mine_TD = hidden_TD[mine].clone().requires_grad_()
    own_TD = ours(mine_TD).hidden
    # A rank that has no tokens goes through the backward too: there the others wait for it again.
    (own_TD * targets_TD[mine]).sum().backward()
    reduce_experts(ours, mesh)
    router_ED = _gradient(ours.router.weight).clone()
    distributed.all_reduce(router_ED)
    router_ED /= n_ranks
    ep = ep_of(mesh)
    each = sizes.n_experts // ep.size()
    here = slice(ep.get_local_rank() * each, (ep.get_local_rank() + 1) * each)
    found = {}
    for part, name in (("gate_up", "gate_up_proj"), ("down", "down_proj")):
        gradient = local(getattr(ours.experts, name).grad)
        if mistake == "experts_averaged":  # as DDP would: over ranks that hold different experts
            distributed.all_reduce(gradient, group=ep.get_group())
        found[part] = apart(gradient, _gradient(getattr(one.experts, name))[here])
    found["output"] = apart(own_TD.detach(), output_TD.detach()[mine])
    found["rows"] = apart(_gradient(mine_TD), _gradient(all_TD)[mine] * n_ranks)
    found["router"] = apart(router_ED, _gradient(one.router.weight))
    worst = torch.tensor([found[part] for part in PARTS], dtype=torch.float64, device=device)
    distributed.all_reduce(worst, op=distributed.ReduceOp.MAX)
    return dict(zip(PARTS, worst.tolist(), strict=True))


def device_of(mesh: DeviceMesh) -> torch.device:
    """Return this rank's device on a mesh."""
    if mesh.device_type == "cpu":
        return torch.device("cpu")
    return torch.device(mesh.device_type, torch.cuda.current_device())


def apart(ours: Tensor, theirs: Tensor) -> float:
    """Relative distance in the Frobenius norm; the distance itself where `theirs` is 0.

    Examples
    --------
    >>> apart(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 4.0])), apart(torch.ones(1), torch.zeros(1))
    (0.2, 1.0)
    """
    norm = float(theirs.norm())
    return float((ours - theirs).norm()) / (norm or 1.0)


def _layer(sizes: Sizes, router: str, dtype: torch.dtype, gate: str, path: Path) -> MoELayer:
    layer = MoELayer(
        sizes.d_model, sizes.d_expert, sizes.n_experts, sizes.top_k, gate=gate, n_shared_experts=1, path=path
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.3, generator=generator)
        if router != "random":  # these win for every token of `_tokens`
            wins_E = torch.arange(sizes.n_experts) < sizes.top_k
            layer.router.weight[:, 0] = torch.where(wins_E, 5.0, -5.0)
    return layer.to(dtype)


def _tokens(n_tokens: int, d_model: int, router: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    hidden_TD, targets_TD = (
        torch.randn(n_tokens, d_model, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2)
    )
    if router != "random":
        hidden_TD[:, 0] = 3.0
    return hidden_TD, targets_TD


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
