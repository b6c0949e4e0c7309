"""Exercise 11.hierarchical: a gate in two levels, and how much each expert is used by it."""

from typing import Any

import numpy as np
import torch

from moe_lessons.exercises.fine_grained.more_levels import LEVEL_MISTAKES, best_of_all, numbered
from moe_lessons.exercises.fine_grained.two_levels import (
    but,
    counted,
    draw,
    joint,
    pooled,
    ranked,
    reference,
    renumbered,
    weighed,
)
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property


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
            wrong=joint,
            also=(best_of_all,),
            hint=1,
        ),
        Misconception(
            "mean_of_weights",
            "The two weights were averaged. An expert in a group that the token hardly wants would keep half "
            "of its weight: multiply them.",
            wrong=weighed(lambda g, e, fg, fe, z: (g + e) / 2),
            also=(weighed(lambda g, e, fg, fe, z: g + e),),
            hint=2,
        ),
        Misconception(
            "first_over_all",
            "The groups' softmax runs over all A groups. What the groups left out would have had is then "
            "missing from the sum. Choose first, then take the softmax.",
            wrong=weighed(lambda g, e, fg, fe, z: fg * e),
            hint=2,
        ),
        Misconception(
            "second_over_all",
            "The experts' softmax runs over all B of a group. What the experts left out would have had is "
            "then missing from the sum. Choose first, then take the softmax.",
            wrong=weighed(lambda g, e, fg, fe, z: g * fe),
            hint=2,
        ),
        Misconception(
            "both_over_all",
            "Both softmaxes run over everything, chosen or not, so that a token's weights do not sum to 1. "
            "Choose first, then take the softmax.",
            wrong=weighed(lambda g, e, fg, fe, z: fg * fe),
            hint=2,
        ),
        Misconception(
            "logits_added",
            "One softmax over the sums of both logits. It looks alike, and is not: a group with one very "
            "good expert takes weight from other groups. Here each group's weight is fixed before its "
            "experts share it.",
            wrong=weighed(lambda g, e, fg, fe, z: z.flatten(1).softmax(dim=-1).view(z.shape)),
            hint=2,
        ),
        Misconception(
            "pooled",
            "The experts of all chosen groups compete with each other, so that one group may give more of "
            "them than another. Each chosen group gives its `top_experts` best.",
            wrong=pooled,
            hint=2,
        ),
        Misconception(
            "groups_unweighted",
            "The groups' weights are missing: the experts of each group share 1, whichever group it is.",
            wrong=weighed(lambda g, e, fg, fe, z: e),
            also=(weighed(lambda g, e, fg, fe, z: e / e.shape[1]),),
            hint=2,
        ),
        Misconception(
            "experts_unweighted",
            "The experts' weights are missing: every expert of a group has the group's whole weight, or an "
            "even part of it.",
            wrong=weighed(lambda g, e, fg, fe, z: g * torch.ones_like(e)),
            also=(weighed(lambda g, e, fg, fe, z: g * torch.ones_like(e) / e.shape[2]),),
            hint=2,
        ),
        Misconception(
            "ids_transposed",
            "The numbers are `b·A + a`. With `a·B + b` the experts of a group are neighbours.",
            wrong=but(lambda r, g, e: renumbered(r, lambda i, a, b: i % b * a + i // b)),
            also=(numbered(lambda a, b, n, size: b * n + a),),
            hint=3,
        ),
        Misconception(
            "times_groups",
            "The numbers are `a·A + b`. A group has B experts, so that is the step from one group to the "
            "next.",
            wrong=but(lambda r, g, e: renumbered(r, lambda i, a, b: i // b * a + i % b)),
            also=(numbered(lambda a, b, n, size: a * n + b),),
            hint=3,
        ),
        Misconception(
            "id_within_group",
            "The numbers count within a group, from 0 to B - 1. Two experts of different groups then have "
            "the same one.",
            wrong=but(lambda r, g, e: renumbered(r, lambda i, a, b: i % b)),
            also=(numbered(lambda a, b, n, size: b),),
            hint=3,
        ),
        Misconception(
            "rank_for_group",
            "The numbers are made of a group's *rank* among the chosen ones, not of the group. `topk` "
            "returns which groups they are: its second result.",
            wrong=ranked,
            hint=3,
        ),
        Misconception(
            "importance_counts",
            "`importance_AB` counts tokens. That is the load. Importance adds up weights, so that a gradient "
            "can reach them.",
            wrong=but(lambda r, g, e: counted(r)),
            hint=3,
        ),
        Misconception(
            "importance_second_only",
            "`importance_AB` adds up the second softmax over all tokens, also those that never come to the "
            "group. It can be even while half of the experts see nothing.",
            wrong=but(lambda r, g, e: (*r[:2], e.softmax(dim=-1).sum(dim=0))),
            hint=3,
        ),
        Misconception(
            "importance_soft",
            "`importance_AB` adds up the product of both full softmaxes, chosen or not. It is the sum of the "
            "*gate*: 0 for who was not chosen.",
            wrong=but(lambda r, g, e: (*r[:2], (g.softmax(-1).unsqueeze(-1) * e.softmax(-1)).sum(dim=0))),
            hint=3,
        ),
        Misconception(
            "importance_mean",
            "`importance_AB` is a mean over the tokens. Asked is the sum.",
            wrong=but(lambda r, g, e: (*r[:2], r[2] / len(g))),
            hint=3,
        ),
        Misconception(
            "importance_turned_over",
            "The sums of `importance_AB` are right, and they lie in the wrong places: filled in column by "
            "column, where expert `a·B + b` belongs in row a and column b.",
            wrong=but(lambda r, g, e: (*r[:2], r[2].T.reshape(r[2].shape))),
            also=(but(lambda r, g, e: (*r[:2], r[2].reshape(r[2].T.shape).T)),),
            hint=3,
        ),
        *LEVEL_MISTAKES,
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
