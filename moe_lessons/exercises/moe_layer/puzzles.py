"""Puzzles of lesson 02: the way back from an order, sums by owner, and rows that find their place."""

import torch
from torch import Tensor

from moe_lessons.exercises.puzzle import Puzzle, Slip


def _last_stays(rows_ND: Tensor, owner_N: Tensor, n_owners: int) -> Tensor:
    sums = torch.zeros(n_owners, rows_ND.shape[1])
    sums[owner_N] += rows_ND
    return sums


def _every_row(values_NK: Tensor, ids_NK: Tensor, n_columns: int) -> Tensor:
    table = torch.zeros(len(ids_NK), n_columns)
    table[:, ids_NK] = values_NK
    return table


PUZZLES = (
    Puzzle(
        id="02.p_inverse",
        question="A queue: at place p stands person `order_N[p]`. Return the place of each person, [N].",
        entry="place_of_each",
        inputs=({"order_N": [2, 0, 4, 1, 3]}, {"order_N": [3, 0, 2, 1]}),
        solution=lambda order_N: order_N.argsort(),
        slips=(
            Slip(
                "not inverted",
                "this says who stands at each place. Asked is the other way round: at which place each "
                "one stands",
                lambda order: order,
            ),
            Slip(
                "read backwards",
                "reading the queue from its end gives another queue. Person `order_N[p]` should find the "
                "number p",
                lambda order: order.flip(0),
            ),
        ),
        before="02.moe_sorted",
    ),
    Puzzle(
        id="02.p_totals",
        question="Row n of `rows_ND` belongs to owner `owner_N[n]`. Add up the rows of each owner, "
        "[n_owners, D]; an owner without rows gets zeros.",
        entry="totals_of_owners",
        inputs=(
            {
                "rows_ND": [[1.0, 0.0], [2.0, 1.0], [4.0, 0.0], [8.0, 1.0]],
                "owner_N": [2, 0, 2, 0],
                "n_owners": 4,
            },
            {
                "rows_ND": [[1.0, 2.0, 3.0], [3.0, 1.0, 0.0], [5.0, 0.0, 1.0]],
                "owner_N": [1, 1, 1],
                "n_owners": 3,
            },
        ),
        solution=lambda rows_ND, owner_N, n_owners: torch.zeros(n_owners, rows_ND.shape[1]).index_add(
            0, owner_N, rows_ND
        ),
        slips=(
            Slip(
                "the last one stays",
                "of several rows with one owner only one is left: writing to an index, with `+=` too, "
                "writes each place once. It takes an operation that adds",
                _last_stays,
            ),
            Slip(
                "owners missing",
                "the last owners have no rows and are missing. How many there are is said by `n_owners`, "
                "not by what occurs",
                lambda rows, owner, n: torch.zeros(int(owner.max()) + 1, rows.shape[1]).index_add(
                    0, owner, rows
                ),
            ),
        ),
        before="02.moe_sorted",
    ),
    Puzzle(
        id="02.p_repeated",
        question="`counts_E[e]` says how often the number e is wanted. Return the numbers in order, each "
        "as often as it is wanted; for counts 2, 0, 1 that is 0, 0, 2.",
        entry="numbers_repeated",
        inputs=({"counts_E": [2, 0, 3, 1]}, {"counts_E": [1, 2, 0, 0, 2]}),
        solution=lambda counts_E: torch.arange(len(counts_E)).repeat_interleave(counts_E),
        slips=(
            Slip(
                "closed up",
                "a number with count 0 does not occur, but the ones after it keep their own value",
                lambda counts: torch.arange(int((counts > 0).sum())).repeat_interleave(counts[counts > 0]),
            ),
            Slip(
                "the counts",
                "you repeated the counts themselves. Wanted are the numbers 0 to E - 1 that they belong to",
                lambda counts: counts.repeat_interleave(counts),
            ),
        ),
        before="02.moe_sorted",
    ),
    Puzzle(
        id="02.p_products",
        question="Return the inner product of each row of `a_ND` with the same row of `b_ND`, [N].",
        entry="row_products",
        inputs=(
            {
                "a_ND": [[1.0, 2.0, 0.0], [0.0, 1.0, 1.0], [3.0, 0.0, 1.0]],
                "b_ND": [[2.0, 1.0, 5.0], [4.0, 0.0, 3.0], [1.0, 7.0, 2.0]],
            },
            {
                "a_ND": [[1.0, 0.0, 2.0, 1.0], [2.0, 2.0, 0.0, 0.0]],
                "b_ND": [[3.0, 1.0, 1.0, 0.0], [1.0, 0.0, 4.0, 9.0]],
            },
        ),
        solution=lambda a_ND, b_ND: (a_ND * b_ND).sum(dim=-1),
        slips=(
            Slip(
                "all pairs",
                "a matrix product takes every row with every row. Wanted is each with its own: the "
                "diagonal only",
                lambda a, b: a @ b.T,
            ),
            Slip(
                "down the columns",
                "the products are there, but added down the columns. An inner product adds along a row",
                lambda a, b: (a * b).sum(dim=0),
            ),
        ),
        before="02.router_gradient",
    ),
    Puzzle(
        id="02.p_placed",
        question="Begin with zeros, [N, n_columns]. In row n, put `values_NK[n, k]` into column "
        "`ids_NK[n, k]`.",
        entry="placed",
        inputs=(
            {
                "values_NK": [[0.5, 0.25], [1.0, 0.75], [2.0, 3.0]],
                "ids_NK": [[2, 0], [1, 2], [0, 1]],
                "n_columns": 3,
            },
            {"values_NK": [[4.0], [5.0]], "ids_NK": [[3], [0]], "n_columns": 4},
        ),
        solution=lambda values_NK, ids_NK, n_columns: torch.zeros(len(ids_NK), n_columns).scatter(
            1, ids_NK, values_NK
        ),
        slips=(
            Slip(
                "down the columns",
                "along axis 0 the ids are taken for rows. They name columns: the axis to walk along is "
                "the last",
                lambda values, ids, n: torch.zeros(len(ids), n).scatter(0, ids, values),
            ),
            Slip(
                "every row",
                "the columns of all rows were written in every row. Row n should use `ids_NK[n]` alone",
                _every_row,
            ),
        ),
        before="02.router_gradient",
    ),
)
