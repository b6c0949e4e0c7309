"""How people misjudge a page: they believe it, doubt it, or have too few verdicts."""

from collections.abc import Callable

from moe_lessons.exercises.capstone_errors.bank import PAPERS
from moe_lessons.exercises.capstone_errors.marking import OPEN, Mark, marks, of
from moe_lessons.exercises.capstone_errors.sentence import VERDICTS
from moe_lessons.exercises.spec import Case, Misconception, Outputs

MOSTLY = 0.75
"""The share of a kind of sentences that must have got one verdict."""

POWERS = (1e2, 1e3, 1e6, 1e9)


def given(found: list[Mark]) -> tuple[str, ...]:
    """The verdict that most sentences of each kind were given, kind by kind; "?" where there is none."""
    said = []
    for kind in VERDICTS:
        codes = [m.code for m in of(found, kind)]
        most = max(range(OPEN), key=codes.count)
        said.append(VERDICTS[most] if codes and codes.count(most) >= MOSTLY * len(codes) else "?")
    return tuple(said)


def _gives(*pattern: str) -> Callable[[Case, Outputs, Outputs], bool]:
    """Whether right, wrong, depends and unknown sentences were mostly given these verdicts."""
    return lambda case, got, want: given(marks(got)) == pattern


def _accuses(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether half of the right sentences or more are called wrong, and the other kinds are told apart."""
    found = marks(got)
    fine = of(found, "right")
    accused = [m for m in fine if m.code == VERDICTS.index("wrong")]
    return 2 * len(accused) >= len(fine) > 0 and given(found)[1:] == ("wrong", "depends", "unknown")


def _softens(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether two wrong sentences or more are let off, mostly with a "depends", and right ones are known."""
    found = marks(got)
    missed = [m for m in of(found, "wrong") if not m.is_right]
    softened = [m for m in missed if m.code == VERDICTS.index("depends")]
    return given(found)[0] == "right" and len(missed) > 1 and len(softened) >= MOSTLY * len(missed)


def _corrects(test: Callable[[Mark], bool], among: Callable[[Mark], bool]) -> Callable[..., bool]:
    """Whether the verdicts are mostly right, and at least half of some corrections are of a wrong kind."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        found = marks(got)
        pool = [m for m in of(found, "wrong") if m.is_right and among(m)]
        odd = [m for m in pool if not m.is_put_right and test(m)]
        return given(found)[1] == "wrong" and len(pool) > 0 and 2 * len(odd) >= len(pool)

    return detects


def _numeric(m: Mark) -> bool:
    return not m.sentence.paper


def _off(m: Mark) -> bool:
    close = (m.sentence.put_right_by(m.correction * f) for p in POWERS for f in (p, 1 / p))
    return m.correction != 0 and any(close)


def _is_paper(m: Mark) -> bool:
    return any(abs(m.correction - number) < 1e-5 for number in PAPERS)


def _repeats(m: Mark) -> bool:
    return m.correction != 0 and m.correction in m.sentence.quoted and not _off(m) and not _is_paper(m)


READING = (
    Misconception(
        "believer",
        "Nearly everything was found right. A fluent sentence is no evidence: ask of each what one would "
        "have to count or look up, and do that for a few.",
        detects=_gives("right", "right", "right", "right"),
    ),
    Misconception(
        "sceptic",
        "Nearly everything was found wrong. A sceptic is as wrong as a believer: some of these sentences "
        "hold as they stand, and to accuse them costs.",
        detects=_gives("wrong", "wrong", "wrong", "wrong"),
    ),
    Misconception(
        "doubter",
        'Nearly everything "depends". That is safe to say and says nothing. Name what it depends on; where '
        "you "
        "cannot, the sentence is right or wrong.",
        detects=_gives("depends", "depends", "depends", "depends"),
    ),
    Misconception(
        "nobody_knows",
        "Nearly everything was declared unknown. Most of these sentences are about published papers, open "
        "weights or code, and there one can look.",
        detects=_gives("unknown", "unknown", "unknown", "unknown"),
    ),
    Misconception(
        "two_verdicts",
        "What is not right was called wrong throughout. A sentence that holds for one model and not for "
        "another is not wrong, and one that nobody can check is neither.",
        detects=_gives("right", "wrong", "wrong", "wrong"),
        hint=2,
    ),
    Misconception(
        "generous",
        "What could not be refuted was let pass as right. Right means: it holds for every case that the "
        "sentence speaks of, and one can show it.",
        detects=_gives("right", "wrong", "right", "right"),
        hint=2,
    ),
    Misconception(
        "half_truths_are_wrong",
        "Sentences that hold for some models and not for others were called wrong. One counter-example "
        "refutes "
        'an "every" or an "always"; without such a word it shows that something is left unsaid.',
        detects=_gives("right", "wrong", "wrong", "unknown"),
        hint=2,
    ),
    Misconception(
        "half_truths_are_right",
        "Sentences that hold for some models and not for others were let pass. One example is not enough: "
        "look for a model or a paper that says the opposite.",
        detects=_gives("right", "wrong", "right", "unknown"),
        hint=2,
    ),
    Misconception(
        "rumours_are_wrong",
        "What nobody has confirmed was called wrong. To call it wrong you would have to know as well. No "
        "evidence is no evidence against it.",
        detects=_gives("right", "wrong", "depends", "wrong"),
        hint=2,
    ),
    Misconception(
        "rumours_are_right",
        "What nobody has confirmed was let pass. That many pages say it does not make it a fact: whom do "
        "they name as their source?",
        detects=_gives("right", "wrong", "depends", "right"),
        hint=2,
    ),
    Misconception(
        "rumours_depend",
        'What nobody can check was said to "depend". On what? There is one answer, somebody has it, and '
        "nobody "
        "outside does.",
        detects=_gives("right", "wrong", "depends", "depends"),
        hint=2,
    ),
    Misconception(
        "disputes_are_unknown",
        "Where published results differ, the verdict was that nobody knows. One does know: each result holds "
        "for its model, data and measure. It depends on them.",
        detects=_gives("right", "wrong", "unknown", "unknown"),
        hint=2,
    ),
    Misconception(
        "accuses",
        "Sentences that hold as they stand were called wrong, and the other kinds were told apart. A number "
        "that surprises is no error: compute it, or look the paper up, before you accuse.",
        detects=_accuses,
        hint=1,
    ),
    Misconception(
        "softens",
        'Sentences that are wrong were said to "depend". Where one number, one formula or one case refutes '
        "what a sentence says, nothing is left for it to depend on.",
        detects=_softens,
        hint=1,
    ),
    Misconception(
        "not_put_right",
        "The wrong sentences were found, and nothing was put in their place. Each has a question behind it; "
        "its answer, a number or a paper's arXiv number, is the third column.",
        detects=_corrects(lambda m: m.correction == 0, lambda m: True),
        hint=3,
    ),
    Misconception(
        "unit_off",
        "Some corrections have the right digits and are off by a power of ten. Look at the unit in which the "
        "question asks: billions, trillions, per cent, GB.",
        detects=_corrects(_off, _numeric),
        hint=3,
    ),
    Misconception(
        "paper_for_number",
        "Some corrections are arXiv numbers where the question asks how many. A paper shows where the number "
        "can be read; the number itself is wanted.",
        detects=_corrects(_is_paper, _numeric),
        hint=3,
    ),
    Misconception(
        "quoted_back",
        "Some corrections are numbers of the sentence itself, or of its likely misreading. Compute what the "
        "question asks for from the sizes that it gives.",
        detects=_corrects(_repeats, lambda m: _numeric(m) and bool(m.sentence.quoted)),
        hint=3,
    ),
)
