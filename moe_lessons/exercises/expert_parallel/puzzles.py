"""Puzzles of lesson 14: a row cut into pieces of any size, and the same place in every group."""

from moe_lessons.exercises.puzzle import Puzzle, Slip

PUZZLES = (
    Puzzle(
        id="14.p_days",
        question="`visit_N` lists the minutes of each visit, day after day; day d had `visits_D[d]` of them. "
        "Return the longest visit of each day, in a list.",
        entry="longest_visits",
        inputs=(
            {"visit_N": [30, 10, 60, 20, 50, 40], "visits_D": [3, 1, 2]},
            {"visit_N": [5, 45, 25, 35, 15, 55, 20, 10], "visits_D": [2, 1, 4, 1]},
        ),
        solution=lambda visit_N, visits_D: [int(day.max()) for day in visit_N.split(visits_D.tolist())],
        slips=(
            Slip(
                "equal days",
                "this gives each day equally many visits. Their numbers are in `visits_D`",
                lambda visit, visits: [int(day.max()) for day in visit.tensor_split(len(visits))],
            ),
            Slip(
                "added up",
                "this adds the visits of a day. Asked is the longest",
                lambda visit, visits: [int(day.sum()) for day in visit.split(visits.tolist())],
            ),
            Slip(
                "first of the day",
                "this is the first visit of each day. Asked is the longest",
                lambda visit, visits: [int(day[0]) for day in visit.split(visits.tolist())],
            ),
        ),
        before="14.exchange",
        plain=True,
    ),
    Puzzle(
        id="14.p_seats",
        question="`price_N` are seats in rows of `width`, row after row. Return the cheapest price of each "
        "*column*: seat 0 of all rows, seat 1 of all rows, and so on.",
        entry="cheapest_seats",
        inputs=(
            {"price_N": [9, 4, 7, 3, 8, 6], "width": 3},
            {"price_N": [5, 1, 8, 2, 6, 9, 4, 7], "width": 2},
        ),
        solution=lambda price_N, width: price_N.view(-1, width).amin(dim=0),
        slips=(
            Slip(
                "each row",
                "this is the cheapest of each row. A column has one seat from every row",
                lambda price, width: price.view(-1, width).amin(dim=1),
            ),
            Slip(
                "rows and columns exchanged",
                "this cuts the list into `width` parts. A row has `width` seats, and the next row follows",
                lambda price, width: price.view(width, -1).amin(dim=1),
            ),
        ),
        before="14.reduce_gradients",
        plain=True,
    ),
)
