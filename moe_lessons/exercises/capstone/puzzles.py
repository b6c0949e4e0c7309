"""Puzzles of lesson 17: the best of those that are allowed, and where it stands."""

import torch

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="17.p_place",
        question="A field has a height `height_RC` at each place, and a place is dry where `dry_RC` is 1. "
        "Return row and column of the lowest dry place, as a vector of two whole numbers.",
        entry="lowest_dry",
        inputs=(
            # Fractions, so that infinity can stand in for a height.
            {"height_RC": [[5.5, 1, 7], [3, 9, 4]], "dry_RC": [[1, 0, 0], [0, 1, 1]]},
            {"height_RC": [[4, 8], [1.5, 6], [2.5, 7]], "dry_RC": [[0, 1], [1, 1], [0, 0]]},
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
            Slip(
                "the lowest wet",
                "this is the lowest of the *wet* places: it was the dry ones that were taken out",
                lambda height, dry: ((height == height[dry == 0].min()) & (dry == 0)).nonzero()[0],
            ),
            Slip(
                "counted through",
                "this is one number, the place counted through row after row. What is its row?",
                lambda height, dry: height.masked_fill(dry == 0, torch.inf).argmin(),
            ),
            Slip(
                "counted among the dry",
                "this is a place among the dry ones alone. Wet places lie between them, and count as well",
                lambda height, dry: torch.tensor(divmod(int(height[dry == 1].argmin()), height.shape[1])),
            ),
            Slip(
                "by the rows",
                "this was divided by how many rows there are. How many places does one row have?",
                lambda height, dry: torch.tensor(
                    divmod(int(height.masked_fill(dry == 0, torch.inf).argmin()), height.shape[0])
                ),
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
                "rent_N": [90, 40, 70, 65, 25, 50, 120],
                "size_N": [75, 42, 50.5, 61, 33, 38, 90],
                "minutes_N": [35, 10, 20, 60, 70, 28, 5],
                "most": 80,
                "far": 30,
            },
            {
                "rent_N": [10, 12, 9, 4],
                "size_N": [7.5, 9, 10, 6],
                "minutes_N": [3, 1, 9, 5],
                "most": 11,
                "far": 5,
            },
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
            Slip(
                "minutes alone",
                "this one is near enough, and costs too much",
                lambda rent, size, minutes, most, far: size[minutes <= far].max(),
            ),
            Slip(
                "each limit by itself",
                "this is the largest that is cheap enough, or the largest that is near enough, whichever is "
                "smaller. One flat has to be both",
                lambda rent, size, minutes, most, far: torch.minimum(
                    size[rent <= most].max(), size[minutes <= far].max()
                ),
            ),
            Slip(
                "limits exchanged",
                "the limits have changed places: rents were held to `far`, and ways to work to `most`",
                lambda rent, size, minutes, most, far: size[(rent <= far) & (minutes <= most)].max(),
            ),
            Slip(
                "the cheapest",
                "this is the cheapest of those that will do",
                lambda rent, size, minutes, most, far: size[
                    torch.where((rent <= most) & (minutes <= far), rent, torch.inf).argmin()
                ],
            ),
            Slip(
                "place among those that fit",
                "this is a place among those that will do. What stands there?",
                lambda rent, size, minutes, most, far: size[(rent <= most) & (minutes <= far)].argmax(),
            ),
            Slip(
                "place in the list",
                "this says which flat it is. Asked is its size",
                lambda rent, size, minutes, most, far: (size * (rent <= most) * (minutes <= far)).argmax(),
            ),
            Slip(
                "largest first",
                "the largest of all was asked whether it will do, and none after it. It is a smaller one",
                lambda rent, size, minutes, most, far: (
                    size.max() * ((rent <= most) & (minutes <= far))[size.argmax()]
                ),
            ),
        ),
        before="17.defend",
    ),
)
