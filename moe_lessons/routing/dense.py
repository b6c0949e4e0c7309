"""One view of every kind of decision: a matrix of tokens by experts."""

import torch
from torch import Tensor

from moe_lessons.routing.base import Routing
from moe_lessons.routing.expert_choice import ExpertChoice
from moe_lessons.routing.soft import SoftSlots

Decision = Routing | ExpertChoice | SoftSlots


def dense_assignment(decision: Decision) -> Tensor:
    """Say which token goes to which expert: column sums are loads, row sums the experts per token.

    Soft MoE sends a share of every token to every expert, so all is True; an expert's work is its P slots.

    Parameters
    ----------
    decision : Routing, ExpertChoice or SoftSlots

    Returns
    -------
    bool Tensor of shape (T, E)

    Examples
    --------
    >>> ids_TK = torch.tensor([[0, 2]])
    >>> dense_assignment(Routing(torch.zeros(1, 3), ids_TK, torch.tensor([[0.9, 0.0]])))
    tensor([[ True, False,  True]])
    """
    if isinstance(decision, SoftSlots):
        return torch.ones(decision.logits_TEP.shape[:2], dtype=torch.bool, device=decision.logits_TEP.device)
    chosen_TE = torch.zeros_like(decision.logits_TE, dtype=torch.bool)
    if isinstance(decision, ExpertChoice):
        return chosen_TE.T.scatter(1, decision.token_ids_EC, True).T
    return chosen_TE.scatter(1, decision.topk_ids_TK, True)


def dense_weights(decision: Decision) -> Tensor:
    """Weigh each expert in each token's output; 0 where the expert was not chosen.

    For Soft MoE it is the sum of the combine weights of the expert's slots, which hold more than this token.

    Parameters
    ----------
    decision : Routing, ExpertChoice or SoftSlots

    Returns
    -------
    Tensor of shape (T, E)
        Differentiable like the weights themselves.

    Examples
    --------
    >>> ids_TK = torch.tensor([[2, 0]])
    >>> dense_weights(Routing(torch.zeros(1, 3), ids_TK, torch.tensor([[0.75, 0.25]])))
    tensor([[0.2500, 0.0000, 0.7500]])
    """
    if isinstance(decision, SoftSlots):
        return decision.combine_TEP.sum(dim=-1)
    if isinstance(decision, ExpertChoice):
        none_ET = torch.zeros_like(decision.logits_TE).T
        return none_ET.scatter(1, decision.token_ids_EC, decision.weights_EC).T
    none_TE = torch.zeros_like(decision.logits_TE)
    return none_TE.scatter(1, decision.topk_ids_TK, decision.topk_weights_TK)
