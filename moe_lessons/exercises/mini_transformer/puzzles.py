"""Puzzles of lesson 10: who may look at whom, and a guess held against what came next."""

import torch

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="10.p_look",
        question="Place i may look at itself and at the `width - 1` places before it, and at no other. "
        "Return the table [n, n] that is True in row i, column j where i may look at j.",
        entry="may_look",
        inputs=({"n": 5, "width": 2}, {"n": 4, "width": 3}),
        solution=lambda n, width: torch.ones(n, n, dtype=torch.bool).tril().triu(1 - width),
        slips=(
            Slip(
                "all that came before",
                "it does not look ahead, but it looks back further than `width` allows",
                lambda n, width: torch.ones(n, n, dtype=torch.bool).tril(),
            ),
            Slip(
                "ahead",
                "this looks ahead. Rows are who looks, columns at what: earlier columns lie left of the "
                "diagonal",
                lambda n, width: torch.ones(n, n, dtype=torch.bool).triu().tril(width - 1),
            ),
            Slip(
                "one too far",
                "one place too far back: `width` counts the place itself",
                lambda n, width: torch.ones(n, n, dtype=torch.bool).tril().triu(-width),
            ),
        ),
        before="10.causal_attention",
    ),
    Puzzle(
        id="10.p_next",
        question="`guesses_L[l]` is a guess at the letter that comes *after* place l of `letters_L`. "
        "Return the share of right guesses, one number; the last guess cannot be judged and does not "
        "count.",
        entry="share_right",
        inputs=(
            {"letters_L": [1, 2, 3, 1, 2], "guesses_L": [2, 3, 1, 1, 9]},
            {"letters_L": [5, 5, 4, 5], "guesses_L": [5, 4, 4, 1]},
        ),
        solution=lambda letters_L, guesses_L: (guesses_L[:-1] == letters_L[1:]).float().mean(),
        slips=(
            Slip(
                "not shifted",
                "each guess was held against the letter at its own place. It is about the next one",
                lambda letters, guesses: (guesses == letters).float().mean(),
            ),
            Slip(
                "shifted the wrong way",
                "shifted the wrong way: these guesses were held against the letter before",
                lambda letters, guesses: (guesses[1:] == letters[:-1]).float().mean(),
            ),
            Slip(
                "divided by all",
                "the right guesses are counted well, but there is one guess fewer to divide by",
                lambda letters, guesses: (guesses[:-1] == letters[1:]).sum() / len(letters),
            ),
        ),
        before="10.training_loss",
    ),
)
