"""The two loops: over tokens, which defines the result, and over experts, for any dtype and shape."""

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
    rows = [hidden_TD[:0]]  # keeps shape, dtype and graph when T is 0
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
