"""What exercise 11.hierarchical is judged with: cases, the right gate in two levels, and wrong ones."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case

Gate = tuple[Tensor, Tensor, Tensor]
SHAPES = ((6, 3, 4, 2, 2), (5, 4, 5, 1, 3), (9, 5, 3, 3, 1))


def _spaced(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Logits of which no two neighbours in rank are close, along the last axis."""
    n = shape[-1]
    rows = rng.permuted(np.tile(np.linspace(-1.8, 1.8, n), (*shape[:-1], 1)), axis=-1)
    return (rows + rng.uniform(-0.3, 0.3, shape) * 3.6 / (n - 1)).astype(np.float32)


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several groups with several experts, several with one, one with several; greedy is not the best."""
    cases = []
    for n_tokens, n_groups, group_size, top_groups, top_experts in SHAPES:
        while True:
            groups_TA = _spaced(rng, n_tokens, n_groups)
            experts_TAB = _spaced(rng, n_tokens, n_groups, group_size)
            given = torch.from_numpy(groups_TA), torch.from_numpy(experts_TAB), top_groups, top_experts
            if not torch.equal(_sorted(reference(*given)[0]), _sorted(joint(*given)[0])):
                break
        args: dict[str, Any] = {
            "group_logits_TA": groups_TA,
            "expert_logits_TAB": experts_TAB,
            "top_groups": top_groups,
            "top_experts": top_experts,
        }
        name = f"T={n_tokens}, {n_groups} groups of {group_size}, {top_groups} of them, {top_experts} in each"
        cases.append(Case(name, args))
    return cases


def _sorted(ids_TK: Tensor) -> Tensor:
    return ids_TK.sort(dim=1).values


def _chosen(groups_TA: Tensor, experts_TAB: Tensor, top_groups: int, top_experts: int) -> tuple[Tensor, ...]:
    """The best groups' logits and numbers (T, k1), and in them the best experts' (T, k1, k2)."""
    best_TG, groups_TG = groups_TA.topk(top_groups, dim=-1)
    within_TGB = experts_TAB.gather(1, groups_TG.unsqueeze(-1).expand(-1, -1, experts_TAB.shape[2]))
    return best_TG, groups_TG, *within_TGB.topk(top_experts, dim=-1), within_TGB


def _gate(ids_TK: Tensor, weights_TK: Tensor, like_TAB: Tensor) -> Gate:
    """Ids, weights, and the sum of each expert's weights."""
    n_groups, group_size = like_TAB.shape[1:]
    total_E = torch.zeros(n_groups * group_size, dtype=weights_TK.dtype)
    total_E = total_E.index_add(0, ids_TK.flatten(), weights_TK.flatten())
    return ids_TK, weights_TK, total_E.view(n_groups, group_size)


def reference(groups_TA: Tensor, experts_TAB: Tensor, top_groups: int, top_experts: int) -> Gate:
    """Two softmaxes over what was chosen, multiplied."""
    best_TG, groups_TG, chosen_TGK, places_TGK, _ = _chosen(groups_TA, experts_TAB, top_groups, top_experts)
    weights_TGK = best_TG.softmax(dim=-1).unsqueeze(-1) * chosen_TGK.softmax(dim=-1)
    ids_TGK = groups_TG.unsqueeze(-1) * experts_TAB.shape[2] + places_TGK
    return _gate(ids_TGK.flatten(1), weights_TGK.flatten(1), experts_TAB)


def joint(groups_TA: Tensor, experts_TAB: Tensor, top_groups: int, top_experts: int) -> Gate:
    """Take the best of the product of both full softmaxes."""
    product_TE = (groups_TA.softmax(dim=-1).unsqueeze(-1) * experts_TAB.softmax(dim=-1)).flatten(1)
    weights_TK, ids_TK = product_TE.topk(top_groups * top_experts, dim=-1)
    return _gate(ids_TK, weights_TK / weights_TK.sum(dim=-1, keepdim=True), experts_TAB)


def pooled(groups_TA: Tensor, experts_TAB: Tensor, top_groups: int, top_experts: int) -> Gate:
    """Let the experts of all chosen groups compete with each other."""
    best_TG, groups_TG, _, _, within_TGB = _chosen(groups_TA, experts_TAB, top_groups, 1)
    size = experts_TAB.shape[2]
    best_TK, places_TK = (within_TGB + best_TG.unsqueeze(-1)).flatten(1).topk(top_groups * top_experts)
    ids_TK = groups_TG.gather(1, places_TK // size) * size + places_TK % size
    return _gate(ids_TK, best_TK.softmax(dim=-1), experts_TAB)


def weighed(weigh: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Gate]:
    """The right choice with other weights, made of both softmaxes over the chosen and over all."""

    def wrong(groups_TA: Tensor, experts_TAB: Tensor, top_groups: int, top_experts: int) -> Gate:
        best_TG, groups_TG, chosen_TGK, places_TGK, within_TGB = _chosen(
            groups_TA, experts_TAB, top_groups, top_experts
        )
        full_TG = groups_TA.softmax(dim=-1).gather(1, groups_TG).unsqueeze(-1)
        full_TGK = within_TGB.softmax(dim=-1).gather(2, places_TGK)
        outer_TG1, inner_TGK = best_TG.softmax(dim=-1).unsqueeze(-1), chosen_TGK.softmax(dim=-1)
        weights_TGK = weigh(outer_TG1, inner_TGK, full_TG, full_TGK, best_TG.unsqueeze(-1) + chosen_TGK)
        ids_TGK = groups_TG.unsqueeze(-1) * experts_TAB.shape[2] + places_TGK
        return _gate(ids_TGK.flatten(1), weights_TGK.expand_as(ids_TGK).flatten(1), experts_TAB)

    return wrong


def but(change: Callable[[Gate, Tensor, Tensor], Any]) -> Callable[..., Any]:
    """The right gate, changed afterwards."""
    return lambda groups_TA, experts_TAB, k1, k2: change(
        reference(groups_TA, experts_TAB, k1, k2), groups_TA, experts_TAB
    )


def renumbered(gate: Gate, renumber: Callable[[Tensor, int, int], Tensor]) -> Gate:
    """Number the chosen experts in another way."""
    n_groups, group_size = gate[2].shape
    return renumber(gate[0], n_groups, group_size), gate[1], gate[2]


def counted(gate: Gate) -> Gate:
    """Count tokens where weights should be added up."""
    return gate[0], gate[1], _gate(gate[0], torch.ones_like(gate[1]), gate[2].unsqueeze(0))[2]


def ranked(groups_TA: Tensor, experts_TAB: Tensor, top_groups: int, top_experts: int) -> Gate:
    """Take a group's rank among the chosen ones for its number."""
    right = reference(groups_TA, experts_TAB, top_groups, top_experts)
    size = experts_TAB.shape[2]
    rank_K = torch.arange(top_groups).repeat_interleave(top_experts)
    return _gate(rank_K * size + right[0] % size, right[1], experts_TAB)
