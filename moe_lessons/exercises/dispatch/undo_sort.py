"""Exercise 08.undo_sort: where each slot went, and the results back in slot order."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.dispatch.draws import choices, floats, inverse_of, order_of
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property

Undone = tuple[Tensor, Tensor]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """K of 2, 3 and 1, all sizes different, and no token at all."""

    def case(T: int, E: int, K: int, D: int, note: str = "") -> Case:
        args: dict[str, Plain] = {
            "results_SD": floats(rng, T * K, D),
            "row_ids_S": order_of(choices(rng, T, E, K)),
            "top_k": K,
        }
        return Case(f"T={T}, E={E}, K={K}, D={D}{note}", args)

    return [case(9, 4, 2, 5), case(7, 6, 3, 4), case(10, 3, 1, 2), case(0, 3, 2, 4, ", no token")]


def reference(results_SD: Tensor, row_ids_S: Tensor, top_k: int) -> Undone:
    """Invert by writing, then gather."""
    return _folded(results_SD, inverse_of(row_ids_S), inverse_of(row_ids_S), top_k)


def _folded(results_SD: Tensor, told_S: Tensor, used_S: Tensor, top_k: int) -> Undone:
    """Positions as told and results as gathered, both with axes [T, K]."""
    return told_S.view(-1, top_k), results_SD[used_S].view(-1, top_k, results_SD.shape[1])


def _order_twice(results_SD: Tensor, row_ids_S: Tensor, top_k: int) -> Undone:
    return _folded(results_SD, row_ids_S, row_ids_S, top_k)


def _rows_by_order(results_SD: Tensor, row_ids_S: Tensor, top_k: int) -> Undone:
    return _folded(results_SD, inverse_of(row_ids_S), row_ids_S, top_k)


def _told_order(results_SD: Tensor, row_ids_S: Tensor, top_k: int) -> Undone:
    return _folded(results_SD, row_ids_S, inverse_of(row_ids_S), top_k)


def _not_moved(results_SD: Tensor, row_ids_S: Tensor, top_k: int) -> Undone:
    stays_S = torch.arange(len(row_ids_S))
    return _folded(results_SD, inverse_of(row_ids_S), stays_S, top_k)


def _reversed(results_SD: Tensor, row_ids_S: Tensor, top_k: int) -> Undone:
    back_S = row_ids_S.flip(0)
    return _folded(results_SD, back_S, back_S, top_k)


def _choice_major(results_SD: Tensor, row_ids_S: Tensor, top_k: int) -> Undone:
    inverse_S = inverse_of(row_ids_S)
    n_tokens = len(row_ids_S) // top_k
    results_KTD = results_SD[inverse_S].view(top_k, n_tokens, results_SD.shape[1])
    return inverse_S.view(top_k, n_tokens).T, results_KTD.transpose(0, 1)


def _descending(results_SD: Tensor, row_ids_S: Tensor, top_k: int) -> Undone:
    back_S = row_ids_S.argsort(descending=True)
    return _folded(results_SD, back_S, back_S, top_k)


def _sorted_values(results_SD: Tensor, row_ids_S: Tensor, top_k: int) -> Undone:
    positions_TK, results_TKD = reference(results_SD, row_ids_S, top_k)
    return torch.arange(len(row_ids_S)).view(positions_TK.shape), results_TKD


def _flat(results_SD: Tensor, row_ids_S: Tensor, top_k: int) -> Undone:
    inverse_S = inverse_of(row_ids_S)
    return inverse_S, results_SD[inverse_S]


def _summed(results_SD: Tensor, row_ids_S: Tensor, top_k: int) -> Undone:
    positions_TK, results_TKD = reference(results_SD, row_ids_S, top_k)
    return positions_TK, results_TKD.sum(dim=1)


def _tokens_for_positions(results_SD: Tensor, row_ids_S: Tensor, top_k: int) -> Undone:
    return _folded(results_SD, row_ids_S // top_k, inverse_of(row_ids_S), top_k)


def _permutation(case: Case, got: Outputs, want: Outputs) -> str | None:
    found = np.sort(got["positions_TK"], axis=None)
    if not np.array_equal(found, np.arange(found.size)):
        return "positions_TK must name every position 0..S-1 exactly once: no two slots stand on one place"
    return None


UNDO_SORT = Exercise(
    id="08.undo_sort",
    title="Undo the sort",
    task=(
        "The experts are done; their results lie sorted by expert. `row_ids_S[p]` is the slot that stands "
        "at position p. Return two things: the position of each slot, with axes `[T, K]`, and the results "
        "in slot order, with axes `[T, K, D]`. T may be 0: say "
        "`[T, K, D]` in numbers there, since PyTorch cannot guess a -1 where there is nothing."
    ),
    entry="undo_sort",
    points=2,
    minutes=10,
    difficulty=2,
    outputs=(Output("positions_TK", "TK", kind="int"), Output("results_TKD", "TKD")),
    draw=draw,
    reference=reference,
    properties=(Property("every position is taken once", _permutation),),
    misconceptions=(
        Misconception(
            "order_twice",
            "This is the sorting order once more, not its inverse. `row_ids_S` says which slot stands at a "
            "position; you are asked at which position a slot stands. (Argsort of argsort of a permutation "
            "is the permutation itself.)",
            wrong=_order_twice,
            hint=1,
        ),
        Misconception(
            "rows_by_order",
            "The positions are right, but the results moved the other way. Writing row p to slot "
            "`row_ids_S[p]` and reading slot s from its position are the same move; writing by positions, or "
            "reading by `row_ids_S`, sorts a second time.",
            wrong=_rows_by_order,
            hint=2,
        ),
        Misconception(
            "told_order",
            "The results are in place, but what you return as positions is the list of slots. It worked "
            "for writing; now say where each slot stood.",
            wrong=_told_order,
            hint=2,
        ),
        Misconception(
            "not_moved",
            "The positions are right, but the results were only reshaped. They still lie sorted by expert: "
            "use the positions to fetch them.",
            wrong=_not_moved,
            hint=2,
        ),
        Misconception(
            "reversed",
            "A sort is not undone by reading its order backwards; only a complete reversal would be. Ask "
            "for each slot where it went.",
            wrong=_reversed,
            hint=1,
        ),
        Misconception(
            "choice_major",
            "In slot order a token's K choices stand side by side, so the rows fold into [T, K], not into "
            "[K, T] and then transposed.",
            wrong=_choice_major,
            hint=3,
        ),
        Misconception(
            "flat",
            "Both are in slot order and still flat. A token's K slots stand side by side: give the "
            "positions the axes [T, K] and the results [T, K, D].",
            wrong=_flat,
            hint=3,
        ),
        Misconception(
            "summed",
            "The K results of each token were added up already. That is the combine, and it needs the "
            "weights first. Here they only come back into their places, [T, K, D].",
            wrong=_summed,
            hint=3,
        ),
        Misconception(
            "tokens_for_positions",
            "What you return as positions are tokens: the order divided by K. Asked is at which position "
            "of the sorted list each slot stands.",
            wrong=_tokens_for_positions,
            hint=1,
        ),
        Misconception(
            "sorted_values",
            "The results are in place, but the positions are just 0, 1, 2, ...: the sorted *values* of a "
            "permutation are always that. Where each slot stood is in the indices of the sort.",
            wrong=_sorted_values,
            hint=2,
        ),
        Misconception(
            "descending",
            "The inverse is sorted from the back, so slot 0 gets the place of slot S - 1. Sort `row_ids_S` "
            "upwards.",
            wrong=_descending,
            hint=2,
        ),
    ),
    hints=(
        "If slot 7 stands at position 2, then `row_ids_S[2]` is 7. What should your answer hold at index 7?",
        "Two ways: write `arange(S)` to the places that `row_ids_S` names, or sort `row_ids_S` itself, whose "
        "order is the inverse. Then `results_SD[inverse]`.",
        "`inverse = torch.empty_like(row_ids_S); inverse[row_ids_S] = torch.arange(S)`, then "
        "`.view(-1, top_k)`, and for the results `.view(-1, top_k, D)`.",
    ),
    notice=(
        "Writing `arange` through the order inverts it in one pass; `argsort` of the order gives the same "
        "and sorts a second time."
    ),
)
