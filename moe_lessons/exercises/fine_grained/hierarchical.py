"""Exercise 11.hierarchical: a gate in two levels, and how much each expert is used by it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

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
            if not torch.equal(_sorted(reference(*given)[0]), _sorted(_joint(*given)[0])):
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


def _joint(groups_TA: Tensor, experts_TAB: Tensor, top_groups: int, top_experts: int) -> Gate:
    product_TE = (groups_TA.softmax(dim=-1).unsqueeze(-1) * experts_TAB.softmax(dim=-1)).flatten(1)
    weights_TK, ids_TK = product_TE.topk(top_groups * top_experts, dim=-1)
    return _gate(ids_TK, weights_TK / weights_TK.sum(dim=-1, keepdim=True), experts_TAB)


def _weighed(weigh: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Gate]:
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


def _but(change: Callable[[Gate, Tensor, Tensor], Any]) -> Callable[..., Any]:
    """The right gate, changed afterwards."""
    return lambda groups_TA, experts_TAB, k1, k2: change(
        reference(groups_TA, experts_TAB, k1, k2), groups_TA, experts_TAB
    )


def _renumbered(gate: Gate, renumber: Callable[[Tensor, int, int], Tensor]) -> Gate:
    n_groups, group_size = gate[2].shape
    return renumber(gate[0], n_groups, group_size), gate[1], gate[2]


def _counted(gate: Gate) -> Gate:
    return gate[0], gate[1], _gate(gate[0], torch.ones_like(gate[1]), gate[2].unsqueeze(0))[2]


def canonical(values: dict[str, Any]) -> dict[str, Any]:
    """Sort each token's choices by expert: the order in which they are listed does not matter."""
    ids_TK, weights_TK = values["ids_TK"], values["weights_TK"]
    if ids_TK.shape != weights_TK.shape or ids_TK.ndim != 2:
        raise ValueError("ids and weights need one and the same shape [T, K]")
    order_TK = np.argsort(ids_TK, axis=-1, kind="stable")
    return {
        **values,
        "ids_TK": np.take_along_axis(ids_TK, order_TK, axis=-1),
        "weights_TK": np.take_along_axis(weights_TK, order_TK, axis=-1),
    }


def _sums(case: Case, got: Outputs, want: Outputs) -> str | None:
    sums_T = got["weights_TK"].sum(axis=-1)
    worst = int(np.abs(sums_T - 1).argmax())
    return f"token {worst}'s weights sum to {sums_T[worst]:.4g}" if abs(sums_T[worst] - 1) > 1e-3 else None


def _all_tokens(case: Case, got: Outputs, want: Outputs) -> str | None:
    total, n_tokens = float(got["importance_AB"].sum()), len(got["ids_TK"])
    if abs(total - n_tokens) > 1e-3 * n_tokens:
        return f"it sums to {total:.4g} over all experts, and there are {n_tokens} tokens"
    return None


