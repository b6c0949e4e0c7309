"""Puzzles of lesson 01: a number for each row, and a choice within each row."""

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="01.p_centred",
        question="Subtract from each row of `x_NM` the mean of that row.",
        entry="centred",
        inputs=(
            {"x_NM": [[1.0, 2.0, 6.0], [4.0, 4.0, 7.0], [0.0, 3.0, 3.0]]},
            {"x_NM": [[1.0, 3.0, 5.0, 7.0], [2.0, 2.0, 0.0, 0.0]]},
        ),
        solution=lambda x_NM: x_NM - x_NM.mean(dim=-1, keepdim=True),
        slips=(
            Slip(
                "along the columns",
                "the means have shape [N], and [N] lines up with the last axis, so each column lost "
                "the mean of some row. Keep the axis that the mean removes",
                lambda x: x - x.mean(dim=-1),
            ),
            Slip(
                "of the columns",
                "these are the means of the columns. The mean of a row runs along the last axis",
                lambda x: x - x.mean(dim=0),
            ),
        ),
        before="01.topk_gates",
    ),
    Puzzle(
        id="01.p_picked",
        question="Each row of `ids_NK` names K columns of the same row of `table_NM`. Return what stands "
        "in them, [N, K], in that order.",
        entry="picked",
        inputs=(
            {"table_NM": [[10, 11, 12], [20, 21, 22], [30, 31, 32]], "ids_NK": [[2, 0], [1, 1], [0, 2]]},
            {"table_NM": [[5, 6, 7, 8], [1, 2, 3, 4]], "ids_NK": [[3, 1, 0], [0, 2, 2]]},
        ),
        solution=lambda table_NM, ids_NK: table_NM.gather(1, ids_NK),
        slips=(
            Slip(
                "whole rows",
                "indexing a table with a list of ids picks whole rows. Here the ids name columns, "
                "other ones in each row",
                lambda table, ids: table[ids],
            ),
            Slip(
                "every row",
                "this gives every row the columns of all rows. Row n should use `ids_NK[n]` alone",
                lambda table, ids: table[:, ids],
            ),
            Slip(
                "down the columns",
                "along axis 0 the ids are taken for rows. They name columns: the axis to walk along is "
                "the last",
                lambda table, ids: table.gather(0, ids),
            ),
        ),
        before="01.topk_gates",
    ),
)
