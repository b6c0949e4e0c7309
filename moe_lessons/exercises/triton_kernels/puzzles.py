"""Puzzles of lesson 09: places outside, rows that do not fill a block, and where an element lies."""

import torch

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="09.p_inside",
        question="Return what stands at the places `places_B` of `memory_N`, [B]. Places from N on lie "
        "outside; there, return 0.",
        entry="read_inside",
        inputs=(
            {"memory_N": [7.0, 3.0, 8.0, 5.0, 6.0], "places_B": [3, 4, 5, 6]},
            {"memory_N": [2.0, 9.0, 4.0], "places_B": [0, 2, 4, 1, 3]},
        ),
        solution=lambda memory_N, places_B: torch.where(
            places_B < len(memory_N), memory_N[places_B.clamp(max=len(memory_N) - 1)], 0.0
        ),
        slips=(
            Slip(
                "outside",
                "PyTorch stops at a place outside; a GPU may read whatever lies there. Bring the index "
                "inside first, and then say where it was not",
                lambda memory, places: memory[places],
            ),
            Slip(
                "the last one again",
                "places outside read the last number. Bringing the index inside is half of it; what was "
                "read there must become 0",
                lambda memory, places: memory[places.clamp(max=len(memory) - 1)],
            ),
        ),
        before="09.gather_rows",
    ),
    Puzzle(
        id="09.p_boxes",
        question="Customer e takes `pieces_E[e]` pieces, in boxes that hold `size` each and are not "
        "shared. Return how many boxes each customer needs, [E].",
        entry="boxes",
        inputs=({"pieces_E": [5, 0, 8, 1], "size": 4}, {"pieces_E": [3, 7, 0], "size": 3}),
        solution=lambda pieces_E, size: (pieces_E + size - 1) // size,
        plain=True,
        slips=(
            Slip(
                "full boxes only",
                "these are the full boxes. What is left over needs one too",
                lambda pieces, size: pieces // size,
            ),
            Slip(
                "always one more",
                "where the boxes come out full, or nothing is taken, this is one box too many",
                lambda pieces, size: pieces // size + 1,
            ),
        ),
        before="09.block_map",
    ),
    Puzzle(
        id="09.p_place",
        question="A tensor [E, `n_rows`, `n_columns`] lies in memory matrix after matrix, each row after "
        "row. Element n has the indices `e_N[n]`, `row_N[n]` and `column_N[n]`. Return its place, "
        "counted from 0, [N].",
        entry="place_in_memory",
        inputs=(
            {
                "e_N": [0, 0, 1, 2],
                "row_N": [0, 1, 0, 1],
                "column_N": [3, 0, 0, 2],
                "n_rows": 2,
                "n_columns": 4,
            },
            {"e_N": [1, 1, 0], "row_N": [2, 0, 1], "column_N": [1, 0, 1], "n_rows": 3, "n_columns": 2},
        ),
        solution=lambda e_N, row_N, column_N, n_rows, n_columns: (
            (e_N * n_rows + row_N) * n_columns + column_N
        ),
        slips=(
            Slip(
                "a matrix is its rows",
                "a matrix is `n_rows` rows long, not `n_rows` elements: going on by one matrix is a "
                "longer step",
                lambda e, row, column, n_rows, n_columns: e * n_rows + row * n_columns + column,
            ),
            Slip(
                "rows and columns",
                "the two lengths are swapped. From one row to the next it is as far as a row is long",
                lambda e, row, column, n_rows, n_columns: (e * n_columns + row) * n_rows + column,
            ),
        ),
        before="09.grouped_product",
    ),
    Puzzle(
        id="09.p_outer",
        question="Row n of `a_ND` times row n of `b_NF` is a matrix [D, F], each number of the one times "
        "each number of the other. Return the sum of these matrices over all n, [D, F].",
        entry="sum_of_outer_products",
        inputs=(
            {
                "a_ND": [[1.0, 0.0, 2.0], [0.0, 1.0, 1.0], [3.0, 0.0, 0.0]],
                "b_NF": [[1.0, 2.0, 0.0], [4.0, 0.0, 1.0], [0.0, 1.0, 1.0]],
            },
            {"a_ND": [[1.0, 2.0, 3.0], [2.0, 0.0, 1.0]], "b_NF": [[5.0, 1.0], [1.0, 0.0]]},
        ),
        solution=lambda a_ND, b_NF: a_ND.T @ b_NF,
        slips=(
            Slip(
                "rows with rows",
                "this holds the inner products of rows, [N, N]. What is added up here is the rows' "
                "number n, which must be the inner axis of the product",
                lambda a, b: a @ b.T,
            ),
            Slip(
                "not added up",
                "these are the matrices, one for each n. They still have to be added",
                lambda a, b: a[:, :, None] * b[:, None, :],
            ),
            Slip(
                "turned over",
                "this is [F, D]: rows and columns are swapped",
                lambda a, b: b.T @ a,
            ),
        ),
        before="09.down_gradient",
    ),
)
