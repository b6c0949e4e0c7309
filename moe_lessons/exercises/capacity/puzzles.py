"""Puzzles of lesson 07: who came before, one number of each row, and writing to given places."""

import torch
from torch import Tensor

from moe_lessons.exercises.puzzle import Puzzle, Slip


def _every_pair(ticket_N: Tensor, row_N: Tensor, seat_N: Tensor, n_rows: int, n_seats: int) -> Tensor:
    hall = torch.zeros(n_rows, n_seats)
    hall[row_N[:, None], seat_N] = ticket_N
    return hall


PUZZLES = (
    Puzzle(
        id="07.p_before",
        question="In minute t, `arrivals_N[t]` people arrive. Return how many had arrived in the minutes "
        "before, [N]; before minute 0 that is nobody.",
        entry="came_before",
        inputs=({"arrivals_N": [2, 0, 1, 4, 3]}, {"arrivals_N": [1, 1, 5]}),
        solution=lambda arrivals_N: arrivals_N.cumsum(dim=0) - arrivals_N,
        plain=True,
        slips=(
            Slip(
                "with their own minute",
                "a running sum includes the minute itself. Those who arrive now have not arrived before",
                lambda arrivals: arrivals.cumsum(dim=0),
            ),
            Slip(
                "round the end",
                "shifted, but what fell out at the end came in again at the front: before minute 0 "
                "nobody arrived",
                lambda arrivals: arrivals.cumsum(dim=0).roll(1),
            ),
        ),
        before="07.positions",
    ),
    Puzzle(
        id="07.p_one",
        question="Return one number of each row of `table_NM`, [N]: in row n the one in column "
        "`column_N[n]`.",
        entry="one_of_each",
        inputs=(
            {"table_NM": [[1, 2, 3], [4, 5, 6], [7, 8, 9]], "column_N": [2, 0, 1]},
            {"table_NM": [[1, 3, 5, 7], [0, 2, 4, 6]], "column_N": [1, 3]},
        ),
        solution=lambda table_NM, column_N: table_NM[torch.arange(len(column_N)), column_N],
        slips=(
            Slip(
                "every pair",
                "this takes all these columns from every row. Wanted is one for each row: the diagonal only",
                lambda table, column: table[:, column],
            ),
            Slip(
                "an axis too many",
                "the right numbers, each in a row of its own: [N, 1]. The axis of length 1 must go",
                lambda table, column: table.gather(1, column[:, None]),
            ),
        ),
        before="07.positions",
    ),
    Puzzle(
        id="07.p_seated",
        question="A hall has `n_rows` rows of `n_seats` seats, and guest n sits in row `row_N[n]`, seat "
        "`seat_N[n]`. Return the hall, [n_rows, n_seats], with `ticket_N[n]` in each taken seat and 0 in "
        "the others.",
        entry="seated",
        inputs=(
            {"ticket_N": [7.0, 8.0, 9.0], "row_N": [0, 2, 1], "seat_N": [1, 0, 2], "n_rows": 3, "n_seats": 3},
            {"ticket_N": [5.0, 6.0], "row_N": [1, 0], "seat_N": [3, 2], "n_rows": 2, "n_seats": 4},
        ),
        solution=lambda ticket_N, row_N, seat_N, n_rows, n_seats: torch.zeros(n_rows, n_seats).index_put(
            (row_N, seat_N), ticket_N
        ),
        slips=(
            Slip(
                "rows and seats",
                "rows and seats are swapped. The first index counts rows",
                lambda ticket, row, seat, n_rows, n_seats: torch.zeros(n_rows, n_seats).index_put(
                    (seat, row), ticket
                ),
            ),
            Slip(
                "every pair",
                "every row was combined with every seat. Guest n has one row and one seat",
                _every_pair,
            ),
        ),
        before="07.dispatch_combine",
    ),
)
