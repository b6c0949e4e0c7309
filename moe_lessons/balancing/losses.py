"""The load-balancing loss and the router z-loss.

Both take one layer's logits. Add the losses of several layers; pooling their loads first hides a collapse
in which each layer favours a different expert.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from moe_lessons.balancing.groups import (
    mean_over_tokens,
    real_tokens,
    sum_over_ranks,
    tokens_by_group,
    without_padding,
    world_size,
)
from moe_lessons.routing import tokens_per_expert
from moe_lessons.routing.base import check_ids, checked_logits, real_rows
from moe_lessons.routing.gates import sqrt_softplus

NORMALIZATIONS = ("switch", "gshard", "huggingface", "megatron", "deepseek")
SCOPES = ("micro_batch", "sequence", "global_batch")

# Each divides every expert's score by the sum of all E scores; in logarithms that is a softmax.
PROBABILITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits_TE: logits_TE.softmax(dim=-1),
    "sigmoid": lambda logits_TE: F.logsigmoid(logits_TE).softmax(dim=-1),
    "sqrt_softplus": lambda logits_TE: sqrt_softplus(logits_TE).log().softmax(dim=-1),
}


def load_balancing_loss(
    logits_TE: Tensor,
    topk_ids_TK: Tensor,
    *,
    normalization: str = "switch",
    scores: str = "softmax",
    mask_T: Tensor | None = None,
    scope: str = "micro_batch",
    n_sequences: int | None = None,
    earlier_counts_E: Tensor | None = None,
) -> Tensor:
    """Sum over experts of f (the load, counted) times P (the mean probability), scaled as a named code does.

    P is over all E experts, never the renormalised weights of the chosen K. f is a count and has no gradient;
    through P the router is pushed away from each expert in proportion to that expert's f.

    - "switch": E * sum f P, f a fraction of the T * K routed rows. Uniform P or uniform f gives 1. "megatron"
      and "deepseek" are the same formula; Switch itself has K = 1.
    - "huggingface": f a fraction of the T tokens, so K times as large; what transformers computes for
      Mixtral, OLMoE and Qwen on one layer. Theirs chooses anew, by the top-k of the logits' softmax: where a
      selection bias or groups chose other experts, it counts experts that did not run; ours does not.
    - "gshard": (1 / E) * sum f P, f the fraction of tokens whose *first* choice is the expert. Balanced it
      is 1 / E².

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
        One layer's router logits.
    topk_ids_TK : integer Tensor of shape (T, K)
        The chosen experts, the first choice in column 0.
    normalization : str
        One of `NORMALIZATIONS`.
    scores : str
        What P is made of, a key of `PROBABILITIES`: "softmax", or each expert's "sigmoid" or "sqrt_softplus"
        over the sum of all E (DeepSeek-V3 and V4).
    mask_T : bool Tensor of shape (T,), optional
        True for real tokens; padding counts neither in f nor in P. Tokens with the id -1, which a layer with
        a mask gives to padding, do not count either.
    scope : str
        Where the load is to be even. "micro_batch": over these T tokens. "sequence": within each of
        `n_sequences` sequences of T / n_sequences tokens that lie one after the other; the mean over those
        that hold a real token. "global_batch": f counted over all ranks of torch.distributed (without it,
        these tokens), P from this rank's; the mean of loss and gradient over ranks, as data parallelism
        takes it, is then that of one process that sees all tokens.
    n_sequences : int, optional
        For scope "sequence" only.
    earlier_counts_E : integer Tensor of shape (E,), optional
        For scope "global_batch" only, under gradient accumulation: this rank's routed rows in those
        micro-batches of the same step that went before. They count in f; in P they do not, since their own
        losses had them.

    Returns
    -------
    Tensor, scalar
        Without its weight alpha; 0 when there is no token to count.

    Raises
    ------
    ValueError
        If a name is unknown, shapes do not fit together, `n_sequences` does not divide T, an id is outside
        0..E-1 or the logits hold NaN (these two are looked for on CPU only).

    References
    ----------
    Switch Transformer, arXiv 2101.03961, eq. 4-6; GShard, arXiv 2006.16668, algorithm 1; DeepSeek-V3,
    arXiv 2412.19437, eq. 17-20 (sequence); Qiu et al., arXiv 2501.11873 (global batch); transformers,
    `load_balancing_loss_func` of models/mixtral; Megatron-LM, `switch_load_balancing_loss_func`.

    Examples
    --------
    >>> logits_TE = torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log()  # P = (3/4, 1/4)
    >>> load_balancing_loss(logits_TE, torch.tensor([[0], [0]]))  # f = (1, 0): 2 * 3/4
    tensor(1.5000)
    >>> load_balancing_loss(logits_TE, torch.tensor([[0], [1]]))  # f = (1/2, 1/2): 1 for every P
    tensor(1.)
    """
    _check_name("normalization", normalization, NORMALIZATIONS)
    _check_name("scores", scores, tuple(PROBABILITIES))
    _check_name("scope", scope, SCOPES)
    n_experts = logits_TE.shape[-1]
    if topk_ids_TK.dim() != 2 or topk_ids_TK.shape[0] != logits_TE.shape[0]:
        raise ValueError(
            f"topk_ids_TK has shape {tuple(topk_ids_TK.shape)}: give (T, K) with T={logits_TE.shape[0]}"
        )
    top_k = topk_ids_TK.shape[1]
    logits_TE = checked_logits(logits_TE, top_k)
    mask_T = real_rows(topk_ids_TK) & _all_unless(mask_T, topk_ids_TK)
    topk_ids_TK = topk_ids_TK.masked_fill(~mask_T.unsqueeze(1), 0)
    check_ids(topk_ids_TK, n_experts)  # one of another expert would be counted for the next sequence
    probs_TE = PROBABILITIES[scores](without_padding(logits_TE, mask_T))
    groups = tokens_by_group(probs_TE, mask_T, _n_groups(scope, n_sequences, len(probs_TE)))

    counted_ids_TK = topk_ids_TK[:, :1] if normalization == "gshard" else topk_ids_TK
    group_ids_T1 = torch.arange(len(probs_TE), device=probs_TE.device).unsqueeze(1) // max(1, groups.length)
    counts_GE = tokens_per_expert(
        counted_ids_TK + n_experts * group_ids_T1, groups.number * n_experts, mask_T
    ).unflatten(0, (groups.number, n_experts))
    n_tokens_G, n_counted_G, n_ranks = groups.n_tokens_G, groups.n_tokens_G, 1
    if earlier_counts_E is not None:
        counts_GE = counts_GE + _earlier(earlier_counts_E, scope, n_experts)
        n_counted_G = n_counted_G + earlier_counts_E.sum() // counted_ids_TK.shape[1]
    if scope == "global_batch":
        n_ranks = world_size()
        counts_GE, n_tokens_G, n_counted_G = sum_over_ranks(counts_GE, n_tokens_G, n_counted_G)

    load_GE = counts_GE.to(probs_TE.dtype) / n_counted_G.clamp_min(1).unsqueeze(1)
    probs_GE = groups.sums_GE * n_ranks / n_tokens_G.clamp_min(1).unsqueeze(1)
    scale = {"huggingface": n_experts, "gshard": 1 / n_experts}.get(normalization, n_experts / top_k)
    n_filled = (n_tokens_G > 0).sum().clamp_min(1)
    return scale * (load_GE * probs_GE).sum() / n_filled


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

    Raises
    ------
    ValueError
        If shapes do not fit together or the logits hold NaN (looked for on CPU only).

    References
    ----------
    ST-MoE, arXiv 2202.08906, eq. 5.

    Examples
    --------
    >>> z_loss(torch.zeros(3, 4)).sqrt().exp()  # logsumexp of four zeros is ln 4
    tensor(4.)
    """
    logits_TE = without_padding(checked_logits(logits_TE), mask_T)
    return mean_over_tokens(logits_TE.logsumexp(dim=-1).square(), mask_T)


def _n_groups(scope: str, n_sequences: int | None, n_tokens: int) -> int:
    if scope != "sequence":
        if n_sequences is not None:
            raise ValueError(f"n_sequences is {n_sequences} with scope {scope!r}: leave it out")
        return 1
    if n_sequences is None or n_sequences < 1 or n_tokens % n_sequences:
        raise ValueError(f"n_sequences is {n_sequences}: give a divisor of the {n_tokens} tokens")
    return n_sequences


def _all_unless(mask_T: Tensor | None, topk_ids_TK: Tensor) -> Tensor:
    real_T = real_tokens(topk_ids_TK, mask_T)
    return topk_ids_TK.new_ones((), dtype=torch.bool) if real_T is None else real_T


def _earlier(counts_E: Tensor, scope: str, n_experts: int) -> Tensor:
    if scope != "global_batch":
        raise ValueError(f"earlier_counts_E is given with scope {scope!r}: leave it out")
    if counts_E.shape != (n_experts,):
        raise ValueError(f"earlier_counts_E has shape {tuple(counts_E.shape)}: give ({n_experts},)")
    return counts_E


def _check_name(argument: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ValueError(f"{argument} is {name!r}: choose one of {', '.join(known)}")
