"""Bring each token to its experts and the results back: one sort, three ways to do the arithmetic.

All paths share one signature and compute, for each token t, the sum over its choices k of
weight[t, k] * expert[id[t, k]](hidden[t]).
`moe_loop` is the definition, `moe_unbind` one matrix product per expert, `moe_grouped` one for all experts.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.experts import swiglu, swiglu_activation
from moe_lessons.routing import tokens_per_expert

GROUPED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)  # F.grouped_mm rejects fp64
GROUPED_ALIGNMENT_BYTES = 16


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
    _check_ids(topk_ids_TK, n_experts)
    ids_S = topk_ids_TK.reshape(-1)
    # A radix sort takes time in proportion to the width of the key: uint8 is about six times int64.
    narrow = torch.uint8 if n_experts <= 256 else torch.int16 if n_experts <= 2**15 else torch.int32
    row_ids_S = ids_S.to(narrow).sort(stable=True).indices
    inverse_S = torch.empty_like(row_ids_S)
    inverse_S[row_ids_S] = torch.arange(row_ids_S.numel(), device=row_ids_S.device)
    counts_E = tokens_per_expert(topk_ids_TK, n_experts)
    return Plan(
        row_ids_S=row_ids_S,
        token_ids_S=row_ids_S // topk_ids_TK.shape[1],
        inverse_S=inverse_S,
        tokens_per_expert_E=counts_E,
        expert_ends_E=counts_E.cumsum(0).to(torch.int32),
    )


def moe_loop(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> Tensor:
    """Visit every token and every one of its experts in turn: slow, and the definition of the others.

    Parameters
    ----------
    hidden_TD : Tensor of shape (T, D)
    topk_ids_TK : integer Tensor of shape (T, K)
    topk_weights_TK : Tensor of shape (T, K)
    gate_up_proj : Tensor of shape (E, 2F, D)
    down_proj : Tensor of shape (E, D, F)

    Returns
    -------
    Tensor of shape (T, D), dtype of `hidden_TD`

    Raises
    ------
    ValueError
        If the shapes do not fit together or an id is outside 0..E-1.

    References
    ----------
    Shazeer et al., arXiv 1701.06538, eq. 1.

    Examples
    --------
    >>> hidden_TD = torch.ones(1, 1)
    >>> gate_up_proj = torch.tensor([[[50.0], [1.0]], [[50.0], [2.0]]])  # silu(50) is 50 in fp32
    >>> down_proj = torch.tensor([[[1.0]], [[1.0]]])  # expert 0 gives 50, expert 1 gives 100
    >>> moe_loop(hidden_TD, torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]), gate_up_proj, down_proj)
    tensor([[75.]])
    """
    _check_shapes(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    _check_ids(topk_ids_TK, gate_up_proj.shape[0])
    rows = [hidden_TD[:0]]  # keeps shape, dtype and graph when T is 0
    for t in range(topk_ids_TK.shape[0]):
        row_D = torch.zeros_like(hidden_TD[t], dtype=_accumulator(hidden_TD.dtype))
        for k in range(topk_ids_TK.shape[1]):
            expert = int(topk_ids_TK[t, k])
            result_D = swiglu(hidden_TD[t], gate_up_proj[expert], down_proj[expert])
            row_D = row_D + topk_weights_TK[t, k] * result_D.to(row_D.dtype)
        rows.append(row_D.to(hidden_TD.dtype).unsqueeze(0))
    return torch.cat(rows)


def moe_unbind(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> Tensor:
    """Sort rows by expert, run each expert once on its own rows, and sum each token's rows.

    Any dtype and any shape, fp64 included. `unbind(0)` is the point: indexing `gate_up_proj[e]` in a loop
    makes every expert's backward allocate a gradient as large as all experts together. On a GPU the group
    sizes must reach the host, so it waits once per call.

    Parameters, returns and errors are those of `moe_loop`.

    Examples
    --------
    >>> hidden_TD, ids_TK, weights_TK = torch.ones(1, 1), torch.tensor([[1]]), torch.tensor([[0.5]])
    >>> gate_up_proj, down_proj = torch.tensor([[[50.0], [1.0]], [[50.0], [2.0]]]), torch.ones(2, 1, 1)
    >>> moe_unbind(hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj)  # half of silu(50) * 2
    tensor([[50.]])
    """
    _check_shapes(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    plan = permutation_plan(topk_ids_TK, gate_up_proj.shape[0])
    rows_SD = _dispatch(hidden_TD, plan, topk_ids_TK.shape[1])
    groups = rows_SD.split(plan.tokens_per_expert_E.tolist())
    results = map(swiglu, groups, gate_up_proj.unbind(0), down_proj.unbind(0))
    return _combine(torch.cat(list(results)), topk_weights_TK, plan).to(hidden_TD.dtype)


def moe_grouped(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> Tensor:
    """Sort rows by expert and run all experts in two grouped matrix products, with no wait for the host.

    Where `grouped_supported` says no (fp64, widths off the 16-byte alignment), it is `moe_unbind`.

    Parameters, returns and errors are those of `moe_loop`.

    Examples
    --------
    >>> hidden_TD, ids_TK, weights_TK = torch.ones(1, 4), torch.tensor([[1]]), torch.tensor([[2.0]])
    >>> gate_up_proj = torch.full((2, 8, 4), 10.0)  # gate = up = 40, and silu(40) is 40 in fp32
    >>> moe_grouped(hidden_TD, ids_TK, weights_TK, gate_up_proj, torch.ones(2, 4, 4))  # 2 * 4 * 1600
    tensor([[12800., 12800., 12800., 12800.]])
    """
    if not grouped_supported(hidden_TD, gate_up_proj, down_proj):
        return moe_unbind(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    _check_shapes(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    plan = permutation_plan(topk_ids_TK, gate_up_proj.shape[0])
    dtype = _compute_dtype(hidden_TD)
    rows_SD = _dispatch(hidden_TD.to(dtype), plan, topk_ids_TK.shape[1])
    # The plan's last end is S, so no row is left uninitialised.
    gate_up_S2F = F.grouped_mm(rows_SD, gate_up_proj.to(dtype).mT, offs=plan.expert_ends_E)
    results_SD = F.grouped_mm(swiglu_activation(gate_up_S2F), down_proj.to(dtype).mT, offs=plan.expert_ends_E)
    return _combine(results_SD, topk_weights_TK, plan).to(hidden_TD.dtype)


PATHS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "loop": moe_loop,
    "unbind": moe_unbind,
    "grouped": moe_grouped,
}


def grouped_supported(hidden_TD: Tensor, gate_up_proj: Tensor, down_proj: Tensor) -> bool:
    """Say whether `F.grouped_mm` takes these tensors: device, dtype, and rows that start on 16 bytes.

    Examples
    --------
    >>> grouped_supported(torch.ones(3, 8), torch.ones(2, 8, 8), torch.ones(2, 8, 4))
    True
    >>> grouped_supported(torch.ones(3, 7), torch.ones(2, 8, 7), torch.ones(2, 7, 4))
    False
    """
    device = hidden_TD.device
    if device.type not in ("cpu", "cuda"):
        return False
    dtype = _compute_dtype(hidden_TD)
    if dtype not in GROUPED_DTYPES:
        return False
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return False
    if torch.compiler.is_compiling() and dtype is not torch.bfloat16:
        return False  # the shape rules that torch.compile uses know bf16 only
    d_model, d_expert = down_proj.shape[-2:]
    if any(width * dtype.itemsize % GROUPED_ALIGNMENT_BYTES for width in (d_model, d_expert)):
        return False
    return all(
        weight.is_contiguous() and weight.storage_offset() * weight.itemsize % GROUPED_ALIGNMENT_BYTES == 0
        for weight in (gate_up_proj, down_proj)
    )


def _dispatch(hidden_TD: Tensor, plan: Plan, top_k: int) -> Tensor:
    n_tokens, d_model = hidden_TD.shape
    slots_SD = hidden_TD.unsqueeze(1).expand(n_tokens, top_k, d_model).reshape(-1, d_model)
    return slots_SD.index_select(0, plan.row_ids_S)


def _combine(results_SD: Tensor, topk_weights_TK: Tensor, plan: Plan) -> Tensor:
    """Sum each token's K results in a fixed order; adding rows where they fall would depend on timing."""
    results_TKD = results_SD.index_select(0, plan.inverse_S).unflatten(0, topk_weights_TK.shape)
    dtype = _accumulator(results_SD.dtype)
    return (results_TKD.to(dtype) * topk_weights_TK.to(dtype).unsqueeze(-1)).sum(dim=1)


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _compute_dtype(hidden_TD: Tensor) -> torch.dtype:
    device_type = hidden_TD.device.type
    if torch.is_autocast_enabled(device_type):  # autocast knows linear but not grouped_mm
        return torch.get_autocast_dtype(device_type)
    return hidden_TD.dtype


def _check_shapes(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> None:
    n_experts, d_model, d_expert = down_proj.shape
    expected = {
        "hidden_TD": (hidden_TD, (topk_ids_TK.shape[0], d_model)),
        "topk_weights_TK": (topk_weights_TK, tuple(topk_ids_TK.shape)),
        "gate_up_proj": (gate_up_proj, (n_experts, 2 * d_expert, d_model)),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}: topk_ids_TK {tuple(topk_ids_TK.shape)} and "
                f"down_proj {tuple(down_proj.shape)} ask for {shape}"
            )


def _check_ids(topk_ids_TK: Tensor, n_experts: int) -> None:
    on_host = topk_ids_TK.device.type == "cpu" and not torch.compiler.is_compiling()
    if not on_host or topk_ids_TK.numel() == 0:
        return
    lowest, highest = int(topk_ids_TK.min()), int(topk_ids_TK.max())
    if lowest < 0 or highest >= n_experts:
        raise ValueError(
            f"topk_ids_TK runs from {lowest} to {highest} with {n_experts} experts: "
            f"keep ids in 0..{n_experts - 1}"
        )
