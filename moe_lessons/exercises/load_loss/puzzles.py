"""Puzzles of lesson 05: tables that come of two vectors, by giving each an axis of its own."""

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="05.p_left",
        question="Customer n has `money_N[n]`, article m costs `price_M[m]`. Return the table [N, M] of "
        "what each customer would have left after buying each article.",
        entry="left_over",
        inputs=(
            {"money_N": [10.0, 7.0, 5.0], "price_M": [1.0, 4.0, 5.0]},
            {"money_N": [3.0, 8.0], "price_M": [2.0, 0.0, 1.0, 3.0]},
        ),
        solution=lambda money_N, price_M: money_N[:, None] - price_M,
        slips=(
            Slip(
                "one to one",
                "this takes the first price from the first customer, the second from the second, and so "
                "on. For a table, customers need an axis of their own",
                lambda money, price: money - price,
            ),
            Slip(
                "rows and columns",
                "here the articles are the rows. Asked is a row for each customer",
                lambda money, price: money - price[:, None],
            ),
        ),
        before="05.loss_gradient",
    ),
    Puzzle(
        id="05.p_larger",
        question="Return the table [N, N] that is True in row i, column j where `x_N[i]` is larger than "
        "`x_N[j]`.",
        entry="is_larger",
        inputs=({"x_N": [3.0, 1.0, 3.0]}, {"x_N": [2.0, 5.0, 0.0, 4.0]}),
        solution=lambda x_N: x_N[:, None] > x_N[None, :],
        slips=(
            Slip(
                "rows and columns",
                "rows and columns are swapped: this is True where the column's number is the larger one",
                lambda x: x[None, :] > x[:, None],
            ),
            Slip(
                "or equal",
                "no number is larger than itself: the diagonal must be False, and so must equal numbers",
                lambda x: x[:, None] >= x[None, :],
            ),
        ),
        before="05.chebyshev",
    ),
)
