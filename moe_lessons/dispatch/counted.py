"""A few dozen tokens, as in decoding: no sort, no plan, as few steps as it takes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.dispatch.arguments import check_ids, check_shapes, compute_dtype
from moe_lessons.dispatch.loops import moe_unbind
from moe_lessons.dispatch.plan import weighted_sum


def moe_counted(
    hidden_TD: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> Tensor:
    """Number each expert's slots by counting, give all experts equal rooms, and run them in batched products.

    What `moe_padded` does, in half as many steps: with a few dozen rows, starting the steps takes as long as
    they do. Counting needs S * E numbers, so that with many rows a sort is quicker. Gradients are autograd's.

    Parameters, returns and errors are those of `moe_loop`.

    Examples
    --------
    >>> hidden_TD, ids_TK, weights_TK = torch.ones(1, 1), torch.tensor([[1]]), torch.tensor([[0.5]])
    >>> gate_up_proj, down_proj = torch.tensor([[[50.0], [1.0]], [[50.0], [2.0]]]), torch.ones(2, 1, 1)
    >>> moe_counted(hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj)  # half of silu(50) * 2
    tensor([[50.]])
    """
    check_shapes(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    n_experts, d_model, _ = down_proj.shape
    check_ids(topk_ids_TK, n_experts)
    n_tokens, top_k = topk_ids_TK.shape
    if topk_ids_TK.numel() == 0:
        return moe_unbind(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_proj, down_proj)
    dtype = compute_dtype(hidden_TD)
    ids_S1 = topk_ids_TK.reshape(-1, 1).long()
    one_hot_SE = hidden_TD.new_zeros(len(ids_S1), n_experts, dtype=torch.int64).scatter_(1, ids_S1, 1)
    counts_SE = one_hot_SE.cumsum(dim=0)
    size = int(counts_SE[-1].max())  # rows of each room: as many as the busiest expert needs
    rows_TK = (ids_S1 * size + counts_SE.gather(1, ids_S1) - 1).view(n_tokens, top_k)
    slots_SD = hidden_TD.to(dtype).unsqueeze(1).expand(-1, top_k, -1).reshape(-1, d_model)
    empty_RD = slots_SD.new_zeros(n_experts * size, d_model)
    rooms_END = empty_RD.index_copy(0, rows_TK.flatten(), slots_SD).view(n_experts, size, d_model)
    gate, up = torch.bmm(rooms_END, gate_up_proj.to(dtype).mT).chunk(2, dim=-1)
    results_END = torch.bmm(F.silu(gate) * up, down_proj.to(dtype).mT)
    return weighted_sum(results_END.view(-1, d_model), rows_TK, topk_weights_TK).to(hidden_TD.dtype)
