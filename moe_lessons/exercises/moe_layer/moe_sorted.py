"""Exercise 02.moe_sorted: the MoE layer with one call per expert: sort the rows, split, put them back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from moe_lessons.exercises.moe_layer.inputs import routed_case
from moe_lessons.exercises.moe_layer.sorted_beside import canonical
from moe_lessons.exercises.moe_layer.sorted_mistakes import CRASHES, MISTAKES, Parts, sorted_layer
from moe_lessons.exercises.spec import Case, Exercise, Output, Outputs, Property


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Experts that nobody chooses, K up to 3, all tokens on one expert, and no token at all."""
    return [
        routed_case(rng, 7, 3, 2, 5, 2),
        routed_case(rng, 24, 4, 3, 6, 2),
        routed_case(rng, 6, 4, 3, 6, 3),
        routed_case(rng, 4, 2, 3, 5, 1, only_expert=3),
        routed_case(rng, 0, 3, 2, 4, 2),
    ]


def reference(x: Tensor, ids: Tensor, w: Tensor, gate_up: Tensor, down: Tensor) -> Parts:
    """Stable sort by expert, one product per expert, scatter-add with each row's own weight."""
    return sorted_layer(x, ids, w, gate_up, down)


def _by_expert(case: Case, got: Outputs, want: Outputs) -> str | None:
    starts = np.cumsum(want["tokens_per_expert_E"]) - want["tokens_per_expert_E"]
    for e, (start, count) in enumerate(zip(starts, want["tokens_per_expert_E"], strict=True)):
        rows = slice(int(start), int(start + count))
        there, expected = sorted(got["token_ids_S"][rows]), sorted(want["token_ids_S"][rows])
        if there != expected:
            return (
                f"expert {e} owns positions {start} to {start + count - 1}; "
                f"tokens {_listed(there)} stand there, expected {_listed(expected)}"
            )
    return None


def _listed(token_ids: Any) -> str:
    return ", ".join(str(int(t)) for t in token_ids)


MOE_SORTED = Exercise(
    id="02.moe_sorted",
    title="Sort, one product per expert, scatter-add",
    task=(
        "The same layer without a loop over tokens. There are S = T * K (token, choice) slots. Sort them "
        "by expert, run each expert *once*, on its own rows and no others, and add every result, times its "
        "own weight, to its token. Return three things: the output `[T, D]`; the token of each row in "
        "sorted order `[S]` (one expert's rows in any order); how many rows each expert got `[E]`. Some "
        "experts get none, and T may be 0."
    ),
    entry="moe_sorted",
    points=4,
    minutes=20,
    difficulty=4,
    outputs=(
        Output("output_TD", "TD"),
        Output("token_ids_S", "S", kind="int"),
        Output("tokens_per_expert_E", "E", kind="int"),
    ),
    draw=draw,
    reference=reference,
    canonical=canonical,
    properties=(Property("rows of one expert stand together, experts in order", _by_expert),),
    misconceptions=MISTAKES,
    crashes=CRASHES,
    most_work=1.6,
    hints=(
        "`topk_ids_TK.flatten()` lists the slots: token 0's K choices, then token 1's. Given a slot's "
        "number, how do you find its token?",
        "`argsort(stable=True)` orders the slots, `torch.bincount(..., minlength=E)` sizes the groups "
        "(zeros included), and `rows.split(sizes)` cuts them. Index the flat weights with the same order.",
        "`out_TD.index_add(0, token_ids_S, weighted_rows_SD)` adds where tokens repeat. The inverse of a "
        "permutation is its own `argsort`.",
    ),
    notice=(
        "`zip` over the bank takes it apart once; indexing it with `[e]` inside the loop would give each "
        "expert's backward a gradient as large as the whole bank."
    ),
)
