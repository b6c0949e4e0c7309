"""The permutation plan: one stable sort says where each routed row goes and where each result comes from."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.dispatch.arguments import check_ids, traced
from moe_lessons.routing.base import count_ids


class Plan(NamedTuple):
    """Where each routed row goes when rows are sorted by expert.

    A slot is one (token, choice) pair, numbered t * K + k. Sorted position p holds slot `row_ids_S[p]`,
    which belongs to token `token_ids_S[p]`; slot s sits at position `inverse_S[s]`. Expert e owns the
    positions from `expert_ends_E[e - 1]` (0 for the first) up to `expert_ends_E[e]`, excluded.
    """

    row_ids_S: Tensor
    token_ids_S: Tensor
    inverse_S: Tensor
    tokens_per_expert_E: Tensor
    expert_ends_E: Tensor


def permutation_plan(topk_ids_TK: Tensor, n_experts: int) -> Plan:
    """Sort the routed rows by expert, keeping token order within each expert.

    Parameters
    ----------
    topk_ids_TK : integer Tensor of shape (T, K)
        Expert ids, 0 to E - 1.
    n_experts : int

    Returns
    -------
    Plan
        Ids are int64, `expert_ends_E` is int32 as `F.grouped_mm` wants it.

    Raises
    ------
    ValueError
        If `topk_ids_TK` is not 2-D or holds an id outside 0..E-1. Ids are looked at in CPU tensors only: on a
        GPU the question would stop the host until the answer is back.

    Examples
    --------
    >>> plan = permutation_plan(torch.tensor([[2, 0], [0, 1]]), n_experts=3)
    >>> plan.row_ids_S, plan.token_ids_S, plan.expert_ends_E
    (tensor([1, 2, 3, 0]), tensor([0, 1, 1, 0]), tensor([2, 3, 4], dtype=torch.int32))
    """
    if topk_ids_TK.dim() != 2:
        raise ValueError(f"topk_ids_TK has shape {tuple(topk_ids_TK.shape)}: give (T, K)")
    check_ids(topk_ids_TK, n_experts)
    row_ids_S = stable_order(topk_ids_TK.reshape(-1), n_experts)
    positions_S = torch.arange(row_ids_S.numel(), device=row_ids_S.device)
    inverse_S = torch.empty_like(row_ids_S).scatter_(0, row_ids_S, positions_S)
    ids_S = topk_ids_TK.reshape(-1).long()
    counts_E = count_ids(ids_S, torch.ones_like(ids_S), n_experts)
    return Plan(
        row_ids_S=row_ids_S,
        token_ids_S=row_ids_S // topk_ids_TK.shape[1],
        inverse_S=inverse_S,
        tokens_per_expert_E=counts_E,
        expert_ends_E=counts_E.cumsum(0, dtype=torch.int32),
    )


def stable_order(ids_S: Tensor, n_experts: int) -> Tensor:
    """Return the positions that sort the ids, equal ids in the order they come.

    A radix sort's time grows with the width of its key, so the ids are narrowed first. On the CPU NumPy's is
    the quickest: 14 us for 8192 ids, where PyTorch, which sorts by comparing below 32768 of them, takes 250.

    Examples
    --------
    >>> stable_order(torch.tensor([2, 0, 2, 1]), n_experts=3)
    tensor([1, 3, 0, 2])
    """
    narrow = torch.uint8 if n_experts <= 256 else torch.int16 if n_experts <= 2**15 else torch.int32
    keys_S = ids_S.to(narrow)
    if keys_S.device.type == "cpu" and not traced():
        return torch.from_numpy(keys_S.numpy().argsort(kind="stable"))
    return keys_S.sort(stable=True).indices


def gather_slots(hidden_TD: Tensor, plan: Plan, top_k: int) -> Tensor:
    """Bring each token's row to the places of its K slots, sorted by expert."""
    if not torch.is_grad_enabled():
        return hidden_TD.index_select(0, plan.token_ids_S)
    # One row for each slot first: then the backward adds up each token's K gradients in a fixed order, on a
    # GPU too.
    n_tokens, d_model = hidden_TD.shape
    slots_SD = hidden_TD.unsqueeze(1).expand(n_tokens, top_k, d_model).reshape(-1, d_model)
    return slots_SD.index_select(0, plan.row_ids_S)


def combine(results_SD: Tensor, topk_weights_TK: Tensor, plan: Plan) -> Tensor:
    """Sum each token's K results in a fixed order; adding rows where they fall would depend on timing."""
    if not torch.is_grad_enabled() and results_SD.device.type == "cpu" and not traced():
        return weighted_sum(results_SD, plan.inverse_S.view(topk_weights_TK.shape), topk_weights_TK)
    results_TKD = results_SD.index_select(0, plan.inverse_S).unflatten(0, topk_weights_TK.shape)
    dtype = torch.promote_types(results_SD.dtype, torch.float32)
    return (results_TKD.to(dtype) * topk_weights_TK.to(dtype).unsqueeze(-1)).sum(dim=1)


def weighted_sum(rows_RD: Tensor, rows_TK: Tensor, topk_weights_TK: Tensor) -> Tensor:
    """Sum the K rows that each token names, times their weights, in the order of k and in one pass.

    Examples
    --------
    >>> rows_RD = torch.tensor([[1.0], [10.0], [100.0]])
    >>> weighted_sum(rows_RD, torch.tensor([[0, 2], [1, 1]]), torch.tensor([[1.0, 2.0], [0.5, 0.5]]))
    tensor([[201.],
            [ 10.]])
    """
    weights_TK = topk_weights_TK.to(rows_RD.dtype)
    return F.embedding_bag(rows_TK, rows_RD, mode="sum", per_sample_weights=weights_TK)
