"""Routing in two levels: a token chooses groups by one softmax, then experts within each by another."""

from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.routing.base import Routing, checked_logits, count_ids


def two_level_topk(
    group_logits_TA: Tensor, expert_logits_TAB: Tensor, top_groups: int, top_experts: int
) -> Routing:
    """Take the best groups, the best experts in each of them, and multiply the two weights.

    Either softmax runs over the chosen ones alone, so that a token's weights sum to 1. The router compares a
    token with A groups and with the B experts of the chosen ones, not with all A B. The choice is greedy: a
    very good expert in a group left out is not found.

    Parameters
    ----------
    group_logits_TA : Tensor of shape (T, A)
    expert_logits_TAB : Tensor of shape (T, A, B)
        Those of groups that a token leaves out are not used.
    top_groups, top_experts : int
        Groups a token, and experts in each of them.

    Returns
    -------
    Routing
        Expert b of group a is number a B + b. The logits (T, A B) are the logarithms of the product of the
        full softmaxes: a greedy choice need not be their top-k.

    Raises
    ------
    ValueError
        If the shapes do not fit, a number is out of range, or a logit is NaN.

    References
    ----------
    Shazeer et al., arXiv 1701.06538, appendix B (there with noise); Jordan and Jacobs, "Hierarchical mixtures
    of experts and the EM algorithm", 1994, weight all branches.

    Examples
    --------
    >>> groups, experts = torch.tensor([[3.0, 1.0]]).log(), torch.tensor([[[1.0, 1.0], [9.0, 1.0]]]).log()
    >>> routing = two_level_topk(groups, experts, 1, 1)
    >>> routing.topk_ids_TK, routing.logits_TE.exp()  # .75 beats .25; the best product is .25 * .9 or .75 / 2
    (tensor([[0]]), tensor([[0.3750, 0.3750, 0.2250, 0.0250]]))
    """
    group_logits_TA = checked_logits(group_logits_TA, name="group_logits_TA")
    n_tokens, n_groups = group_logits_TA.shape
    if expert_logits_TAB.dim() != 3 or expert_logits_TAB.shape[:2] != group_logits_TA.shape:
        raise ValueError(
            f"expert_logits_TAB has shape {tuple(expert_logits_TAB.shape)}: give (T, A, B) with T={n_tokens} "
            f"and A={n_groups}, as group_logits_TA has them"
        )
    expert_logits_TAB = checked_logits(expert_logits_TAB.flatten(0, 1), name="expert_logits_TAB").view(
        expert_logits_TAB.shape
    )
    group_size = expert_logits_TAB.shape[2]
    for name, value, most in (("top_groups", top_groups, n_groups), ("top_experts", top_experts, group_size)):
        if not 1 <= value <= most:
            raise ValueError(f"{name} is {value}: choose 1 to {most}")
    best_TG, groups_TG = group_logits_TA.topk(top_groups, dim=-1)
    within_TGB = expert_logits_TAB.gather(1, groups_TG.unsqueeze(-1).expand(-1, -1, group_size))
    chosen_TGK, places_TGK = within_TGB.topk(top_experts, dim=-1)
    weights_TGK = best_TG.softmax(dim=-1).unsqueeze(-1) * chosen_TGK.softmax(dim=-1)
    ids_TGK = groups_TG.unsqueeze(-1) * group_size + places_TGK
    joint_TAB = group_logits_TA.log_softmax(dim=-1).unsqueeze(-1) + expert_logits_TAB.log_softmax(dim=-1)
    return Routing(joint_TAB.flatten(1), ids_TGK.flatten(1), weights_TGK.flatten(1))


class Utilisation(NamedTuple):
    """How much each expert is used, by weight and by count, both (A, B)."""

    importance_AB: Tensor
    load_AB: Tensor


def two_level_utilisation(routing: Routing, n_groups: int) -> Utilisation:
    """Add up the weights of each expert over all tokens (Shazeer's importance), and count its tokens.

    Groups can be even, and experts within each over *all* tokens, while the experts that are used are not:
    what counts is the experts over the tokens that come to their group.

    Parameters
    ----------
    routing : Routing
        Of `two_level_topk`.
    n_groups : int
        A.

    Raises
    ------
    ValueError
        If A does not divide the number of experts.

    References
    ----------
    Shazeer et al., arXiv 1701.06538, appendix B (Importance_H).

    Examples
    --------
    >>> groups, experts = torch.tensor([[0.0, 9.0]]), torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
    >>> two_level_utilisation(two_level_topk(groups, experts, 1, 1), 2).importance_AB
    tensor([[0., 0.],
            [0., 1.]])
    """
    n_experts = routing.logits_TE.shape[-1]
    if n_groups < 1 or n_experts % n_groups:
        raise ValueError(f"n_groups is {n_groups} with {n_experts} experts: choose a divisor of {n_experts}")
    ids_S, weights_S = routing.topk_ids_TK.flatten(), routing.topk_weights_TK.flatten()
    importance_E = torch.zeros(n_experts, dtype=weights_S.dtype, device=weights_S.device)
    importance_E = importance_E.index_add(0, ids_S, weights_S)
    load_E = count_ids(ids_S, torch.ones_like(ids_S), n_experts)
    return Utilisation(importance_E.view(n_groups, -1), load_E.view(n_groups, -1))
