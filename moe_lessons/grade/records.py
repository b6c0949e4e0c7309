"""What came of grading, as plain data: a class, its learners, their notebooks and answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import moe_lessons

_MOST_WARNINGS, _LONGEST_WARNING = 100, 500
"""What is said about one learner's files, however many and odd they are."""

PASSED, FAILED, NOT_ATTEMPTED = "passed", "failed", "not attempted"
NOT_FOUND = "not found"
"""The notebook of the lesson is there, the exercise's answer cell is not."""
NOT_HANDED_IN = "not handed in"
"""No readable notebook of the lesson is there."""
CANNOT_RUN = "cannot run here"
"""The exercise needs what the grading machine lacks; it counts for no one, and the results say so."""
FAULT = "grader fault"
"""The grader failed, not the answer; no points until it is graded again."""


@dataclass(frozen=True)
class Isolation:
    """What stood between answers and the grader: a kind for programs, a note for people."""

    kind: str
    note: str

    @property
    def sandboxed(self) -> bool:
        """Whether learner code was kept from files, network and other processes."""
        return self.kind == "bubblewrap"


UNSAFE = Isolation(
    "process",
    "NOT SANDBOXED (--unsafe-no-sandbox): answers ran as processes of the grader's own user, with limits on "
    "time and memory only. Trust these grades as far as you trust everyone who handed in.",
)
OWN = Isolation("process", "Your own code, on your own machine: no sandbox, and the score is advisory.")


@dataclass(frozen=True)
class Limits:
    """Seconds that one call of an answer may take, and all of a learner's answers to a lesson together."""

    call: float = 10.0
    notebook: float = 120.0


