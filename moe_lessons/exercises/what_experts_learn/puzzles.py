"""Puzzles of lesson 12: what two have in common, and one number for a pair."""

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="12.p_common",
        question="`likes_NM[n, m]` is 1 where person n likes song m, else 0. Return the table [N, N] that "
        "says for each two people how many songs both of them like.",
        entry="common_songs",
        inputs=(
            {"likes_NM": [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]},
            {"likes_NM": [[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]]},
        ),
        solution=lambda likes_NM: likes_NM @ likes_NM.T,
        slips=(
            Slip(
                "songs with songs",
                "this table has a row for each song: it says how many people like two songs. The axis that "
                "is summed over has to be the songs",
                lambda likes: likes.T @ likes,
            ),
            Slip(
                "either of them",
                "these are the songs that one *or* the other likes",
                lambda likes: ((likes[:, None] + likes[None]) > 0).float().sum(-1),
            ),
            Slip(
                "the same opinion",
                "songs that *neither* likes were counted too",
                lambda likes: (likes[:, None] == likes[None]).float().sum(-1),
            ),
        ),
        before="12.coactivation",
    ),
    Puzzle(
        id="12.p_kinds",
        question="Ticket n has the colour `colour_N[n]` and the number `number_N[n]`. Return how many "
        "*different* tickets there are: two are the same if both colour and number are.",
        entry="different_tickets",
        inputs=(
            {"colour_N": [0, 1, 0, 2, 0], "number_N": [1, 2, 1, 1, 3]},
            {"colour_N": [2, 2, 1, 0], "number_N": [0, 0, 1, 2]},
        ),
        solution=lambda colour_N, number_N: len(set(zip(colour_N.tolist(), number_N.tolist(), strict=True))),
        slips=(
            Slip(
                "kinds multiplied",
                "that is how many there could be. Count those that occur",
                lambda colour, number: len(colour.unique()) * len(number.unique()),
            ),
            Slip(
                "sums",
                "different tickets can have the same sum. Take colour and number as a pair",
                lambda colour, number: len((colour + number).unique()),
            ),
            Slip(
                "numbers alone",
                "the same number in two colours are two tickets",
                lambda colour, number: len(number.unique()),
            ),
            Slip(
                "all of them",
                "that is how many tickets there are. Equal ones count once",
                lambda colour, number: len(colour),
            ),
        ),
        plain=True,
        before="12.beyond_the_token",
    ),
)