HIERARCHICAL = Exercise(
    id="11.hierarchical",
    title="A gate in two levels",
    task=(
        "A groups of B experts. A token takes its `top_groups` best groups, weighted by a softmax over "
        "*these*, and in each of them its `top_experts` best experts, weighted by a softmax over *those*. An "
        "expert's weight is the product. Expert b of group a has the number `a·B + b`. Return the numbers "
        "and weights of each token's `top_groups · top_experts` experts, in any order, and `importance_AB`: "
        "for each expert the sum of its weights over all tokens (arXiv 1701.06538, appendix B)."
    ),
    entry="two_level_gate",
    points=4,
    minutes=15,
    difficulty=4,
    outputs=(Output("ids_TK", "TK", kind="int"), Output("weights_TK", "TK"), Output("importance_AB", "AB")),
    draw=draw,
    reference=reference,
    canonical=canonical,
    properties=(
        Property("each token's weights sum to 1", _sums),
        Property("the importance adds up to the number of tokens", _all_tokens),
    ),
    misconceptions=(
        Misconception(
            "joint_topk",
            "These are the best experts of the *product* of both softmaxes. For that all A·B of them have to "
            "be looked at, which two levels are there to avoid: groups first, then experts in the chosen "
            "groups.",
            wrong=_joint,
            hint=1,
        ),
        Misconception(
            "mean_of_weights",
            "The two weights were averaged. An expert in a group that the token hardly wants would keep half "
            "of its weight: multiply them.",
            wrong=_weighed(lambda g, e, fg, fe, z: (g + e) / 2),
            also=(_weighed(lambda g, e, fg, fe, z: g + e),),
            hint=2,
        ),
        Misconception(
            "first_over_all",
            "The groups' softmax runs over all A groups. What the groups left out would have had is then "
            "missing from the sum. Choose first, then take the softmax.",
            wrong=_weighed(lambda g, e, fg, fe, z: fg * e),
            hint=2,
        ),
        Misconception(
            "second_over_all",
            "The experts' softmax runs over all B of a group. What the experts left out would have had is "
            "then missing from the sum. Choose first, then take the softmax.",
            wrong=_weighed(lambda g, e, fg, fe, z: g * fe),
            hint=2,
        ),
        Misconception(
            "both_over_all",
            "Both softmaxes run over everything, chosen or not, so that a token's weights do not sum to 1. "
            "Choose first, then take the softmax.",
            wrong=_weighed(lambda g, e, fg, fe, z: fg * fe),
            hint=2,
        ),
        Misconception(
            "logits_added",
            "One softmax over the sums of both logits. It looks alike, and is not: a group with one very "
            "good expert takes weight from other groups. Here each group's weight is fixed before its "
            "experts share it.",
            wrong=_weighed(lambda g, e, fg, fe, z: z.flatten(1).softmax(dim=-1).view(z.shape)),
            hint=2,
        ),
        Misconception(
            "groups_unweighted",
            "The groups' weights are missing: the experts of each group share 1, whichever group it is.",
            wrong=_weighed(lambda g, e, fg, fe, z: e),
            also=(_weighed(lambda g, e, fg, fe, z: e / e.shape[1]),),
            hint=2,
        ),
        Misconception(
            "experts_unweighted",
            "The experts' weights are missing: every expert of a group has the group's whole weight, or an "
            "even part of it.",
            wrong=_weighed(lambda g, e, fg, fe, z: g * torch.ones_like(e)),
            also=(_weighed(lambda g, e, fg, fe, z: g * torch.ones_like(e) / e.shape[2]),),
            hint=2,
        ),
        Misconception(
            "ids_transposed",
            "The numbers are `b·A + a`. With `a·B + b` the experts of a group are neighbours.",
            wrong=_but(lambda r, g, e: _renumbered(r, lambda i, a, b: i % b * a + i // b)),
            hint=3,
        ),
        Misconception(
            "times_groups",
            "The numbers are `a·A + b`. A group has B experts, so that is the step from one group to the "
            "next.",
            wrong=_but(lambda r, g, e: _renumbered(r, lambda i, a, b: i // b * a + i % b)),
            hint=3,
        ),
        Misconception(
            "id_within_group",
            "The numbers count within a group, from 0 to B - 1. Two experts of different groups then have "
            "the same one.",
            wrong=_but(lambda r, g, e: _renumbered(r, lambda i, a, b: i % b)),
            hint=3,
        ),
        Misconception(
            "rank_for_group",
            "The numbers are made of a group's *rank* among the chosen ones, not of the group. `topk` "
            "returns which groups they are: its second result.",
            wrong=lambda g, e, k1, k2: _ranked(g, e, k1, k2),
            hint=3,
        ),
        Misconception(
            "importance_counts",
            "`importance_AB` counts tokens. That is the load. Importance adds up weights, so that a gradient "
            "can reach them.",
            wrong=_but(lambda r, g, e: _counted(r)),
            hint=3,
        ),
        Misconception(
            "importance_second_only",
            "`importance_AB` adds up the second softmax over all tokens, also those that never come to the "
            "group. It can be even while half of the experts see nothing.",
            wrong=_but(lambda r, g, e: (*r[:2], e.softmax(dim=-1).sum(dim=0))),
            hint=3,
        ),
        Misconception(
            "importance_soft",
            "`importance_AB` adds up the product of both full softmaxes, chosen or not. It is the sum of the "
            "*gate*: 0 for who was not chosen.",
            wrong=_but(lambda r, g, e: (*r[:2], (g.softmax(-1).unsqueeze(-1) * e.softmax(-1)).sum(dim=0))),
            hint=3,
        ),
        Misconception(
            "importance_mean",
            "`importance_AB` is a mean over the tokens. Asked is the sum.",
            wrong=_but(lambda r, g, e: (*r[:2], r[2] / len(g))),
            hint=3,
        ),
    ),
    hints=(
        "Two choices, one after the other. What does a token know about the experts of a group that it has "
        "left out?",
        "`topk` on the groups; `gather` (with `expand`) brings the chosen groups' expert logits, [T, k1, B]; "
        "`topk` on those. Each softmax takes the `values` of its own `topk`.",
        "`ids = groups[:, :, None] * B + places`, then `flatten(1)`. The importance: "
        "`torch.zeros(A * B).index_add(0, ids.flatten(), weights.flatten())`, with a view at the end.",
    ),
    notice=(
        "The first top-k is greedy, and that is its price: a token never meets the best expert of a group it "
        "has left out, and group-limited routing pays it too."
    ),
)


def _ranked(groups_TA: Tensor, experts_TAB: Tensor, top_groups: int, top_experts: int) -> Gate:
    right = reference(groups_TA, experts_TAB, top_groups, top_experts)
    size = experts_TAB.shape[2]
    rank_K = torch.arange(top_groups).repeat_interleave(top_experts)
    return _gate(rank_K * size + right[0] % size, right[1], experts_TAB)
