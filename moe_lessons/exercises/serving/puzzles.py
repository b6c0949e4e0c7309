"""Puzzles of lesson 15: a run from the start, and shelves of a fixed size."""

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="15.p_parcels",
        question="The items of `value_RM` travel in parcels: in each row, every `size` neighbours make one. "
        "Return what each parcel is worth: the table [R, M/size] of sums.",
        entry="parcel_values",
        inputs=(
            {"value_RM": [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 9.0]], "size": 2},
            {"value_RM": [[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]], "size": 3},
        ),
        solution=lambda value_RM, size: value_RM.unflatten(1, (-1, size)).sum(dim=2),
        slips=(
            Slip(
                "dealt in turn",
                "this adds items that lie a parcel apart. Those of a parcel are neighbours",
                lambda value, size: value.unflatten(1, (size, -1)).sum(dim=1),
            ),
            Slip(
                "the wrong axis",
                "this adds the first items of all parcels, then the second. The sum runs within a parcel",
                lambda value, size: value.unflatten(1, (-1, size)).sum(dim=1),
            ),
        ),
        before="15.quantise",
    ),
    Puzzle(
        id="15.p_streak",
        question="`won_GN` holds 1 for a game won and 0 for one that was not, a row for each team, in the "
        "order of play. Return how many games each team won before its first that it did not: G numbers.",
        entry="winning_start",
        inputs=(
            {"won_GN": [[1, 1, 0, 1], [0, 1, 1, 1], [1, 1, 1, 1]]},
            {"won_GN": [[1, 0, 1, 1, 0], [1, 1, 1, 0, 1]]},
        ),
        solution=lambda won_GN: won_GN.cumprod(dim=1).sum(dim=1),
        slips=(
            Slip(
                "all wins",
                "this counts all games won. Those behind the first that was not do not count",
                lambda won: won.sum(dim=1),
            ),
            Slip(
                "the first loss, always",
                "this looks for the first smallest number, and a team that won them all has no 0",
                lambda won: won.argmin(dim=1),
            ),
        ),
        before="15.speculate",
        plain=True,
    ),
)
