"""Puzzles of lesson 17: the best of those that are allowed, and where it stands."""

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="17.p_place",
        question="A field has a height `height_RC` at each place, and a place is dry where `dry_RC` is 1. "
        "Return row and column of the lowest dry place, as a vector of two whole numbers.",
        entry="lowest_dry",
        inputs=(
            {"height_RC": [[5, 1, 7], [3, 9, 4]], "dry_RC": [[1, 0, 0], [0, 1, 1]]},
            {"height_RC": [[2, 8], [6, 0], [1, 7]], "dry_RC": [[0, 1], [1, 0], [0, 0]]},
        ),
        solution=lambda height_RC, dry_RC: (
            (height_RC == height_RC[dry_RC == 1].min()) & (dry_RC == 1)
        ).nonzero()[0],
        slips=(
            Slip(
                "wet or dry",
                "this is the lowest place of all. It is under water",
                lambda height, dry: (height == height.min()).nonzero()[0],
            ),
            Slip(
                "column first",
                "row and column have changed places",
                lambda height, dry: ((height == height[dry == 1].min()) & (dry == 1)).nonzero()[0].flip(0),
            ),
            Slip(
                "wet taken as ground",
                "wet places count with a height of 0 here, and so one of them is the lowest. Take them out",
                lambda height, dry: ((height * dry) == (height * dry).min()).nonzero()[0],
            ),
            Slip(
                "the highest",
                "this is the highest dry place",
                lambda height, dry: ((height == height[dry == 1].max()) & (dry == 1)).nonzero()[0],
            ),
        ),
        before="17.design",
    ),
    Puzzle(
        id="17.p_flat",
        question="Flats have a `rent_N`, a `size_N` and a way to work of `minutes_N`. Return the size of the "
        "largest that costs at most `most` and is at most `far` minutes away: one number.",
        entry="largest_flat",
        inputs=(
            {
                "rent_N": [700, 900, 400, 650, 1200],
                "size_N": [50, 75, 33, 61, 90],
                "minutes_N": [20, 35, 10, 60, 5],
                "most": 800,
                "far": 30,
            },
            {"rent_N": [10, 12, 9], "size_N": [7, 9, 8], "minutes_N": [3, 1, 9], "most": 11, "far": 5},
        ),
        solution=lambda rent_N, size_N, minutes_N, most, far: size_N[
            (rent_N <= most) & (minutes_N <= far)
        ].max(),
        slips=(
            Slip(
                "either",
                "this one keeps only one of the two limits. Both are asked for",
                lambda rent, size, minutes, most, far: size[(rent <= most) | (minutes <= far)].max(),
            ),
            Slip(
                "rent alone",
                "this one is cheap enough, and too far away",
                lambda rent, size, minutes, most, far: size[rent <= most].max(),
            ),
            Slip(
                "its rent",
                "this is what the flat costs. Asked is its size",
                lambda rent, size, minutes, most, far: rent[(rent <= most) & (minutes <= far)].max(),
            ),
            Slip(
                "the smallest",
                "this is the smallest of those that will do",
                lambda rent, size, minutes, most, far: size[(rent <= most) & (minutes <= far)].min(),
            ),
        ),
        before="17.defend",
    ),
)
