"""Exercise 17.find_errors: judge a page of sentences, and put the wrong ones right."""

from collections.abc import Sequence

import numpy as np

from moe_lessons.exercises.capstone_errors.bank import PARTS, page
from moe_lessons.exercises.capstone_errors.habits_of_reading import of_the_page
from moe_lessons.exercises.capstone_errors.marking import PROPERTIES
from moe_lessons.exercises.capstone_errors.reading import READING
from moe_lessons.exercises.capstone_errors.sentence import VERDICTS
from moe_lessons.exercises.spec import Case, Crash, Exercise, Output

SEED = 0
"""Whose page the published answer judges."""

Row = tuple[int, int, float]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Both parts of a page; whose page, the answer says itself."""
    return [Case(f"part {part}", {"part": part}) for part in PARTS]


def reference(part: int) -> tuple[int, list[Row]]:
    """The verdicts of the sources on the page of seed 0, and what puts each wrong sentence right."""
    return SEED, [
        (one.id, VERDICTS.index(one.verdict), one.answer[0] if one.verdict == "wrong" else 0)
        for one in page(SEED)[part]
    ]


FIND_ERRORS = Exercise(
    id="17.find_errors",
    title="Find the errors",
    task=(
        "Judge the 24 sentences of your page. Put your seed and a table into the function: for each sentence "
        'its number, `"right"`, `"wrong"`, `"depends"` or `"unknown"`, and for those that you call wrong the '
        "answer to the question behind it: a number, or a paper by its arXiv number (`2101.03961`); for the "
        "others 0. Twelve sentences a part, of which nine points are needed: one for each verdict, and one "
        "*less* for each right sentence that you call anything else. Four of the five wrong ones must be "
        "found and put right."
    ),
    entry="find_errors",
    points=8,
    minutes=50,
    difficulty=4,
    # Any page passes, and up to three verdicts may differ: the values themselves are not compared.
    outputs=(
        Output("seed", kind="int", compared=False),
        Output("rows_NC", "NC", compared=False, plain=True),
    ),
    draw=draw,
    reference=reference,
    properties=PROPERTIES,
    misconceptions=READING,
    together=of_the_page,
    crashes=(
        Crash(
            "no_such_verdict",
            'A verdict in the table is none of `"right"`, `"wrong"`, `"depends"`, `"unknown"` (or `"?"`, '
            "while it is open): {name}.",
            pattern=r"^KeyError: (?P<name>'[^']*')",
            hint=2,
        ),
        Crash(
            "no_such_part",
            "The table has no part {name}: it needs the parts 1 and 2, each a list of rows.",
            pattern=r"^KeyError: (?P<name>[12])$",
            hint=3,
        ),
        Crash(
            "row_too_short",
            "A row of the table does not have three entries: a sentence's number, its verdict, and a number, "
            "which is 0 where nothing is to be put right.",
            pattern=r"^ValueError: (not enough|too many) values to unpack",
            hint=3,
        ),
        Crash(
            "no_numbers",
            "The table holds something that is no number: an arXiv number in quotes, a verdict in words "
            "where its code is meant, or rows of different lengths. A paper is written `2101.03961`, "
            "without quotes.",
            pattern=r"^returned a (list|tuple|dict)",
            hint=3,
        ),
    ),
    hints=(
        "Of each sentence: what would one have to count or look up, and is it a sentence about every model, "
        "or about one? Words such as *every*, *only*, *always* are refuted by a single case.",
        "Four verdicts. Wrong: you can name the number or the case. Depends: it holds for one model and not "
        "for another, and the sentence does not say for which. Unknown: nobody outside can look. Right: the "
        "rest, and there are as many as four in twelve.",
        'A row is `(12, "wrong", 6.45)`. The numbers come from `accounting.describe`, `accounting.count` '
        "and `accounting.expert_coverage`, from one line of torch, or from the lesson named by the check. "
        "Papers are in the list above.",
    ),
    notice=(
        "The published table judges the page of seed 0; where one of its numbers can be computed, a test of "
        "the package computes it."
    ),
)
