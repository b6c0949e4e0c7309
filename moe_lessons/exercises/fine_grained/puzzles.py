"""Puzzles of lesson 11: two halves that belong together, and a slice for each row."""

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
        question="Shop n has shelves of M articles: `price_NSM[n, s, m]`. Its customer goes to shelf "
        "`shelf_N[n]` only. Return the table [N, M] of the prices that each shop's customer sees.",
        entry="seen_prices",
        inputs=(
            {
                "price_NSM": [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]],
                "shelf_N": [1, 0],
            },
            {
                "price_NSM": [[[1.0, 2.0], [3.0, 4.0], [9.0, 0.0]], [[5.0, 6.0], [7.0, 8.0], [4.0, 3.0]]],
                "shelf_N": [2, 1],
            },
        ),
        solution=lambda price_NSM, shelf_N: price_NSM[range(len(shelf_N)), shelf_N],
        slips=(
            Slip(
                "every pair",
                "this holds all shelves of the list for every shop. Each shop has a shelf of its own",
                lambda price, shelf: price[:, shelf],
            ),
            Slip(
                "columns",
                "this picks an article on every shelf. Asked is a shelf, with all of its articles",
                lambda price, shelf: price[range(len(shelf)), :, shelf],
            ),
        ),
        before="11.hierarchical",
    ),
)
