"""Marks a part of a page: what a learner's rows say of each sentence, and what is held against that."""

from dataclasses import dataclass

import numpy as np

from moe_lessons.exercises.capstone_errors.bank import BY_ID, page
from moe_lessons.exercises.capstone_errors.sentence import VERDICTS, Sentence
from moe_lessons.exercises.spec import Case, Outputs, Property

OPEN = len(VERDICTS)
"""The code of a sentence that is still to be judged."""

POINTS, MOST_ACCUSED, FEWEST_WRONG = 9, 1, 4


@dataclass(frozen=True)
class Mark:
    """A sentence with the verdict that it was given, a place in `VERDICTS` or `OPEN`, and the correction."""

    sentence: Sentence
    code: int
    correction: float

    @property
    def is_right(self) -> bool:
        """Whether the verdict is that of the sources."""
        return self.code < OPEN and VERDICTS[self.code] == self.sentence.verdict

    @property
    def is_put_right(self) -> bool:
        """Whether a wrong sentence was found, and what was given puts it right."""
        wrong = self.sentence.verdict == "wrong" and self.is_right
        return wrong and self.sentence.put_right_by(self.correction)


def rows_of(got: Outputs) -> np.ndarray:
    """The table that an answer returned, [N, 3]; an empty one if it is no such table."""
    rows_NC = np.asarray(got["rows_NC"], dtype=np.float64)
    return rows_NC if rows_NC.ndim == 2 and rows_NC.shape[1] == 3 else np.zeros((0, 3))


def marks(got: Outputs) -> list[Mark]:
    """The rows of an answer that are about sentences there are."""
    known = [row for row in rows_of(got) if row[0] in BY_ID and row[1] in range(OPEN + 1)]
    return [Mark(BY_ID[int(id)], int(code), float(correction)) for id, code, correction in known]


def of(found: list[Mark], verdict: str) -> list[Mark]:
    """Those whose right verdict this is."""
    return [mark for mark in found if mark.sentence.verdict == verdict]


def wanted(case: Case, got: Outputs) -> tuple[int, ...] | None:
    """The sentences of the part that was asked for, by the answer's own seed; None if that is no seed."""
    try:
        return tuple(one.id for one in page(float(got["seed"]))[case.args["part"]])  # type: ignore[arg-type, index]
    except (ValueError, OverflowError, TypeError):
        return None


def score(found: list[Mark]) -> int:
    """A point for each right verdict, and one less for each right sentence that was called anything else."""
    accused = [m for m in of(found, "right") if m.code < OPEN and not m.is_right]
    return sum(m.is_right for m in found) - len(accused)


def _page(case: Case, got: Outputs, want: Outputs) -> str | None:
    sentences = wanted(case, got)
    if sentences is None:
        return f"seed = {got['seed']}: a whole number from 0 on is needed"
    ids = [int(id) if np.isfinite(id) else -1 for id in rows_of(got)[:, 0]]
    where = f"part {case.args['part']} of the page of seed {int(got['seed'])}"
    for id in sentences:
        if ids.count(id) != 1:
            return f"{where} has sentence {id}, which the table has {ids.count(id)} times"
    others = [id for id in ids if id not in sentences]
    return f"sentence {others[0]} is not in {where}" if others else None


def _verdicts(case: Case, got: Outputs, want: Outputs) -> str | None:
    codes = rows_of(got)[:, 1]
    if not np.isin(codes, range(OPEN + 1)).all():
        return f"the code {codes[~np.isin(codes, range(OPEN + 1))][0]:g} stands for no verdict"
    still = [m.sentence.id for m in marks(got) if m.code == OPEN]
    if still:
        return f"{len(still)} of {len(codes)} still have a question mark, sentence {still[0]} among them"
    return None


def _accused(case: Case, got: Outputs, want: Outputs) -> str | None:
    fine = of(marks(got), "right")
    accused = [m for m in fine if not m.is_right]
    if len(accused) > MOST_ACCUSED:
        return (
            f"{len(accused)} of {len(fine)} right sentences were called something else; {_belongs(accused)}"
        )
    return None


def _found(case: Case, got: Outputs, want: Outputs) -> str | None:
    wrong = of(marks(got), "wrong")
    missed = [m for m in wrong if not m.is_right]
    if len(wrong) - len(missed) < FEWEST_WRONG:
        return f"{len(wrong) - len(missed)} of {len(wrong)} were found; {_belongs(missed)}"
    return None


def _kinds(case: Case, got: Outputs, want: Outputs) -> str | None:
    for verdict, what in (("depends", "depend on something"), ("unknown", "nobody outside can settle")):
        kind = of(marks(got), verdict)
        missed = [m for m in kind if not m.is_right]
        if 2 * len(missed) > len(kind):
            found = f"{len(kind) - len(missed)} of {len(kind)} were found"
            return f"of those that {what}, {found}; {_belongs(missed)}"
    return None


def _score(case: Case, got: Outputs, want: Outputs) -> str | None:
    found = marks(got)
    if score(found) < POINTS:
        missed = [m for m in found if not m.is_right]
        return f"{score(found)} points; {_belongs(missed)}"
    return None


def _corrected(case: Case, got: Outputs, want: Outputs) -> str | None:
    wrong = of(marks(got), "wrong")
    left = [m for m in wrong if m.is_right and not m.is_put_right]
    n = sum(m.is_put_right for m in wrong)
    if n < FEWEST_WRONG and left:
        kind = "the paper" if left[0].sentence.paper else "the number"
        first = f"{kind} for sentence {left[0].sentence.id} is not {left[0].correction:.12g}"
        return f"{n} of {len(wrong)} are; {first}"
    return None


def _belongs(missed: list[Mark]) -> str:
    """Where to look again, without saying at which sentence."""
    lessons = sorted({m.sentence.lesson for m in missed})
    return f"look again at {'lesson' if len(lessons) == 1 else 'lessons'} {', '.join(lessons)}"


def verdicts_pass(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether nothing but corrections can be wanting."""
    return not any(test(case, got, want) for test in (_page, _verdicts, _accused, _found, _kinds, _score))


def corrections_fail(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether too few of the wrong sentences that were found are put right."""
    return _corrected(case, got, want) is not None


PROPERTIES = (
    Property("your page's sentences, each once", _page, early=True),
    Property("a verdict for each", _verdicts),
    Property("at most one right sentence called anything else", _accused),
    Property("four of five wrong ones found", _found),
    Property("half of the other kinds found", _kinds),
    Property("nine points", _score),
    Property("four of five put right", _corrected),
)
