"""Pages as learners judge them: right ones, with a slip or two, and wrong ones by misconception."""

import numpy as np
import torch
from planted.capstone_pages import page

CODES = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}


def judged(seed=3, verdict=lambda one: one.verdict, correct=lambda one: one.answer[0], shape=tuple):
    """A learner with this seed who gives these verdicts and corrections."""

    def find_errors(part):
        rows = [
            (one.id, CODES[verdict(one)], float(correct(one)) if verdict(one) == "wrong" else 0.0)
            for one in page(seed)[part]
        ]
        return seed, [shape(row) for row in rows]

    return find_errors


# Right


def in_numpy(part):
    seed, rows = judged(12)(part)
    return seed, np.array(rows)


def in_torch_turned(part):
    """The rows from the last to the first: their order is free."""
    seed, rows = judged(5)(part)
    return seed, torch.tensor(rows, dtype=torch.float64).flip(0)


def with_slips(part):
    """One right sentence accused, and one correction wrong: nine points and more."""
    seed, rows = judged(8, shape=list)(part)
    sentences = page(seed)[part]
    accused = next(i for i, one in enumerate(sentences) if one.verdict == "right")
    wrong = next(i for i, one in enumerate(sentences) if one.verdict == "wrong")
    rows[accused][1:] = 1, 1234.5
    rows[wrong][2] = 1e-6
    return seed, rows


def undecided_between(part):
    """Three verdicts differ, none of them an accusation."""
    seed, rows = judged(8, shape=list)(part)
    sentences = page(seed)[part]
    for verdict, code in (("wrong", 2), ("depends", 1), ("right", 2)):
        place = next(i for i, one in enumerate(sentences) if one.verdict == verdict)
        if verdict != "right":
            rows[place][1] = code
    return seed, rows


# Wrong


def verdicts(**other):
    """A learner who says something else to one kind of sentence."""
    return judged(verdict=lambda one: other.get(one.verdict, one.verdict))


def quoted(one):
    return one.quoted[0] if one.quoted else one.answer[0]


def in_other_units(one):
    return one.answer[0] if one.paper else 1000 * one.answer[0]


def its_paper(one):
    return one.answer[0] if one.paper else 2401.04088


def some(kind, other, n):
    """The first sentences of one kind in each part are taken for another kind."""

    def find_errors(part):
        seed, rows = judged(shape=list)(part)
        places = [i for i, one in enumerate(page(seed)[part]) if one.verdict == kind]
        for i in places[:n]:
            rows[i][1:] = CODES[other], 1234.5 if other == "wrong" else 0
        return seed, rows

    return find_errors


def table_of(rows):
    """A table that is looked up as the stub does it."""

    def find_errors(part):
        table = {1: rows, 2: rows}
        return 3, [(id, CODES[verdict], correction) for id, verdict, correction in table[part]]

    return find_errors


def part_two_missing(part):
    seed, rows = judged()(1)
    table = {1: rows}
    return seed, table[part]


def keys_are_words(part):
    seed, rows = judged()(part)
    table = {"one": rows, "two": rows}
    return seed, table[part]


def mixed(part):
    """A third of a page is off, in all directions."""
    seed, rows = judged(shape=list)(part)
    other = {
        "right": ["wrong", "unknown"],
        "wrong": ["right", "depends"],
        "depends": ["wrong"],
        "unknown": ["right"],
    }
    for i, one in enumerate(page(seed)[part]):
        if other.get(one.verdict):
            verdict = other[one.verdict].pop()
            rows[i][1:] = CODES[verdict], 1234.5 if verdict == "wrong" else 0
    return seed, rows


def all_called(called):
    """Two right, two wrong and the unknown sentence are called the same."""

    def find_errors(part):
        seed, rows = judged(shape=list)(part)
        left = {"right": 2, "wrong": 2, "unknown": 1, "depends": 1}
        for i, one in enumerate(page(seed)[part]):
            if one.verdict != called and left[one.verdict]:
                left[one.verdict] -= 1
                rows[i][1:] = CODES[called], 1234.5 if called == "wrong" else 0
        return seed, rows

    return find_errors


def half_done(part):
    seed, rows = judged(shape=list)(part)
    return seed, rows if part == 1 else [[id, CODES["?"], 0] for id, _, _ in rows]


def of_another_seed(part):
    return 3, judged(8)(part)[1]


def one_row_short(part):
    seed, rows = judged()(part)
    return seed, rows[:-1]


def to_one_digit(one):
    return int(one.answer[0]) if one.paper else float(f"{one.answer[0]:.1g}")


def of_a_neighbour(one):
    return 1701.06538 if one.paper else 7 * one.answer[0] + 3


def another_habit_in_each_part(part):
    return some("right", "wrong", 3)(part) if part == 1 else some("wrong", "depends", 3)(part)


def cites_in_quotes(part):
    seed, rows = judged(shape=list)(part)
    return seed, [[id, code, f"arXiv {to}" if 1000 < to < 3000 else to] for id, code, to in rows]


RIGHT = {"17.find_errors": [in_numpy, in_torch_turned, with_slips, undecided_between, judged(2024)]}
WRONG = {
    "17.find_errors": {
        "believer": judged(verdict=lambda one: "right"),
        "sceptic": judged(verdict=lambda one: "wrong"),
        "doubter": judged(verdict=lambda one: "depends"),
        "nobody_knows": judged(verdict=lambda one: "unknown"),
        "two_verdicts": verdicts(depends="wrong", unknown="wrong"),
        "generous": verdicts(depends="right", unknown="right"),
        "half_truths_are_wrong": verdicts(depends="wrong"),
        "half_truths_are_right": verdicts(depends="right"),
        "rumours_are_wrong": verdicts(unknown="wrong"),
        "rumours_are_right": verdicts(unknown="right"),
        "rumours_depend": verdicts(unknown="depends"),
        "disputes_are_unknown": verdicts(depends="unknown"),
        "accuses": some("right", "wrong", 3),
        "accuses:two of four": some("right", "wrong", 2),
        "softens": some("wrong", "depends", 3),
        "softens:all": verdicts(wrong="depends"),
        "doubts_the_right": some("right", "depends", 3),
        "wrong_let_pass": some("wrong", "right", 3),
        "harsh": all_called("wrong"),
        "vague": all_called("depends"),
        "not_looked_up": all_called("unknown"),
        "generous:of several kinds": all_called("right"),
        "all_directions": mixed,
        "all_directions:a habit in each part": another_habit_in_each_part,
        "no_numbers": cites_in_quotes,
        "still_open": half_done,
        "other_page": of_another_seed,
        "rows_missing": one_row_short,
        "rounded_off": judged(correct=to_one_digit),
        "other_answer": judged(correct=of_a_neighbour),
        "not_put_right": judged(correct=lambda one: 0),
        "unit_off": judged(correct=in_other_units),
        "paper_for_number": judged(correct=its_paper),
        "quoted_back": judged(correct=quoted),
        "no_such_verdict": table_of([(1, "correct", 0)]),
        "no_such_part": part_two_missing,
        "row_too_short": table_of([(1, "right")]),
    },
}
