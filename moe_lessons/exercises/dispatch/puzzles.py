"""Puzzles of lesson 08: ties in a sort, whose stretch a place lies in, and writing instead of reading."""

import torch

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="08.p_dear",
        question="Article n costs `price_N[n]`. Return the numbers of the articles from dear to cheap, "
        "[N]; of two that cost the same, the one with the smaller number comes first.",
        entry="dear_first",
        inputs=({"price_N": [3, 5, 3, 5, 1]}, {"price_N": [2, 2, 4, 2]}),
        solution=lambda price_N: price_N.argsort(descending=True, stable=True),
        slips=(
            Slip(
                "turned round",
                "turning a rising order round turns round those of equal price as well",
                lambda price: price.argsort(stable=True).flip(0),
            ),
            Slip("rising", "the cheap ones come first here", lambda price: price.argsort(stable=True)),
        ),
        before="08.permutation_plan",
    ),
    Puzzle(
        id="08.p_chapter",
        question="`ends_E[e]` is the first page that no longer belongs to chapter e. Return the chapter "
        "of each page in `pages_N`, [N]; a chapter may have no pages.",
        entry="chapter_of",
        inputs=(
            {"ends_E": [3, 3, 5, 6], "pages_N": [0, 2, 3, 4, 5]},
            {"ends_E": [1, 2, 2, 6], "pages_N": [3, 1, 0, 2]},
        ),
        solution=lambda ends_E, pages_N: torch.searchsorted(ends_E, pages_N, right=True),
        slips=(
            Slip(
                "the end belongs to it",
                "a page that equals an end belongs to a later chapter: the end is the first page that is "
                "not in it",
                lambda ends, pages: torch.searchsorted(ends, pages),
            ),
            Slip(
                "ends for beginnings",
                "one too few: the numbers are where chapters end, not where they begin",
                lambda ends, pages: torch.searchsorted(ends, pages, right=True) - 1,
            ),
        ),
        before="08.permutation_plan",
    ),
    Puzzle(
        id="08.p_delivered",
        question="Parcel p weighs `weight_N[p]` and goes to door `door_N[p]`; each door gets one. Return "
        "the weights as they then lie, door after door, [N].",
        entry="delivered",
        inputs=(
            # Fractions, so that `torch.zeros(N)` can hold them.
            {"weight_N": [1.5, 2, 3, 4.5], "door_N": [2, 0, 3, 1]},
            {"weight_N": [1, 2, 3.5, 4, 5], "door_N": [1, 2, 4, 0, 3]},
        ),
        solution=lambda weight_N, door_N: torch.zeros_like(weight_N).scatter(0, door_N, weight_N),
        slips=(
            Slip(
                "read, not written",
                "this reads at the doors' numbers: place p gets the weight with number `door_N[p]`. "
                "Wanted is to write there: the weight with number p goes to place `door_N[p]`",
                lambda weight, door: weight[door],
            ),
            Slip(
                "who, not what",
                "these are the numbers of the parcels. Wanted are their weights",
                lambda weight, door: door.argsort(),
            ),
        ),
        before="08.undo_sort",
    ),
)