@dataclass(frozen=True)
class Notebook:
    """One file that a learner handed in: its answers by exercise id, or the ``problem`` that kept us out."""

    file: str
    lesson: str | None = None
    """Id of the lesson that it belongs to, such as ``"01_router"``."""
    answers: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    problem: str | None = None
    beside: Mapping[str, str] = field(default_factory=dict)
    """What answers need of the notebook's other cells."""
    looks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What answers look like (see ``likeness``)."""
    stubs: tuple[str, ...] = ()
    """Exercises of which only the untouched stub is there."""


@dataclass(frozen=True)
class Submission:
    """A learner with what they handed in; ``alone`` where a single file stands for the learner."""

    learner: str
    notebooks: tuple[Notebook, ...]
    alone: bool
    noted: tuple[str, ...] = ()
    """Warnings from an earlier reading, where the files themselves are not at hand."""

    @property
    def answers(self) -> dict[str, Notebook]:
        """Whose answer to grade, by exercise: where two notebooks have one, the last by file name counts.

        A notebook in which the exercise was not touched counts only where there is no other.
        """
        found: dict[str, Notebook] = {}
        for notebook in self.notebooks:
            for id in notebook.answers:
                if id not in notebook.stubs or id not in found or id in found[id].stubs:
                    found[id] = notebook
        return found

    @property
    def warnings(self) -> list[str]:
        """What was odd about the files, one sentence each."""
        if self.noted:
            return list(self.noted)
        found = [f"{n.file}: {n.problem}" for n in self.notebooks if n.problem]
        found += [f"{n.file}: {warning}" for n in self.notebooks for warning in n.warnings]
        doubled: dict[tuple[str, ...], list[str]] = {}
        for id in self.answers:
            files = [n.file for n in self.notebooks if id in n.answers and id not in n.stubs]
            if len(files) > 1:
                doubled.setdefault(tuple(files), []).append(id)
        for among, ids in doubled.items():
            some = ", ".join(among if len(among) < 5 else [*among[:3], f"{len(among) - 3} more"])
            answered = f"{', '.join(ids)} {'is' if len(ids) == 1 else 'are'} answered in {some}"
            found.append(f"{answered}; {among[-1]} counts")
        more = len(found) - _MOST_WARNINGS
        found = [f"{one[:_LONGEST_WARNING]}…" if len(one) > _LONGEST_WARNING else one for one in found]
        return [*found[:_MOST_WARNINGS], f"and {more} more such things"] if more > 0 else found

    @property
    def lessons(self) -> set[str]:
        """Numbers of the lessons that anything handed in belongs to."""
        named = {notebook.lesson.split("_")[0] for notebook in self.notebooks if notebook.lesson}
        return named | {id.split(".")[0] for id in self.answers}


@dataclass(frozen=True)
class Verdict:
    """What the trusted kernel found about one answer."""

    learner: int
    exercise: str
    status: str
    line: str = ""
    findings: tuple[tuple[str, bool | None, str], ...] = ()
    """Name, whether it passed (None: not reached), detail."""
    misconception: tuple[str, str, int] | None = None
    """Id, message, and the hint that helps (0: none)."""
    seconds: float = 0.0
    observation: str = ""
    """Where the mistake has no name: what of the answer is right."""

    @property
    def problem(self) -> str | None:
        """The finding that failed, in one line; None if none did."""
        return next((f"{name}: {detail}" for name, ok, detail in self.findings if ok is False), None)


@dataclass(frozen=True)
class Outcome:
    """One exercise of one learner with the points that it earned."""

    exercise: str
    title: str
    points: int
    of: int
    verdict: Verdict
    looks: tuple[str, ...] = ()
    """What the answer looks like (see ``likeness``)."""


@dataclass(frozen=True)
class Late:
    """Late work, as an instructor states it: a lesson (or all: ""), days, and percent of its points."""

    lesson: str
    days: float
    percent: float


@dataclass(frozen=True)
class Grade:
    """One learner's outcomes, in teaching order, with what an instructor adds to them."""

    submission: Submission
    outcomes: tuple[Outcome, ...]
    late: tuple[Late, ...] = ()
    comments: dict[str, str] = field(default_factory=dict)
    """By exercise; "" for all of it."""

    @property
    def earned(self) -> int:
        """Points that the answers earned."""
        return sum(outcome.points for outcome in self.outcomes)

    @property
    def deducted(self) -> float:
        """Points lost for late work."""
        return round(self.earned - sum(self.after_late(outcome) for outcome in self.outcomes), 2)

    @property
    def points(self) -> float:
        """Points earned, less what late work costs; whole where nothing is deducted."""
        return round(self.earned - self.deducted, 2) if self.deducted else self.earned

    def after_late(self, outcome: Outcome) -> float:
        """Points of one exercise, less what late work costs."""
        number = outcome.exercise.split(".")[0]
        percent = min(100.0, sum(one.percent for one in self.late if one.lesson in ("", number)))
        return outcome.points * (1 - percent / 100) if percent else outcome.points

    @property
    def of(self) -> int:
        """Points that could be earned."""
        return sum(outcome.of for outcome in self.outcomes)


@dataclass(frozen=True)
class ClassGrades:
    """A whole run: the grades and what is needed to repeat it."""

    grades: tuple[Grade, ...]
    seed: int
    limits: Limits
    isolation: Isolation
    lessons: tuple[str, ...]
    seconds: float = 0.0
    class_size: int = 0
    """Learners in the whole class, of which this may be a part."""
    course: str = moe_lessons.__version__
    """The course's version."""

    @property
    def faults(self) -> list[tuple[str, str]]:
        """Learner and exercise wherever the grader itself failed."""
        return [
            (grade.submission.learner, outcome.exercise)
            for grade in self.grades
            for outcome in grade.outcomes
            if outcome.verdict.status == FAULT
        ]

    @property
    def not_counted(self) -> list[str]:
        """Exercises that this machine could not run, which count for no one."""
        found = (o for grade in self.grades for o in grade.outcomes if o.verdict.status == CANNOT_RUN)
        return list(dict.fromkeys(outcome.exercise for outcome in found))

    @property
    def not_counted_note(self) -> str:
        """That in one sentence; empty where everything could be run."""
        if not self.not_counted:
            return ""
        return f"Not counted, for lack of Triton, which needs Linux: {', '.join(self.not_counted)}."


class RefusedError(Exception):
    """The command was given something that cannot be graded; the message is one line for its user."""
