"""Fresh wrong answers to 17.find_errors: tables for the page of seed 0, and one for another's page."""

CODES = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
PAGE = {
    1: [
        (44, "depends", 0),
        (34, "wrong", 8),
        (39, "unknown", 0),
        (13, "right", 0),
        (14, "right", 0),
        (61, "wrong", 3),
        (10, "right", 0),
        (33, "depends", 0),
        (59, "wrong", 128),
        (28, "wrong", 6.45),
        (49, "wrong", 2308.00951),
        (9, "right", 0),
    ],
    2: [
        (62, "right", 0),
        (72, "wrong", 2101.03961),
        (17, "depends", 0),
        (26, "right", 0),
        (64, "wrong", 25.5),
        (45, "wrong", 1),
        (21, "depends", 0),
        (70, "unknown", 0),
        (69, "right", 0),
        (30, "wrong", 25.4),
        (57, "right", 0),
        (31, "wrong", 2),
    ],
}
OTHER_PAGE = {  # of seed 7
    1: [
        (74, "right", 0),
        (9, "right", 0),
        (17, "depends", 0),
        (44, "depends", 0),
        (61, "wrong", 3),
        (65, "wrong", 2),
        (26, "right", 0),
        (47, "wrong", 1),
        (62, "right", 0),
        (6, "unknown", 0),
        (28, "wrong", 6.45),
        (72, "wrong", 2101.03961),
    ],
    2: [
        (39, "unknown", 0),
        (34, "wrong", 8),
        (46, "wrong", 1),
        (5, "right", 0),
        (57, "right", 0),
        (11, "right", 0),
        (41, "depends", 0),
        (66, "wrong", 2),
        (21, "depends", 0),
        (16, "right", 0),
        (43, "wrong", 1),
        (14, "right", 0),
    ],
}


def _with(changes, page=None):
    """The page with other rows for some sentences: a verdict, or a verdict and a correction."""
    return {
        part: [(n, *changes[n]) if n in changes else (n, verdict, to) for n, verdict, to in rows]
        for part, rows in (page or PAGE).items()
    }


def _answer(table):
    def find_errors(part):
        return 0, [(number, CODES[verdict], to) for number, verdict, to in table[part]]

    return find_errors


second_part_open = _answer({1: PAGE[1], 2: [(n, "?", 0) for n, _, _ in PAGE[2]]})

# Half of it known, and the rest wrong in all directions.
half_known = _answer(
    _with(
        {
            44: ("right", 0),
            39: ("right", 0),
            13: ("wrong", 1.6),
            59: ("depends", 0),
            49: ("right", 0),
            28: ("wrong", 8),
            62: ("wrong", 2202.09368),
            17: ("right", 0),
            45: ("right", 0),
            70: ("right", 0),
            21: ("right", 0),
            30: ("depends", 0),
        }
    )
)

two_put_right = _answer(
    _with(
        {
            34: ("wrong", 0),
            59: ("wrong", 0),
            49: ("wrong", 0),
            64: ("wrong", 0),
            45: ("wrong", 0),
            30: ("wrong", 0),
        }
    )
)

rounded = _answer(
    _with(
        {
            28: ("wrong", 6),
            49: ("wrong", 2308),
            34: ("wrong", 8),
            64: ("wrong", 26),
            30: ("wrong", 25),
            72: ("wrong", 2101),
        }
    )
)

likely_misreadings = _answer(
    _with(
        {
            34: ("wrong", 1),
            61: ("wrong", 4),
            59: ("wrong", 128.5),
            28: ("wrong", 8),
            64: ("wrong", 13),
            45: ("wrong", 8),
            30: ("wrong", 2),
            31: ("wrong", 128),
        }
    )
)

page_of_another_seed = _answer(OTHER_PAGE)

papers_not_looked_up = _answer(_with(dict.fromkeys((44, 14, 33, 49, 62, 72, 21, 69), ("unknown", 0))))

passes_halves_and_rejects_rumours = _answer(
    _with(
        {
            44: ("right", 0),
            33: ("right", 0),
            39: ("wrong", 0.55),
            17: ("right", 0),
            21: ("right", 0),
            70: ("wrong", 2303.08774),
        }
    )
)


def papers_as_text(part):
    """Wrong nowhere but that a paper is given as it is cited."""
    rows = [(n, CODES[verdict], "arXiv 2308.00951" if n == 49 else to) for n, verdict, to in PAGE[part]]
    return 0, rows


FRESH = {
    "17.find_errors": [
        ("the second part still open", second_part_open, {"still_open"}),
        (
            "half of it known",
            half_known,
            {"softens", "accuses", "rumours_are_right", "half_truths_are_right", "generous"},
        ),
        ("two of five put right", two_put_right, {"not_put_right"}),
        ("corrections rounded", rounded, {"rounded_off"}),
        ("corrections by the likely misreading", likely_misreadings, {"quoted_back"}),
        ("the page of another seed", page_of_another_seed, {"other_page"}),
        ("unknown where a paper is asked for", papers_not_looked_up, {"not_looked_up"}),
        (
            "halves pass and rumours are wrong",
            passes_halves_and_rejects_rumours,
            {"half_truths_are_right", "rumours_are_wrong"},
        ),
        ("a paper as text", papers_as_text, {"no_numbers"}),
    ],
}
