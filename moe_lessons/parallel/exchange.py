"""The exchange of expert parallelism: rows travel to the ranks of their experts, and results travel back.

G ranks of a mesh each hold E / G of the experts, in order, and tokens of their own. A layer's forward sends

1. counts: how many rows each rank has for each expert of each other rank (E integers from every rank),
2. rows, in as many as the counts say: *dispatch*,
3. results, the way that the rows came: *combine*;

its backward sends gradients of results forth and gradients of rows back. Every rank takes part in every
exchange, with nothing to send too: whoever stays away leaves the others waiting.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import DeviceMesh

from moe_lessons.dispatch.arguments import compute_dtype
from moe_lessons.dispatch.plan import Plan, gather_slots, permutation_plan
from moe_lessons.dispatch.plan import combine as weigh_and_add
from moe_lessons.parallel.mesh import alone, experts_each

__all__ = ["Sent", "alone", "combine", "dispatch", "exchange"]


class Sent(NamedTuple):
    """What `combine` must know of a `dispatch`.

    Attributes
    ----------
    plan : Plan
        The sort of this rank's rows by expert, and so by rank.
    sends_G, arrives_G : list of int
        Rows that this rank sends to each rank, and gets from each.
    """

    plan: Plan
    sends_G: list[int]
    arrives_G: list[int]


def dispatch(
    hidden_TD: Tensor, topk_ids_TK: Tensor, n_experts: int, mesh: DeviceMesh
) -> tuple[Tensor, Tensor, Sent]:
    """Send each row to the rank that holds its expert.

    All ranks of the mesh call this together, those without a token too.

    Parameters
    ----------
    hidden_TD : Tensor of shape (T, D)
        This rank's tokens; T may differ from rank to rank.
    topk_ids_TK : integer Tensor of shape (T, K)
    n_experts : int
        E over all ranks; rank g of the mesh holds g * E / G to (g + 1) * E / G - 1.
    mesh : DeviceMesh
        Of one dimension, the G ranks that share the experts.

    Returns
    -------
    rows_RD : Tensor of shape (R, D)
        What arrived: by sender, and of each sender by expert. In autocast's dtype where it is on.
    local_ids_R : Tensor of shape (R,), int64
        Which of this rank's E / G experts each row is for.
    sent : Sent
        For `combine`.

    Raises
    ------
    ValueError
        If the ranks cannot hold equally many experts, or an id is out of range.

    References
    ----------
    Lepikhin et al., GShard, arXiv 2006.16668, section 3.3.

    Examples
    --------
    Without other ranks to send to, rows come back sorted by expert:

    >>> hidden_TD, ids_TK = torch.tensor([[1.0], [2.0]]), torch.tensor([[1, 0], [0, 1]])
    >>> with alone() as mesh:
    ...     rows_RD, local_ids_R, sent = dispatch(hidden_TD, ids_TK, 2, mesh)
    ...     output_TD = combine(10 * rows_RD, torch.full((2, 2), 0.5), sent, mesh)
    >>> rows_RD.flatten().tolist(), local_ids_R.tolist(), sent.sends_G, output_TD.flatten().tolist()
    ([1.0, 2.0, 1.0, 2.0], [0, 0, 1, 1], [4], [10.0, 20.0])
    """
    n_ranks = mesh.size()
    n_local = experts_each(n_experts, n_ranks)
    plan = permutation_plan(topk_ids_TK, n_experts)
    leaving_GL = plan.tokens_per_expert_E.view(n_ranks, n_local)
    arriving_GL = torch.empty_like(leaving_GL)
    distributed.all_to_all_single(arriving_GL, leaving_GL, group=mesh.get_group())
    # Memory is laid out by sizes, so the host waits for them here, and nowhere else.
    sends_G, arrives_G = torch.stack([leaving_GL.sum(1), arriving_GL.sum(1)]).tolist()
    rows_SD = gather_slots(hidden_TD.to(compute_dtype(hidden_TD)), plan, topk_ids_TK.shape[1])
    rows_RD = exchange(rows_SD, sends_G, arrives_G, mesh)
    local_ids_GL = torch.arange(n_local, device=arriving_GL.device).expand(n_ranks, n_local)
    local_ids_R = local_ids_GL.flatten().repeat_interleave(arriving_GL.flatten(), output_size=len(rows_RD))
    return rows_RD, local_ids_R, Sent(plan, sends_G, arrives_G)


def combine(results_RD: Tensor, topk_weights_TK: Tensor, sent: Sent, mesh: DeviceMesh) -> Tensor:
    """Send results back to where their rows came from, and add up each token's K of them with its weights.

    Parameters
    ----------
    results_RD : Tensor of shape (R, D)
        In the order of the rows that `dispatch` returned.
    topk_weights_TK : Tensor of shape (T, K)
        They never travel: the tokens' own rank weighs.
    sent : Sent
    mesh : DeviceMesh
        That of `dispatch`.

    Returns
    -------
    Tensor of shape (T, D), at least float32

    Examples
    --------
    >>> with alone() as mesh:
    ...     rows_RD, _, sent = dispatch(torch.tensor([[3.0]]), torch.tensor([[1]]), 2, mesh)
    ...     combine(rows_RD, torch.tensor([[0.5]]), sent, mesh)
    tensor([[1.5000]])
    """
    back_SD = exchange(results_RD, sent.arrives_G, sent.sends_G, mesh)
    return weigh_and_add(back_SD, topk_weights_TK, sent.plan)


def exchange(rows_SD: Tensor, sends_G: list[int], arrives_G: list[int], mesh: DeviceMesh) -> Tensor:
    """All to all in uneven parts: the g-th part of the rows to rank g, and theirs one after the other.

    Parameters
    ----------
    rows_SD : Tensor of shape (S, D)
    sends_G, arrives_G : list of int
        Rows for each rank, which sum to S, and rows from each.
    mesh : DeviceMesh
        Of one dimension.

    Returns
    -------
    Tensor of shape (sum of arrives_G, D)
        With a gradient: in the backward each row's gradient goes back the way that the row came.

    Examples
    --------
    >>> with alone() as mesh:
    ...     exchange(torch.tensor([[1.0], [2.0]]), [2], [2], mesh).flatten()
    tensor([1., 2.])
    """
    return _Exchange.apply(rows_SD, sends_G, arrives_G, mesh.get_group())


class _Exchange(torch.autograd.Function):
    """An all-to-all is a transpose of G x G blocks of rows, and so is its backward, with sizes swapped."""

    @staticmethod
    def forward(ctx: Any, rows_SD: Tensor, sends_G: list[int], arrives_G: list[int], group: Any) -> Tensor:
        ctx.sends_G, ctx.arrives_G, ctx.group = sends_G, arrives_G, group
        return _all_to_all(rows_SD, sends_G, arrives_G, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _all_to_all(gradients[0], ctx.arrives_G, ctx.sends_G, ctx.group), None, None, None


def _all_to_all(rows_SD: Tensor, sends_G: list[int], arrives_G: list[int], group: Any) -> Tensor:
    arriving_RD = rows_SD.new_empty(sum(arrives_G), *rows_SD.shape[1:])
    distributed.all_to_all_single(arriving_RD, rows_SD.contiguous(), arrives_G, sends_G, group=group)
    return arriving_RD
