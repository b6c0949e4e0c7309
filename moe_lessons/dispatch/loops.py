"""The loops: over tokens and choices, which defines the result, and over experts, for any dtype and shape."""

from typing import Any

import torch
from torch import Tensor

from moe_lessons.dispatch.arguments import check_ids, check_shapes
from moe_lessons.dispatch.plan import combine, gather_slots, permutation_plan
from moe_lessons.experts import swiglu


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
    check_shapes(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    check_ids(topk_ids_TK, gate_up_proj.shape[0])
    if topk_ids_TK.numel() == 0:  # nothing to visit, but gradients are to be 0, not missing
        return moe_unbind(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    rows = []
    for t in range(topk_ids_TK.shape[0]):
        row_D = torch.zeros_like(hidden_TD[t], dtype=torch.promote_types(hidden_TD.dtype, torch.float32))
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
    check_shapes(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    plan = permutation_plan(topk_ids_TK, gate_up_proj.shape[0])
    rows_SD = gather_slots(hidden_TD, plan, topk_ids_TK.shape[1])
    groups = rows_SD.split(plan.tokens_per_expert_E.tolist())
    results = map(swiglu, groups, gate_up_proj.unbind(0), down_proj.unbind(0))
    return combine(torch.cat(list(results)), topk_weights_TK, plan).to(hidden_TD.dtype)


def moe_slots(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> Tensor:
    """Run every choice of every token by itself, without a sort: for a token or two, as in decoding.

    What `moe_loop` does, in fewer steps. Each choice reads its expert's weights, so that with more tokens
    than experts the same weights are read again and again.

    Parameters, returns and errors are those of `moe_loop`.

    Examples
    --------
    >>> hidden_TD, ids_TK, weights_TK = torch.ones(1, 1), torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]])
    >>> gate_up_proj, down_proj = torch.tensor([[[50.0], [1.0]], [[50.0], [2.0]]]), torch.ones(2, 1, 1)
    >>> moe_slots(hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj)
    tensor([[75.]])
    """
    check_shapes(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    check_ids(topk_ids_TK, gate_up_proj.shape[0])
    if topk_ids_TK.numel() == 0:
        return moe_unbind(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    weights: tuple[Any, Any] = (gate_up_proj, down_proj)
    if torch.is_grad_enabled():  # W[e] is a trap for gradients only, see `moe_unbind`
        weights = gate_up_proj.unbind(0), down_proj.unbind(0)
    gate_up, down = weights
    accumulate_TK = topk_weights_TK.to(torch.promote_types(hidden_TD.dtype, torch.float32))
    rows = []
    for token, experts in enumerate(topk_ids_TK.tolist()):
        hidden_1D = hidden_TD[token : token + 1]
        results_KD = torch.cat([swiglu(hidden_1D, gate_up[expert], down[expert]) for expert in experts])
        row_1D = accumulate_TK[token : token + 1] @ results_KD.to(accumulate_TK.dtype)
        rows.append(row_1D.to(hidden_TD.dtype))
    return torch.cat(rows)
