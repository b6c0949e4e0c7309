"""Auxiliary losses on the router: load balancing and the z-loss.

Both take one layer's logits. Add the losses of several layers; pooling their loads first hides a collapse
in which each layer favours a different expert.
"""

import torch
from torch import Tensor

from moe_lessons.routing import tokens_per_expert

NORMALIZATIONS = ("switch", "huggingface", "gshard")


def load_balancing_loss(
    logits_TE: Tensor,
    topk_ids_TK: Tensor,
    *,
    normalization: str = "switch",
    mask_T: Tensor | None = None,
) -> Tensor:
    """Sum over experts of f (the load, counted) times P (the mean probability), scaled in one of three ways.

    P is the softmax over all E experts, never the renormalised weights of the chosen K. f is a count and has
    no gradient; through P the router is pushed away from each expert in proportion to that expert's f.

    - "switch": E * sum f P, f a fraction of the T * K routed rows. Uniform P or uniform f gives 1. With K = 1
      this is the Switch loss; Megatron, MegaBlocks and DeepSeek divide by K in the same way.
    - "huggingface": f a fraction of the T tokens, so K times as large; what transformers computes for
      Mixtral, OLMoE and Qwen on one layer.
    - "gshard": (1 / E) * sum f P, f the fraction of tokens whose *first* choice is the expert. Balanced it
      is 1 / E².

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
        One layer's router logits.
    topk_ids_TK : integer Tensor of shape (T, K)
        The chosen experts, the first choice in column 0.
    normalization : str
        "switch", "huggingface" or "gshard".
    mask_T : bool Tensor of shape (T,), optional
        True for real tokens; padding counts neither in f nor in P.

    Returns
    -------
    Tensor, scalar
        Without its weight alpha; 0 when there is no token to count.

    Raises
    ------
    ValueError
        If the normalisation is unknown or the shapes do not fit together.

    References
    ----------
    Switch Transformer, arXiv 2101.03961, eq. 4-6; GShard, arXiv 2006.16668, algorithm 1;
    transformers, `load_balancing_loss_func` of models/mixtral.

    Examples
    --------
    >>> logits_TE = torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log()  # P = (3/4, 1/4)
    >>> load_balancing_loss(logits_TE, torch.tensor([[0], [0]]))  # f = (1, 0): 2 * 3/4
    tensor(1.5000)
    >>> load_balancing_loss(logits_TE, torch.tensor([[0], [1]]))  # f = (1/2, 1/2): 1 for every P
    tensor(1.)
    """
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization is {normalization!r}: choose one of {', '.join(NORMALIZATIONS)}")
    if topk_ids_TK.dim() != 2 or topk_ids_TK.shape[0] != logits_TE.shape[0]:
        raise ValueError(
            f"topk_ids_TK has shape {tuple(topk_ids_TK.shape)}: give (T, K) with T={logits_TE.shape[0]}"
        )
    n_experts, top_k = logits_TE.shape[1], topk_ids_TK.shape[1]
    probs_E = _mean_over_tokens(_floating(logits_TE).softmax(dim=-1), mask_T)
    counted_ids_TK = topk_ids_TK[:, :1] if normalization == "gshard" else topk_ids_TK
    counts_E = tokens_per_expert(counted_ids_TK, n_experts, mask_T)
    per_token_E = counts_E.to(probs_E.dtype) / _n_tokens(logits_TE, mask_T)
    scale = {"switch": n_experts / top_k, "huggingface": n_experts, "gshard": 1 / n_experts}[normalization]
    return scale * (per_token_E * probs_E).sum()


def z_loss(logits_TE: Tensor, *, mask_T: Tensor | None = None) -> Tensor:
    """Mean over tokens of the squared logsumexp of the logits: it keeps them small, where fp32 is precise.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
        One layer's router logits.
    mask_T : bool Tensor of shape (T,), optional
        True for real tokens.

    Returns
    -------
    Tensor, scalar
        Without its weight; 0 when there is no token to count.

    References
    ----------
    ST-MoE, arXiv 2202.08906, eq. 5.

    Examples
    --------
    >>> z_loss(torch.zeros(3, 4)).sqrt().exp()  # logsumexp of four zeros is ln 4
    tensor(4.)
    """
    return _mean_over_tokens(_floating(logits_TE).logsumexp(dim=-1).square(), mask_T)


def _mean_over_tokens(values_T: Tensor, mask_T: Tensor | None) -> Tensor:
    if mask_T is not None:
        if mask_T.shape != values_T.shape[:1]:
            raise ValueError(
                f"mask_T has shape {tuple(mask_T.shape)}: give one entry per token, ({values_T.shape[0]},)"
            )
        values_T = values_T * mask_T.bool().reshape(-1, *[1] * (values_T.dim() - 1))
    return values_T.sum(dim=0) / _n_tokens(values_T, mask_T)


def _n_tokens(values_T: Tensor, mask_T: Tensor | None) -> Tensor | int:
    if mask_T is None:
        return max(1, values_T.shape[0])
    return mask_T.bool().sum().clamp_min(1)


def _floating(logits_TE: Tensor) -> Tensor:
    return logits_TE.to(torch.promote_types(logits_TE.dtype, torch.float32))
