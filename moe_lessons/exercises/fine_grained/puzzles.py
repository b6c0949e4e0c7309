"""Puzzles of lesson 11: two halves that belong together, and a shelf for each row."""

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="11.p_bill",
        question="`slip_M` holds prices in its first half and, in the same order, amounts in its second. "
        "Return what each article costs in all: a vector of M/2 numbers.",
        entry="bill_of",
        inputs=(
            {"slip_M": [2.0, 5.0, 3.0, 4.0, 1.0, 6.0]},
            {"slip_M": [7.0, 1.0, 2.0, 9.0]},
        ),
        solution=lambda slip_M: slip_M[: len(slip_M) // 2] * slip_M[len(slip_M) // 2 :],
        slips=(
            Slip(
                "neighbours",
                "this multiplies neighbours. A price and its amount are half the slip apart",
                lambda slip: slip[::2] * slip[1::2],
            ),
            Slip(
                "one sum",
                "this is the sum of the whole bill. Asked is a number for each article",
                lambda slip: (slip[: len(slip) // 2] * slip[len(slip) // 2 :]).sum(),
            ),
        ),
        before="11.split_expert",
    ),
    Puzzle(
        id="11.p_shelf",
        question="Row n of `price_NM` holds the prices of shop n, shelf after shelf, `size` articles on "
        "each. Its customer goes to shelf `shelf_N[n]` only. Return the table [N, size] of the prices that "
        "each customer sees.",
        entry="seen_prices",
        inputs=(
            {"price_NM": [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], "shelf_N": [1, 0], "size": 2},
            {
                "price_NM": [[1.0, 2.0, 3.0, 4.0, 9.0, 0.0], [5.0, 6.0, 7.0, 8.0, 4.0, 3.0]],
                "shelf_N": [2, 1],
                "size": 2,
            },
        ),
        solution=lambda price_NM, shelf_N, size: price_NM.unflatten(1, (-1, size))[
            range(len(shelf_N)), shelf_N
        ],
        slips=(
            Slip(
                "dealt in turn",
                "this takes articles that lie a shelf apart. The articles of a shelf are neighbours",
                lambda price, shelf, size: price.unflatten(1, (size, -1))[range(len(shelf)), :, shelf],
            ),
            Slip(
                "the first shelf",
                "this is the first shelf of every shop. Each customer has a shelf of their own",
                lambda price, shelf, size: price[:, :size],
            ),
        ),
        before="11.hierarchical",
    ),
)
