"""Fresh wrong answers to lesson 17's page of sentences: readers with habits of their own."""

from moe_lessons.exercises.capstone_errors.bank import page

CODES = ("right", "wrong", "depends", "unknown", "?")


def reader(seed, verdict, correct=lambda one: one.answer[0]):
    def find_errors(part):
        rows = []
        for one in page(seed)[part]:
            said = verdict(one)
            rows.append([one.id, CODES.index(said), correct(one) if said == "wrong" else 0])
        return seed, rows

    return find_errors


def believes_but_for_numbers(one):
    """Calls a sentence wrong only where its question has a number to compute."""
    return "right"


def black_and_white(one):
    return "right" if one.verdict == "right" else "wrong"


def benefit_of_the_doubt(one):
    return "wrong" if one.verdict == "wrong" else "right"


def hedges(one):
    return one.verdict if one.verdict in ("right", "wrong") else "depends"


def agnostic(one):
    return one.verdict if one.verdict in ("right", "wrong") else "unknown"


def rumours_are_lies(one):
    return "wrong" if one.verdict == "unknown" else one.verdict


def in_percent(one):
    return one.answer[0] if one.paper else 100 * one.answer[0]


def echo(one):
    return one.quoted[-1] if one.quoted else one.answer[0]


FRESH = {
    "17.find_errors": [
        ("all right", reader(41, believes_but_for_numbers), {"believer"}),
        ("two colours", reader(42, black_and_white), {"two_verdicts"}),
        ("benefit of the doubt", reader(43, benefit_of_the_doubt), {"generous"}),
        ("hedges", reader(44, hedges), {"rumours_depend"}),
        ("agnostic", reader(45, agnostic), {"disputes_are_unknown"}),
        ("rumours are lies", reader(46, rumours_are_lies), {"rumours_are_wrong"}),
        ("per cent", reader(47, lambda one: one.verdict, in_percent), {"unit_off"}),
        ("numbers repeated", reader(48, lambda one: one.verdict, echo), {"quoted_back"}),
    ],
}
