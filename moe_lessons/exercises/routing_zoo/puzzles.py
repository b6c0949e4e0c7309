"""Puzzles of lesson 06: the best along the other axis, and ids as a table of zeros and ones."""

import torch
import torch.nn.functional as F

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="06.p_podium",
        question="Row n of `points_NM` holds what athlete n reached in M disciplines. Return for each "
        "discipline the mean of its k best results, [M].",
        entry="podium",
        inputs=(
            {"points_NM": [[9.0, 2.0, 4.0], [7.0, 6.0, 0.0], [1.0, 4.0, 8.0]], "k": 2},
            {"points_NM": [[1.0, 8.0], [3.0, 2.0], [5.0, 5.0], [4.0, 2.0]], "k": 3},
        ),
        solution=lambda points_NM, k: points_NM.topk(k, dim=0).values.mean(dim=0),
        slips=(
            Slip(
                "each athlete",
                "`topk` looks along the last axis unless it is told otherwise: these are each "
                "athlete's best. Wanted are the best of each column",
                lambda points, k: points.topk(k).values.mean(dim=-1),
            ),
            Slip(
                "one number",
                "this is one mean over everything. There is one for each discipline",
                lambda points, k: points.topk(k, dim=0).values.mean(),
            ),
        ),
        before="06.expert_choice",
    ),
    Puzzle(
        id="06.p_marked",
        question="Row n of `ids_NK` names K different columns. Return a table [N, n_columns] with 1 in "
        "these columns of row n and 0 elsewhere.",
        entry="marked",
        inputs=(
            {"ids_NK": [[2, 0], [1, 3], [3, 0]], "n_columns": 5},
            {"ids_NK": [[0, 1, 2], [2, 3, 1]], "n_columns": 4},
        ),
        solution=lambda ids_NK, n_columns: torch.zeros(len(ids_NK), n_columns).scatter(1, ids_NK, 1.0),
        slips=(
            Slip(
                "a page for each id",
                "each id has a page of its own here, with a single 1. Lay the K pages on top of each other",
                lambda ids, n: F.one_hot(ids, n),
            ),
            Slip(
                "summed over the rows",
                "this adds up over the rows, N, and leaves K. It is the K ids of a row that belong together",
                lambda ids, n: F.one_hot(ids, n).sum(dim=0),
            ),
            Slip(
                "columns missing",
                "the last columns are missing: `one_hot` stops at the largest id, unless it is told how "
                "many columns there are",
                lambda ids, n: F.one_hot(ids).sum(dim=1),
            ),
        ),
        before="06.expert_choice",
    ),
    Puzzle(
        id="06.p_teams",
        question="The M columns of `score_NM` are players, `size` neighbours are a team. Return the best "
        "score in each team, [N, M / size].",
        entry="best_in_team",
        inputs=(
            {"score_NM": [[5.0, 1.0, 2.0, 8.0], [0.0, 3.0, 4.0, 4.0]], "size": 2},
            {"score_NM": [[1.0, 2.0, 9.0, 4.0, 5.0, 6.0]], "size": 3},
        ),
        solution=lambda score_NM, size: score_NM.unflatten(1, (-1, size)).amax(dim=-1),
        slips=(
            Slip(
                "every other one",
                "here each team has a player from each part of the table. Neighbours belong together",
                lambda score, size: score.unflatten(1, (size, -1)).amax(dim=1),
            ),
            Slip(
                "the team of the number",
                "this is the best of all players with the same place in their team. It is the other new "
                "axis that goes",
                lambda score, size: score.unflatten(1, (-1, size)).amax(dim=1),
            ),
        ),
        before="06.group_limited",
    ),
    Puzzle(
        id="06.p_bonus",
        question="The columns of `pay_NM` are people, neighbours are a team, and all teams have the same "
        "size. Each member of team g gets the whole of `bonus_NG[n, g]` on top. Return what they get in "
        "all, [N, M].",
        entry="with_bonus",
        inputs=(
            {"pay_NM": [[5.0, 1.0, 2.0, 8.0], [0.0, 3.0, 4.0, 4.0]], "bonus_NG": [[10.0, 20.0], [0.0, 50.0]]},
            {"pay_NM": [[1.0, 2.0, 9.0], [4.0, 5.0, 6.0]], "bonus_NG": [[10.0], [20.0]]},
        ),
        solution=lambda pay_NM, bonus_NG: (
            pay_NM + bonus_NG.repeat_interleave(pay_NM.shape[1] // bonus_NG.shape[1], dim=1)
        ),
        slips=(
            Slip(
                "dealt in turn",
                "the bonuses are dealt out in turn: first, second, first, second. Neighbours get the "
                "same one",
                lambda pay, bonus: pay + bonus.repeat(1, pay.shape[1] // bonus.shape[1]),
            ),
            Slip(
                "one to one",
                "[N, M] and [N, G] do not line up: each bonus must first stand at every member of its team",
                lambda pay, bonus: pay + bonus,
            ),
        ),
        before="06.group_limited",
    ),
)
