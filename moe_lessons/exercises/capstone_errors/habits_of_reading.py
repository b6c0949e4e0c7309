"""What a part of a page is misjudged by: one habit of reading, told from the verdicts and corrections."""

from collections import Counter
from collections.abc import Sequence

from moe_lessons.exercises.capstone_errors.bank import PAPERS
from moe_lessons.exercises.capstone_errors.marking import (
    OPEN,
    Mark,
    corrections_fail,
    marks,
    of,
    rows_of,
    verdicts_pass,
    wanted,
)
from moe_lessons.exercises.capstone_errors.sentence import VERDICTS
from moe_lessons.exercises.spec import Case, Outputs

MOSTLY = 0.75
"""The share of a kind of sentences that must have got one verdict."""
MOST_OF_WHAT_IS_OFF = 0.6
"""The share of what is off that one kind of slip must explain to be told alone."""
POWERS = (1e2, 1e3, 1e6, 1e9)

PATTERNS: dict[tuple[str, ...], str] = {
    ("right", "right", "right", "right"): "believer",
    ("wrong", "wrong", "wrong", "wrong"): "sceptic",
    ("depends", "depends", "depends", "depends"): "doubter",
    ("unknown", "unknown", "unknown", "unknown"): "nobody_knows",
    ("right", "wrong", "wrong", "wrong"): "two_verdicts",
    ("right", "wrong", "right", "right"): "generous",
    ("right", "wrong", "wrong", "unknown"): "half_truths_are_wrong",
    ("right", "wrong", "right", "unknown"): "half_truths_are_right",
    ("right", "wrong", "depends", "wrong"): "rumours_are_wrong",
    ("right", "wrong", "depends", "right"): "rumours_are_right",
    ("right", "wrong", "depends", "depends"): "rumours_depend",
    ("right", "wrong", "unknown", "unknown"): "disputes_are_unknown",
}
"""Habits by what right, wrong, depends and unknown sentences were mostly called."""
TAKEN_FOR = {
    ("right", "wrong"): "accuses",
    ("right", "depends"): "doubts_the_right",
    ("right", "unknown"): "not_looked_up",
    ("wrong", "right"): "wrong_let_pass",
    ("wrong", "depends"): "softens",
    ("wrong", "unknown"): "not_looked_up",
    ("depends", "right"): "half_truths_are_right",
    ("depends", "wrong"): "half_truths_are_wrong",
    ("depends", "unknown"): "disputes_are_unknown",
    ("unknown", "right"): "rumours_are_right",
    ("unknown", "wrong"): "rumours_are_wrong",
    ("unknown", "depends"): "rumours_depend",
}
"""Habits by a sentence's kind and what it was called."""
CALLED = {"right": "generous", "wrong": "harsh", "depends": "vague", "unknown": "not_looked_up"}
"""Habits of calling sentences of several kinds the same."""


def habit(case: Case, got: Outputs, want: Outputs) -> str:
    """The one name for what is off in a part: its rows, then its verdicts, then its corrections."""
    rows = _of_rows(case, got)
    if rows:
        return rows
    if not verdicts_pass(case, got, want):
        return _of_verdicts(marks(got))
    return _of_corrections(marks(got)) if corrections_fail(case, got, want) else ""


def of_the_page(parts: Sequence[tuple[Case, Outputs, Outputs]]) -> str:
    """The one name for what is off in all parts that do not pass, where each of them has another habit."""
    rows = [_of_rows(case, got) for case, got, _ in parts]
    if any(rows):
        return next(filter(None, rows))
    judged = [mark for part in parts if not verdicts_pass(*part) for mark in marks(part[1])]
    corrected = [mark for part in parts if corrections_fail(*part) for mark in marks(part[1])]
    return _of_verdicts(judged) if judged else _of_corrections(corrected)


def _of_rows(case: Case, got: Outputs) -> str:
    asked, found = set(wanted(case, got) or ()), [int(id) for id in rows_of(got)[:, 0]]
    if not asked or not found:
        return ""
    if 2 * len(set(found) - asked) > len(set(found)):
        return "other_page"
    if set(found) != asked or len(found) != len(asked):
        return "rows_missing"
    return "still_open" if any(m.code == OPEN for m in marks(got)) else ""


def _of_verdicts(found: list[Mark]) -> str:
    off = [(m.sentence.verdict, VERDICTS[m.code]) for m in found if not m.is_right and m.code < OPEN]
    most, said = MOST_OF_WHAT_IS_OFF * len(off), dict(zip(VERDICTS, given(found), strict=True))
    pattern = PATTERNS.get(tuple(said.values()), "")
    if pattern and sum(said[kind] == called for kind, called in off) >= most:
        return pattern
    for names in (TAKEN_FOR, {pair: CALLED[pair[1]] for pair in off}):
        counted = Counter(names[pair] for pair in off)
        name = max(counted, key=counted.__getitem__, default="")
        if name and counted[name] >= most:
            return name
    return "all_directions" if off else ""


def given(found: list[Mark]) -> tuple[str, ...]:
    """The verdict that most sentences of each kind were given, kind by kind; "?" where there is none."""
    said = []
    for kind in VERDICTS:
        codes = [m.code for m in of(found, kind)]
        most = max(range(OPEN), key=codes.count)
        said.append(VERDICTS[most] if codes and codes.count(most) >= MOSTLY * len(codes) else "?")
    return tuple(said)


def _of_corrections(found: list[Mark]) -> str:
    """What most corrections that are off have in common."""
    off = [m for m in of(found, "wrong") if m.is_right and not m.is_put_right]
    counted = Counter(_kind(m) for m in off)
    name = max(counted, key=counted.__getitem__, default="")
    return name if counted[name] >= MOSTLY * len(off) else "other_answer"


def _kind(m: Mark) -> str:
    """What is wrong with one correction."""
    if m.correction == 0 and 0 not in m.sentence.quoted:
        return "not_put_right"
    if not m.sentence.paper and any(abs(m.correction - number) < 1e-5 for number in PAPERS):
        return "paper_for_number"
    if any(m.sentence.put_right_by(m.correction * f) for p in POWERS for f in (p, 1 / p)):
        return "unit_off"
    if m.correction in m.sentence.quoted:
        return "quoted_back"
    return "rounded_off" if any(_cut(answer, m) for answer in m.sentence.answer) else "other_answer"


def _cut(answer: float, m: Mark) -> bool:
    """Whether a number was rounded too far, or an arXiv number written without its point or its zeros."""
    if not m.sentence.paper:
        return m.correction in (int(answer), *(float(f"{answer:.{n}g}") for n in (1, 2)))
    month, number = f"{answer:.5f}".split(".")
    return m.correction in (float(month), float(month + number), float(f"{month}.{int(number)}"))
