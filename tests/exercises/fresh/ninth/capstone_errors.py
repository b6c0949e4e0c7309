"""Fresh wrong answers to 17.find_errors: six tables for the page of seed 0."""

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


def _coded(rows):
    return 0, [(number, CODES[verdict], correction) for number, verdict, correction in rows]


def sceptic(part):
    """Everything is wrong; what is known has its correction."""
    return _coded([(number, "wrong", correction) for number, _, correction in PAGE[part]])


def believer(part):
    return _coded([(number, "right", 0) for number, _, _ in PAGE[part]])


def without_corrections(part):
    return _coded([(number, verdict, 0) for number, verdict, _ in PAGE[part]])


def other_quantities(part):
    """Verdicts are right; two of five corrections answer another question than the one asked."""
    instead = {28: 46.7, 59: 129, 61: 2, 31: 126, 45: 8, 64: 12.9}
    return _coded([(number, verdict, instead.get(number, told)) for number, verdict, told in PAGE[part]])


def three_accused(part):
    """The long known true sentences sound too good."""
    accused = {10: 8, 14: 2101.03961, 9: 0.67, 57: 17.5, 26: 100, 62: 2202.09368}
    return _coded(
        [
            (number, "wrong", accused[number]) if number in accused else (number, verdict, told)
            for number, verdict, told in PAGE[part]
        ]
    )


def doubt_is_depends(part):
    """Says "depends" to all that it does not know: unknown, and three wrong ones."""
    unsure = {39, 34, 59, 49, 70, 72, 45, 30}
    return _coded(
        [
            (number, "depends", 0) if number in unsure else (number, verdict, told)
            for number, verdict, told in PAGE[part]
        ]
    )


FRESH = {
    "17.find_errors": [
        ("everything is wrong", sceptic, {"sceptic"}),
        ("everything is right", believer, {"believer"}),
        ("corrections left out", without_corrections, {"not_put_right"}),
        ("corrections that answer another question", other_quantities, {"other_answer"}),
        ("three right sentences accused", three_accused, {"accuses"}),
        ("depends wherever in doubt", doubt_is_depends, {"softens"}),
    ],
}
