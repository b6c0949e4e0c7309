"""What all routers share: the logits, the shape of a decision, and the counts that follow from it."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

TINY = 1e-20  # every sigmoid may underflow to 0; DeepSeek's code adds the same constant
NOWHERE = -1  # the expert id of a token that is not routed: padding


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
        The id `NOWHERE`, -1, is not counted: it is what a layer with a mask gives to padding.
    n_experts : int
    mask_T : bool Tensor of shape (T,), optional
        True for real tokens, False for padding.

    Returns
    -------
    Tensor of shape (E,), int64

    Raises
    ------
    ValueError
        If the ids are not whole numbers, or the mask has not one entry per token.

    Examples
    --------
    >>> tokens_per_expert(torch.tensor([[0, 2], [2, 3], [-1, -1]]), 4)
    tensor([1, 0, 2, 1])
    """
    check_whole(topk_ids_TK)
    if mask_T is not None and mask_T.shape != topk_ids_TK.shape[:1]:
        raise ValueError(
            f"mask_T has shape {tuple(mask_T.shape)}: give one entry per token, ({len(topk_ids_TK)},)"
        )
    real_TK = topk_ids_TK != NOWHERE
    if mask_T is not None:
        real_TK = real_TK & mask_T.bool().unsqueeze(1)
    ids_S = topk_ids_TK.masked_fill(~real_TK, 0).reshape(-1).long()
    return count_ids(ids_S, real_TK.reshape(-1).long(), n_experts)


def count_ids(ids_S: Tensor, ones_S: Tensor, n_experts: int) -> Tensor:
    """Add up the ones of each id, which must lie in 0..E-1.

    Examples
    --------
    >>> count_ids(torch.tensor([2, 0, 2]), torch.tensor([1, 1, 1]), 3)
    tensor([1, 0, 2])
    """
    # Not bincount: on a GPU it waits for the largest id. Integer sums do not depend on their order.
    return torch.zeros(n_experts, dtype=torch.int64, device=ids_S.device).scatter_add_(0, ids_S, ones_S)


def real_rows(topk_ids_TK: Tensor) -> Tensor:
    """Mark the tokens that were routed somewhere.

    Examples
    --------
    >>> real_rows(torch.tensor([[0, 2], [-1, -1]]))
    tensor([ True, False])
    """
    return (topk_ids_TK != NOWHERE).any(dim=1)


def checked_logits(logits_TE: Tensor, top_k: int = 1, name: str = "logits_TE") -> Tensor:
    """Refuse wrong shapes, a top_k outside 1..E and NaN; return the logits in at least fp32."""
    if logits_TE.dim() != 2:
        raise ValueError(f"{name} has shape {tuple(logits_TE.shape)}: flatten it to (T, E)")
    n_experts = logits_TE.shape[-1]
    if n_experts == 0:
        raise ValueError(f"{name} has shape {tuple(logits_TE.shape)}: give at least one expert")
    check_top_k(top_k, n_experts)
    if logits_TE.device.type == "cpu" and not traced() and bool(logits_TE.isnan().any()):
        raise ValueError(f"{name} holds NaN: look for a diverged loss or bad inputs before the router")
    return logits_TE.to(torch.promote_types(logits_TE.dtype, torch.float32))


def check_top_k(top_k: int, n_experts: int) -> None:
    """Refuse a K outside 1..E."""
    if not 1 <= top_k <= n_experts:
        raise ValueError(f"top_k is {top_k} with {n_experts} experts: choose 1 to {n_experts}")


def check_ids(topk_ids_TK: Tensor, n_experts: int) -> None:
    """Refuse expert ids that are not whole numbers in 0..E-1; values are looked at in CPU tensors only.

    Examples
    --------
    >>> check_ids(torch.tensor([[0, 3]]), 3)
    Traceback (most recent call last):
    ValueError: topk_ids_TK runs from 0 to 3 with 3 experts: keep ids in 0..2
    """
    check_whole(topk_ids_TK)
    on_host = topk_ids_TK.device.type == "cpu" and not torch.compiler.is_compiling()
    if not on_host or topk_ids_TK.numel() == 0:
        return
    lowest, highest = (int(bound) for bound in torch.aminmax(topk_ids_TK))
    if lowest < 0 or highest >= n_experts:
        raise ValueError(
            f"topk_ids_TK runs from {lowest} to {highest} with {n_experts} experts: "
            f"keep ids in 0..{n_experts - 1}"
        )


def check_whole(topk_ids_TK: Tensor) -> None:
    """Refuse weights where ids should be: cut to whole numbers, nearly all would say expert 0."""
    if topk_ids_TK.is_floating_point():
        raise ValueError(f"topk_ids_TK is {topk_ids_TK.dtype}: give whole numbers, the experts' ids")


def traced() -> bool:
    """Say whether tensors may stand for others or carry tangents, so that no Python may look inside them.

    That is so under `torch.compile`, and where they are `transformed`.

    Examples
    --------
    >>> traced()
    False
    """
    return torch.compiler.is_compiling() or transformed()


def transformed() -> bool:
    """Say whether a transform of `torch.func` or forward-mode differentiation is at work.

    Examples
    --------
    >>> torch.func.grad(lambda x: x * transformed())(torch.tensor(1.0))
    tensor(1.)
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


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
