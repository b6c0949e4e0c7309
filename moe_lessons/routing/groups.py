"""Group-limited routing: a token chooses a few groups of experts, then experts within them.

With one group per machine, a token travels to few machines, whatever K is.
"""

import torch
from torch import Tensor

from moe_lessons.routing.base import Routing, biased, checked_logits, weigh


def group_limited_topk(
    logits_TE: Tensor,
    top_k: int,
    *,
    n_groups: int,
    topk_groups: int,
    expert_bias_E: Tensor | None = None,
    renormalize: bool = True,
    scale: float = 1.0,
) -> Routing:
    """Score groups by the sum of their two best sigmoids, keep the best groups, then `sigmoid_topk` in them.

    Used by DeepSeek-V3 (8 groups of 32, 4 kept, K = 8, scale 2.5), A.X-K1, Ling-3.0 and Beam. Many have the
    code with one group, which limits nothing (GLM-4.5, dots.llm1, MiMo-V2). The bias steers the choice of
    groups and of experts, never the weight.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    top_k : int, 1 to the number of experts in the kept groups
    n_groups, topk_groups : int
        `n_groups` divides E; expert e is in group e // (E / n_groups). 1 <= topk_groups <= n_groups.
    expert_bias_E, renormalize, scale
        As in `sigmoid_topk`.

    Raises
    ------
    ValueError
        As `sigmoid_topk`; also if `n_groups` does not divide E, `topk_groups` is outside 1..n_groups, or the
        kept groups hold fewer than `top_k` experts.

    References
    ----------
    DeepSeek-V3, arXiv 2412.19437, section 2.1.2 (node-limited routing), where the two best are the K / M
    best; transformers, models/deepseek_v3, `DeepseekV3TopkRouter`.

    Examples
    --------
    >>> logits_TE = torch.tensor([[9.0, 0.1, 4.0, 3.0]]).log()  # scores .90 .09 | .80 .75
    >>> group_limited_topk(logits_TE, 2, n_groups=2, topk_groups=1).topk_ids_TK  # 1.55 beats .99
    tensor([[2, 3]])
    """
    logits_TE = checked_logits(logits_TE, top_k)
    scores_TE = logits_TE.sigmoid()
    selection_TE = limit_to_groups(biased(scores_TE, expert_bias_E), top_k, n_groups, topk_groups, best=2)
    topk_ids_TK = selection_TE.topk(top_k, dim=-1).indices
    return weigh(logits_TE, scores_TE, topk_ids_TK, renormalize, scale)


def group_limited_softmax_topk(
    logits_TE: Tensor, top_k: int, *, n_groups: int, topk_groups: int, scale: float = 1.0
) -> Routing:
    """Score groups by their best expert, keep the best groups, then `softmax_topk` in them.

    Used by DeepSeek-V2 (8 groups of 20, 3 kept, K = 6, scale 16), where a group is a device. The softmax runs
    over all experts and is not renormalised.

    Parameters
    ----------
    logits_TE : Tensor of shape (T, E)
    top_k, n_groups, topk_groups : int
        As in `group_limited_topk`.
    scale : float

    Raises
    ------
    ValueError
        As `group_limited_topk`.

    References
    ----------
    DeepSeek-V2, arXiv 2405.04434, section 2.2.2; transformers, models/deepseek_v2, `DeepseekV2TopkRouter`.

    Examples
    --------
    >>> logits_TE = torch.tensor([[5.0, 1.0, 4.0, 3.0]]).log()  # probabilities .38 .08 | .31 .23
    >>> group_limited_softmax_topk(logits_TE, 2, n_groups=2, topk_groups=1).topk_ids_TK  # .38 beats .31
    tensor([[0, 1]])
    """
    logits_TE = checked_logits(logits_TE, top_k)
    # Logits order experts and groups as probabilities do, but do not underflow to ties.
    topk_ids_TK = limit_to_groups(logits_TE, top_k, n_groups, topk_groups, best=1).topk(top_k, dim=-1).indices
    return weigh(logits_TE, logits_TE.softmax(dim=-1), topk_ids_TK, renormalize=False, scale=scale)


def limit_to_groups(
    selection_TE: Tensor,
    top_k: int,
    n_groups: int,
    topk_groups: int,
    best: int,
    outside: float = float("-inf"),
) -> Tensor:
    """Put `outside` outside each token's best groups, a group counting by the sum of its `best` experts.

    Examples
    --------
    >>> limit_to_groups(torch.tensor([[1.0, 5.0, 4.0, 3.0]]), 2, n_groups=2, topk_groups=1, best=2)
    tensor([[-inf, -inf, 4., 3.]])
    """
    n_experts = selection_TE.shape[1]
    if n_groups < 1 or n_experts % n_groups:
        raise ValueError(f"n_groups is {n_groups} with {n_experts} experts: choose a divisor of {n_experts}")
    if not 1 <= topk_groups <= n_groups:
        raise ValueError(f"topk_groups is {topk_groups} with {n_groups} groups: choose 1 to {n_groups}")
    group_size = n_experts // n_groups
    if top_k > topk_groups * group_size:
        raise ValueError(
            f"topk_groups is {topk_groups} with {group_size} experts each, fewer than top_k={top_k}: "
            f"keep at least {-(-top_k // group_size)} groups"
        )
    selection_TGE = selection_TE.unflatten(1, (n_groups, group_size))
    group_scores_TG = selection_TGE.topk(min(best, group_size), dim=-1).values.sum(dim=-1)
    kept_TG = torch.zeros_like(group_scores_TG, dtype=torch.bool)
    kept_TG.scatter_(1, group_scores_TG.topk(topk_groups, dim=-1).indices, True)
    # Not 0: a biased score may be negative, and an expert of a group left out would come before it.
    return selection_TGE.masked_fill(~kept_TG.unsqueeze(-1), outside).flatten(1)
