"""What all routers share: the logits, the shape of a decision, and the counts that follow from it."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-20  # every sigmoid may underflow to 0; DeepSeek's code adds the same constant


class Routing(NamedTuple):
    """What a router decided for T tokens: logits (T, E), expert ids (T, K), their weights (T, K)."""

    logits_TE: Tensor
    topk_ids_TK: Tensor
    topk_weights_TK: Tensor


def router_logits(hidden_TD: Tensor, router_ED: Tensor) -> Tensor:
    """Score every expert for every token in fp32, whatever the inputs' dtype and also under autocast.

    bf16 has no number between 128 and 129: rounding a logit of 128.5 can take a third off its probability.
    fp64 inputs stay fp64, so that gradients can be checked.

    Parameters
    ----------
    hidden_TD : Tensor of shape (T, D)
        The hidden states at this layer (not the token embeddings).
    router_ED : Tensor of shape (E, D)

    Raises
    ------
    ValueError
        If the two widths differ.

    References
    ----------
    Switch Transformer, arXiv 2101.03961, table 2 (selective precision); ST-MoE, arXiv 2202.08906, footnote 7.

    Examples
    --------
    >>> router_logits(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.0], [0.0, 5.0], [1.0, 1.0]]))
    tensor([[ 3., 10.,  3.]])
    """
    if hidden_TD.shape[-1] != router_ED.shape[-1]:
        widths = f"{hidden_TD.shape[-1]} but router_ED expects {router_ED.shape[-1]}"
        raise ValueError(f"hidden_TD has width {widths}: give both the same D")
    dtype = torch.promote_types(hidden_TD.dtype, torch.float32)
    with torch.autocast(hidden_TD.device.type, enabled=False):
        return F.linear(hidden_TD.to(dtype), router_ED.to(dtype))


def tokens_per_expert(topk_ids_TK: Tensor, n_experts: int, mask_T: Tensor | None = None) -> Tensor:
    """Count the routed rows of each expert, leaving out the tokens that `mask_T` marks False.

    Parameters
    ----------
    topk_ids_TK : integer Tensor of shape (T, K)
    n_experts : int
    mask_T : bool Tensor of shape (T,), optional
        True for real tokens, False for padding.

    Returns
    -------
    Tensor of shape (E,), int64

    Examples
    --------
    >>> tokens_per_expert(torch.tensor([[0, 2], [2, 3]]), 4)
    tensor([1, 0, 2, 1])
    """
    ids_S = topk_ids_TK.reshape(-1).long()
    if mask_T is None:
        ones_S = torch.ones_like(ids_S)
    else:
        ones_S = mask_T.bool().long().unsqueeze(1).expand_as(topk_ids_TK).reshape(-1)
    # Not bincount: on a GPU it waits for the largest id. Integer sums do not depend on their order.
    return torch.zeros(n_experts, dtype=torch.int64, device=ids_S.device).scatter_add_(0, ids_S, ones_S)


def checked_logits(logits_TE: Tensor, top_k: int = 1, name: str = "logits_TE") -> Tensor:
    """Refuse wrong shapes, a top_k outside 1..E and NaN; return the logits in at least fp32."""
    if logits_TE.dim() != 2:
        raise ValueError(f"{name} has shape {tuple(logits_TE.shape)}: flatten it to (T, E)")
    n_experts = logits_TE.shape[-1]
    if n_experts == 0:
        raise ValueError(f"{name} has shape {tuple(logits_TE.shape)}: give at least one expert")
    if not 1 <= top_k <= n_experts:
        raise ValueError(f"top_k is {top_k} with {n_experts} experts: choose 1 to {n_experts}")
    on_host = logits_TE.device.type == "cpu" and not torch.compiler.is_compiling()
    if on_host and bool(logits_TE.isnan().any()):
        raise ValueError(f"{name} holds NaN: look for a diverged loss or bad inputs before the router")
    return logits_TE.to(torch.promote_types(logits_TE.dtype, torch.float32))


def biased(scores_TE: Tensor, expert_bias_E: Tensor | None) -> Tensor:
    """Add a selection bias to the scores, after a look at its shape."""
    if expert_bias_E is None:
        return scores_TE
    if expert_bias_E.shape != scores_TE.shape[-1:]:
        raise ValueError(
            f"expert_bias_E has shape {tuple(expert_bias_E.shape)}: give one bias per expert, "
            f"shape ({scores_TE.shape[-1]},)"
        )
    return scores_TE + expert_bias_E


def weigh(
    logits_TE: Tensor, scores_TE: Tensor, topk_ids_TK: Tensor, renormalize: bool, scale: float
) -> Routing:
    """Weigh experts chosen in whatever way by their own scores."""
    weights_TK = scores_TE.gather(-1, topk_ids_TK)
    if renormalize:
        weights_TK = weights_TK / (weights_TK.sum(dim=-1, keepdim=True) + TINY)
    return Routing(logits_TE, topk_ids_TK, weights_TK * scale)
