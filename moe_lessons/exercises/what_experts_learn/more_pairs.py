"""Further mistakes in 12.coactivation: pairs counted otherwise, and what then comes of the lift."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from moe_lessons.exercises.spec import Misconception

Tensor = torch.Tensor
Answer = Callable[..., Any]


def _chosen(topk_ids_TK: Tensor, n_experts: int) -> Tensor:
    return F.one_hot(topk_ids_TK, n_experts).sum(dim=1).double()


def coactivation_mistakes(reference: Answer) -> tuple[Misconception, ...]:
    """Of 12.coactivation: pairs counted otherwise, and what then comes of the lift."""

    def counts(ids: Tensor, e: int) -> tuple[Tensor, Tensor, Tensor]:
        chosen_TE = _chosen(ids, e)
        n_E = chosen_TE.sum(dim=0)
        expected = (ids.shape[1] - 1) * n_E[None, :] / (n_E.sum() - n_E)[:, None]
        return chosen_TE.T @ chosen_TE, n_E, expected

    def given(of: Callable[[Tensor, Tensor, Tensor], Tensor], carried: bool = True) -> Answer:
        """Another `given_EE`, of the ids, pairs and loads; with the lift made of it, or right."""

        def wrong(ids: Tensor, e: int) -> tuple[Tensor, Tensor]:
            both, n_E, expected = counts(ids, e)
            table = of(ids, both, n_E).clone().fill_diagonal_(0)
            return table.float(), (table / expected).float() if carried else reference(ids, e)[1]

        return wrong

    def both_ways(of: Callable[[Tensor, Tensor, Tensor], Tensor]) -> tuple[Answer, Answer]:
        return given(of), given(of, carried=False)

    def lift(of: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Answer:
        """Another lift, of the counts of pairs, the right lift, the expectation and the loads."""

        def wrong(ids: Tensor, e: int) -> tuple[Tensor, Tensor]:
            both, n_E, expected = counts(ids, e)
            table, right = reference(ids, e)
            return table, of(both, right, expected, n_E).clone().fill_diagonal_(0).float()

        return wrong

    def once(ids: Tensor, both: Tensor, n_E: Tensor) -> Tensor:
        return (both > 0).double()

    def once_for_each_slots(ids: Tensor, both: Tensor, n_E: Tensor) -> Tensor:
        table = torch.zeros_like(both)
        for first in ids.T:
            for second in ids.T:
                table[first, second] += 1
        return table

    def once_forward(ids: Tensor, both: Tensor, n_E: Tensor) -> Tensor:
        table = torch.zeros_like(both)
        for p in range(ids.shape[1]):
            for q in range(p + 1, ids.shape[1]):
                table[ids[:, p], ids[:, q]] += 1
                table[ids[:, q], ids[:, p]] += 1
        return table

    def cleared_too_early(ids: Tensor, e: int) -> tuple[Tensor, Tensor]:
        both = counts(ids, e)[0]
        both.fill_diagonal_(0)
        none_E = both.diagonal().clone()
        table = both / none_E[:, None]
        expected = (ids.shape[1] - 1) * none_E[None, :] / (none_E.sum() - none_E)[:, None]
        return table.float(), (table / expected).float()

    def rows_of_pairs(ids: Tensor, both: Tensor, n_E: Tensor) -> Tensor:
        return both / ((ids.shape[1] - 1) * n_E)[:, None]

    def cleared_rows(ids: Tensor, both: Tensor, n_E: Tensor) -> Tensor:
        return both / both.sum(dim=1, keepdim=True)

    early, early_right = both_ways(lambda ids, both, n: both / 0.0)
    return (
        Misconception(
            "pairs_twice",
            "Every pair was counted twice, or only half of it. Both experts of a pair see it once: count it "
            "once for (i, j) and once for (j, i).",
            wrong=given(lambda ids, both, n: 2 * both / n[:, None]),
            also=(
                given(lambda ids, both, n: 2 * both / n[:, None], carried=False),
                *both_ways(lambda ids, both, n: both / n[:, None] / 2),
            ),
            hint=2,
        ),
        Misconception(
            "made_symmetric",
            "`given_EE` is symmetric here, as a cosine or a mean is. A rare expert may be always with a "
            "popular one, and not the other way round: row i is divided by $n_i$ alone.",
            wrong=given(lambda ids, both, n: both / (n[:, None] * n[None, :]).sqrt()),
            also=(
                given(lambda ids, both, n: both / torch.minimum(n[:, None], n[None, :])),
                *both_ways(lambda ids, both, n: both / torch.maximum(n[:, None], n[None, :])),
                *both_ways(lambda ids, both, n: 2 * both / (n[:, None] + n[None, :])),
                *both_ways(lambda ids, both, n: both / (n[:, None] * n[None, :])),
                given(lambda ids, both, n: both / (n[:, None] + n[None, :] - both)),
            ),
            hint=2,
        ),
        Misconception(
            "rows_sum_to_one",
            "Row i was divided by the *pairs* of expert i, so that it sums to 1. Asked is a share of its "
            "tokens, and each of those has K - 1 others.",
            wrong=given(rows_of_pairs),
            also=(
                given(rows_of_pairs, carried=False),
                *both_ways(cleared_rows),
                *both_ways(lambda ids, both, n: both / (both.sum() - both.trace())),
                *both_ways(lambda ids, both, n: both / both.sum()),
            ),
            hint=2,
        ),
        Misconception(
            "diagonal_cleared_too_early",
            "The diagonal was set to 0 before the loads were read from it, so everything is divided by 0. "
            "Read $n_i$ first (and copy it: a view changes along), clear the diagonal at the end.",
            wrong=cleared_too_early,
            also=(early, early_right),
            hint=2,
        ),
        Misconception(
            "not_added_up",
            "Pairs that occur more than once were counted once: `table[i, j] += 1` with whole columns for i "
            "and j writes each place one time. `index_put_` with `accumulate=True` adds up; so does H.T @ H.",
            wrong=given(lambda ids, both, n: once_for_each_slots(ids, both, n) / n[:, None]),
            also=(
                given(lambda ids, both, n: once_for_each_slots(ids, both, n) / n[:, None], carried=False),
                *both_ways(lambda ids, both, n: once_forward(ids, both, n) / n[:, None]),
                *both_ways(lambda ids, both, n: once(ids, both, n) / n[:, None]),
                *both_ways(once),
            ),
            hint=2,
        ),
        Misconception(
            "lift_of_counts",
            "The lift was made of the *counts* of pairs. It is a ratio of two shares: `given_EE` over what "
            "the loads alone would give.",
            wrong=lift(lambda both, right, expected, n: both / expected),
            also=(
                lift(lambda both, right, expected, n: both / (expected * n[None, :])),
                lift(lambda both, right, expected, n: both / n.sum() / expected),
            ),
            hint=3,
        ),
        Misconception(
            "not_a_ratio",
            "The lift is a logarithm here, upside down, or the expectation itself. Asked is the share over "
            "the expectation: 1 means as often as the loads explain, and 0 never.",
            wrong=lift(lambda both, right, expected, n: torch.where(right > 0, right.log2(), 0.0)),
            also=(
                lift(lambda both, right, expected, n: torch.where(right > 0, right.log(), 0.0)),
                lift(lambda both, right, expected, n: right.log2()),
                lift(lambda both, right, expected, n: right.log()),
                lift(lambda both, right, expected, n: right.log1p()),
                lift(lambda both, right, expected, n: right.log2().clamp(min=0)),
                lift(lambda both, right, expected, n: 1 / right),
                lift(lambda both, right, expected, n: expected),
                lift(lambda both, right, expected, n: right - 1),
                lift(lambda both, right, expected, n: right * expected * expected),
            ),
        ),
    )
