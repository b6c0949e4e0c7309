"""Puzzles of lesson 16: places in a table that was flattened, and a sum that forgets."""

import torch

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="16.p_seat",
        question="A hall has rows of `width` seats each, numbered on from row to row. For the seat numbers "
        "`seat_N`, return the row's number plus the number of the seat within it: a vector of N numbers.",
        entry="row_plus_place",
        inputs=(
            {"seat_N": [7, 2, 11], "width": 5},
            {"seat_N": [3, 8, 9, 0], "width": 4},
        ),
        solution=lambda seat_N, width: seat_N // width + seat_N % width,
        slips=(
            Slip(
                "one number",
                "this is the seat's number in the hall. Asked are row and place, added up",
                lambda seat, width: seat,
            ),
            Slip(
                "the row alone",
                "this is the row. Its seats are told apart by what is left over",
                lambda seat, width: seat // width,
            ),
            Slip(
                "the place alone",
                "this is the place within the row. The row's number is to be added",
                lambda seat, width: seat % width,
            ),
        ),
        before="16.product_keys",
    ),
    Puzzle(
        id="16.p_interest",
        question="The interest of month t multiplies an account by `exp(rate_L[t])`. Return by what factor "
        "money has grown that was paid in *after* month `start` was over, at the end of the last month.",
        entry="growth_after",
        inputs=(
            {"rate_L": [0.1, 0.2, 0.3, 0.4], "start": 1},
            {"rate_L": [0.5, 0.0, 0.25], "start": 0},
        ),
        solution=lambda rate_L, start: rate_L[start + 1 :].sum().exp(),
        slips=(
            Slip(
                "its own month",
                "this counts the interest of month `start` too, which was over by then",
                lambda rate, start: rate[start:].sum().exp(),
            ),
            Slip(
                "since the beginning",
                "this is the growth since the beginning. The money was not there yet",
                lambda rate, start: rate.sum().exp(),
            ),
            Slip(
                "a sum of factors",
                "this adds factors. One factor acts on what the one before has left",
                lambda rate, start: torch.exp(rate[start + 1 :]).sum(),
            ),
        ),
        before="16.selective_scan",
    ),
)
