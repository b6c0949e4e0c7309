"""Puzzles of lesson 04: what padding does to a mean, and sums by group when some groups are empty."""

import torch

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="04.p_present",
        question="`present_N` is False where a row of `x_ND` is padding. Return the mean of the other "
        "rows, [D].",
        entry="mean_of_present",
        inputs=(
            {
                "x_ND": [[2.0, 4.0], [6.0, 0.0], [9.0, 9.0], [4.0, 2.0]],
                "present_N": [True, True, False, True],
            },
            {"x_ND": [[8.0, 8.0, 8.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], "present_N": [False, True, True]},
        ),
        solution=lambda x_ND, present_N: x_ND[present_N].mean(dim=0),
        slips=(
            Slip(
                "zeros that count",
                "the padding became zeros, and the zeros count: you divided by N. Divide by the rows "
                "that are there",
                lambda x, present: (x * present[:, None]).mean(dim=0),
            ),
            Slip(
                "padding takes part",
                "the padding takes part in this mean. Leave its rows out first",
                lambda x, present: x.mean(dim=0),
            ),
        ),
        before="04.load_shares",
    ),
    Puzzle(
        id="04.p_takings",
        question="Customer n spent `spent_N[n]` in shop `shop_N[n]`. Return what each shop took, "
        "[n_shops]; some shops may have had no customer.",
        entry="takings",
        inputs=(
            {"spent_N": [5.0, 1.0, 2.0, 4.0], "shop_N": [1, 3, 1, 0], "n_shops": 5},
            {"spent_N": [1.0, 1.0, 6.0], "shop_N": [2, 0, 2], "n_shops": 4},
        ),
        solution=lambda spent_N, shop_N, n_shops: torch.bincount(shop_N, weights=spent_N, minlength=n_shops),
        slips=(
            Slip(
                "last shops missing",
                "the last shops are missing: what occurs does not say how many shops there are. "
                "`bincount` stops at the largest number in its input, unless it is told how many are "
                "wanted",
                lambda spent, shop, n: torch.bincount(shop, weights=spent),
            ),
            Slip(
                "customers",
                "this is how many customers each shop had. Wanted is what they spent there",
                lambda spent, shop, n: torch.bincount(shop, minlength=n),
            ),
        ),
        before="04.load_shares",
    ),
)
