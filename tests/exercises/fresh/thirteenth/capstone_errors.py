"""The thirteenth set, lesson 17: tables of verdicts, what a class would most likely hand in."""

from moe_lessons.exercises.capstone_errors.bank import page

CODES = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
SOURCES = {
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


def judged(changed, seed=0):
    """An answer's function: the published table with some rows filled in otherwise."""

    def find_errors(part):
        rows = [(number, *changed.get(number, row)) for number, *row in SOURCES[part]]
        return seed, [(number, CODES[verdict], correction) for number, verdict, correction in rows]

    return find_errors


RIGHT, DEPENDS = ("right", 0), ("depends", 0)

# What one line of torch or arithmetic refutes was found; all that would have to be looked up passes.
let_pass = judged(dict.fromkeys((44, 34, 39, 33, 59, 49, 72, 17, 45, 21, 30), RIGHT))

# "Not always so" and "nobody says so" are wrong here; two surprising numbers are accused besides.
right_or_wrong = judged(
    {
        44: ("wrong", 2101.03961),
        39: ("wrong", 0),
        33: ("wrong", 2409.02060),
        10: ("wrong", 316),
        17: ("wrong", 5.4),
        21: ("wrong", 2409.02060),
        70: ("wrong", 2303.08774),
        57: ("wrong", 18.1),
    }
)

# "In some code it is 1", "with some tokens it is 6": a counter-example is taken for an exception.
it_depends = judged(dict.fromkeys((34, 61, 59, 28, 72, 45, 30), DEPENDS))

# Surprising, and true.
surprised = judged({13: ("wrong", 1.57), 10: ("wrong", 316), 26: ("wrong", 200), 57: ("wrong", 18.5)})

# The papers are filled in, the numbers were not worked out.
without_numbers = judged(dict.fromkeys((34, 61, 59, 28, 64, 45, 30, 31), ("wrong", 0)))

# FLOPs instead of billions of them, and CV instead of its square.
in_operations = judged({28: ("wrong", 6.44), 64: ("wrong", 25.5e9), 30: ("wrong", 63.8)})

# What the sentence says or what one would read into it, not what the question asks.
as_the_sentence_has_it = judged(
    {
        61: ("wrong", 6),
        59: ("wrong", 128.5),
        28: ("wrong", 8),
        64: ("wrong", 12.9),
        45: ("wrong", 8),
        30: ("wrong", 2),
    }
)


def page_of_my_number(part):
    """A page drawn with the student's number in the cell above, where the function still says 0."""
    return 0, [
        (one.id, CODES[one.verdict], one.answer[0] if one.verdict == "wrong" else 0)
        for one in page(20_417)[part]
    ]


FRESH = {
    "17.find_errors": [
        ("let pass what is not refuted", let_pass, {"believer", "generous"}),
        ("right or wrong", right_or_wrong, {"two_verdicts", "half_truths_are_wrong", "rumours_are_wrong"}),
        ("wrong ones depend", it_depends, {"softens"}),
        ("true ones accused", surprised, {"accuses"}),
        ("no numbers", without_numbers, {"not_put_right"}),
        ("operations for billions", in_operations, {"unit_off", "other_answer"}),
        ("as the sentence has it", as_the_sentence_has_it, {"quoted_back"}),
        ("another page", page_of_my_number, {"other_page"}),
    ],
}
