"""Lay admitted rows out as one (E, C, D) buffer, and bring each token's results back."""

import torch
from torch import Tensor

from moe_lessons.capacity.admission import Admission
from moe_lessons.routing.base import check_ids


def dispatch(hidden_TD: Tensor, admission: Admission, n_experts: int) -> Tensor:
    """Copy each admitted token to its place with its expert; the places nobody took hold zeros.

    Parameters
    ----------
    hidden_TD : Tensor of shape (T, D)
    admission : Admission
    n_experts : int

    Returns
    -------
    Tensor of shape (E, C, D)

    Raises
    ------
    ValueError
        If `hidden_TD` has another number of tokens than `admission`, or an expert's id is `n_experts` or more
        (looked for in CPU tensors only).

    References
    ----------
    GShard, arXiv 2006.16668, algorithm 1 and section 3.2 (there an einsum with a one-hot dispatch mask).

    Examples
    --------
    >>> from moe_lessons.capacity import admit
    >>> ids_TK, weights_TK = torch.tensor([[1], [1], [0]]), torch.ones(3, 1)
    >>> admission = admit(ids_TK, weights_TK, n_experts=2, capacity=1)  # token 1 finds expert 1 full
    >>> dispatch(torch.tensor([[10.0], [11.0], [12.0]]), admission, n_experts=2)
    tensor([[[12.]],
    <BLANKLINE>
            [[10.]]])
    """
    n_tokens, top_k = admission.kept_TK.shape
    if len(hidden_TD) != n_tokens:
        raise ValueError(f"hidden_TD has {len(hidden_TD)} tokens: the admission is for {n_tokens}")
    check_ids(admission.expert_ids_TK, n_experts)
    n_cells, d_model = n_experts * admission.capacity, hidden_TD.shape[1]
    rows_SD = hidden_TD.unsqueeze(1).expand(n_tokens, top_k, d_model).reshape(-1, d_model)
    # One cell more than there are places takes all dropped rows, so that no shape depends on the data.
    cells_XD = rows_SD.new_zeros(n_cells + 1, d_model).index_copy(0, _cells(admission, n_cells), rows_SD)
    return cells_XD[:n_cells].view(n_experts, admission.capacity, d_model)


def combine(results_ECD: Tensor, admission: Admission, topk_weights_TK: Tensor) -> Tensor:
    """Add up each token's admitted results, times their weights; a dropped choice adds exactly zero.

    Weights are used as they are: what a dropped choice would have had is lost, as in GShard and Switch.
    DeepSpeed's top-2 gate rescales the weights of the choices that were kept.

    Parameters
    ----------
    results_ECD : Tensor of shape (E, C, D)
        What the experts made of `dispatch`'s buffer. Places that nobody took are never read.
    admission : Admission
    topk_weights_TK : Tensor of shape (T, K)

    Returns
    -------
    Tensor of shape (T, D)

    Raises
    ------
    ValueError
        If a shape is not that of the admission.

    References
    ----------
    Switch Transformer, arXiv 2101.03961, section 2.2: dropped tokens pass through the residual connection.

    Examples
    --------
    >>> from moe_lessons.capacity import admit
    >>> ids_TK, weights_TK = torch.tensor([[1], [1], [0]]), torch.full((3, 1), 0.5)
    >>> admission = admit(ids_TK, weights_TK, n_experts=2, capacity=1)
    >>> combine(torch.tensor([[[120.0]], [[100.0]]]), admission, weights_TK).flatten()  # token 1 was dropped
    tensor([50.,  0., 60.])
    """
    if results_ECD.dim() != 3 or results_ECD.shape[1] != admission.capacity:
        shape = tuple(results_ECD.shape)
        raise ValueError(f"results_ECD has shape {shape}: give (E, C, D) with C={admission.capacity}")
    if topk_weights_TK.shape != admission.kept_TK.shape:
        shapes = f"{tuple(topk_weights_TK.shape)}: the admission is for {tuple(admission.kept_TK.shape)}"
        raise ValueError(f"topk_weights_TK has shape {shapes}")
    check_ids(admission.expert_ids_TK, len(results_ECD))
    d_model = results_ECD.shape[-1]
    flat_XD = torch.cat([results_ECD.reshape(-1, d_model), results_ECD.new_zeros(1, d_model)])
    results_SD = flat_XD.index_select(0, _cells(admission, len(flat_XD) - 1))
    results_TKD = results_SD.unflatten(0, admission.kept_TK.shape)
    dtype = torch.promote_types(results_ECD.dtype, torch.float32)
    combined_TD = (results_TKD.to(dtype) * topk_weights_TK.to(dtype).unsqueeze(-1)).sum(dim=1)
    return combined_TD.to(results_ECD.dtype)


def _cells(admission: Admission, n_cells: int) -> Tensor:
    """Cell of each slot in the flattened (E, C) buffer; dropped slots share the cell after the last."""
    cells_TK = admission.expert_ids_TK * admission.capacity + admission.positions_TK
    return cells_TK.masked_fill(~admission.kept_TK, n_cells).reshape(-1)
