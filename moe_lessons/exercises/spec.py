"""The exercise contract: plain data that the notebook, the tests and the grader all read.

An answer is a function. It is called with the arrays and numbers of a ``Case`` and returns arrays, numbers or
text, so the same spec serves in the learner's own process and across a process boundary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:  # a worker of the grader has this module and knows no puzzles
    from moe_lessons.exercises.puzzle import Puzzle

Plain = np.ndarray | int | float | bool | str | None
Outputs = Mapping[str, Any]
"""What an answer returned, by output name: float64, int64 or bool arrays, or text."""


@dataclass(frozen=True)
class Case:
    """One set of inputs; ``name`` is shown when the answer differs on it."""

    name: str
    args: Mapping[str, Plain]
    casts: Mapping[str, str] = field(default_factory=dict)
    """Argument name to torch dtype name, for dtypes that numpy lacks (``{"hidden_TD": "bfloat16"}``)."""
    edge: bool = False
    """A limiting case (K = E, an even load): judged after the ordinary ones, and told as one."""

    @property
    def is_edge(self) -> bool:
        """Marked as an edge, or with an array that holds nothing (T = 0)."""
        return self.edge or any(isinstance(arg, np.ndarray) and arg.size == 0 for arg in self.args.values())


@dataclass(frozen=True)
class Output:
    """One returned value: its name, its axes (one letter each; empty for a number) and how it is compared."""

    name: str
    axes: str = ""
    kind: Literal["float", "int", "bool", "text"] = "float"
    dtype: str | None = None
    """Required torch dtype name, where the dtype is part of the answer (an fp32 router)."""
    rtol: float = 1e-4
    atol: float = 1e-5
    plain: bool | None = None
    """Plain numbers are asked for: lists and whole floats do too. By default where there is no axis."""
    compared: bool = True
    """False where many answers are right: then the exercise's properties judge it."""

    @property
    def is_plain(self) -> bool:
        """Whether any kind of number will do, in any kind of row."""
        return not self.axes if self.plain is None else self.plain


@dataclass(frozen=True)
class Property:
    """A fact that must hold for a right answer; ``test`` returns None, or a sentence on what is wrong."""

    name: str
    test: Callable[[Case, Outputs, Outputs], str | None]
    early: bool = False
    """Tested before shapes and dtypes are looked at, where it says more than they would."""


@dataclass(frozen=True)
class Mistake:
    """What a learner is told about an answer that is not right: what happened, why it matters, what to do."""

    id: str
    message: str
    hint: int = field(default=1, kw_only=True)
    """Which of the three hints helps; 0 where none is about this."""


@dataclass(frozen=True)
class Misconception(Mistake):
    """A mistake with a name: what someone who makes it computes, and what to tell them.

    ``wrong`` has the signature of the reference. An answer is recognised when it agrees with ``wrong``
    wherever it is not right (see ``recognise``). ``also`` are other outcomes that the same mistake can have;
    an answer agrees with one of them, not now with one and now with another. Where there is no telling what
    the outcome is, give ``detects``.
    """

    wrong: Callable[..., Any] | None = None
    detects: Callable[[Case, Outputs, Outputs], bool] | None = None
    also: tuple[Callable[..., Any], ...] = ()

    def __post_init__(self) -> None:
        if (self.wrong is None) == (self.detects is None):
            raise ValueError(f"misconception {self.id!r}: give either wrong or detects")

    @property
    def outcomes(self) -> tuple["Misconception", ...]:
        """The mistake with each of its outcomes by itself."""
        alone = replace(self, also=())
        return (alone, *(replace(alone, wrong=other) for other in self.also))


@dataclass(frozen=True)
class Crash(Mistake):
    """A mistake that ends in an error: ``pattern`` is searched in the error's first line (type and message).

    What an exercise itself lists may also be a return that is no answer at all ("returned None; ...").

    ``line``, if given, must be found in the learner's own line that failed as well. ``edge`` tells crashes
    on ordinary inputs (False) from those on limiting cases alone (True). ``{name}`` in ``message`` stands
    for what the group ``(?P<name>...)`` of the pattern or of ``line`` found, ``{sizes}`` for the case's.
    """

    pattern: str = field(kw_only=True)
    line: str = field(default="", kw_only=True)
    edge: bool | None = field(default=None, kw_only=True)


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One graded exercise; all of it is read-only data and pure functions."""

    id: str
    """Lesson number and name, such as ``"01.router_logits"``."""
    title: str
    task: str
    """What to do, one or two sentences of Markdown for the card."""
    entry: str
    """Name of the function that the learner defines."""
    points: int
    minutes: int
    difficulty: int
    """1 (a warm-up) to 5."""
    outputs: tuple[Output, ...]
    draw: Callable[[np.random.Generator], Sequence[Case]]
    reference: Callable[..., Any]
    misconceptions: tuple[Misconception, ...]
    hints: tuple[str, str, str]
    notice: str = ""
    """After a pass: one sentence on what to see in the published answer, or what production code does."""
    properties: tuple[Property, ...] = ()
    together: Callable[[Sequence[tuple[Case, Outputs, Outputs]]], str] | None = None
    """The id of a misconception that all cases together tell (each with what came and what is right), or "":
    asked where no misconception explains each case by itself."""
    crashes: tuple[Crash, ...] = ()
    """Errors that a mistake of this exercise ends in; they come before the general ones in ``crashes``."""
    gradient: Literal["needed", "ignored"] = "needed"
    """Whether a gradient must reach the arguments that it reaches in the reference (see ``habits``)."""
    most_work: float | None = None
    """How many times the matrix products of the reference, and its multiply-adds, an answer may make."""
    may_change: tuple[str, ...] = ()
    """Arguments that an answer may write to."""
    forbidden: tuple[str, ...] = ("moe_lessons",)
    """Modules that an answer may not use: the exercise asks for the learner's own code."""
    driver: str = "call"
    options: Mapping[str, Any] = field(default_factory=dict)
    canonical: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """Brings equivalent answers to one form before comparing (such as sorting the chosen experts by id)."""
    ties: Callable[[Case, dict[str, Any]], dict[str, Any]] | None = None
    """After ``canonical``: makes choices one that a tie in the case's inputs leaves open."""

    def __post_init__(self) -> None:
        if not any(output.compared for output in self.outputs):
            told = [m.id for m in self.misconceptions if m.wrong is not None]
            if told or not self.properties:
                raise ValueError(
                    f"exercise {self.id!r} compares nothing: give properties; these must detect: {told}"
                )

    @property
    def lesson(self) -> str:
        """The lesson's two-digit number."""
        return self.id.split(".")[0]


@dataclass(frozen=True)
class Choice:
    """One option of a question, with what to say to someone who picks it."""

    text: str
    feedback: str
    right: bool = False


@dataclass(frozen=True)
class Quiz:
    """A question with options, or a numeric one (``answer`` and ``rtol``; ``feedback`` explains it)."""

    id: str
    question: str
    choices: tuple[Choice, ...] = ()
    answer: float | None = None
    rtol: float = 0.01
    feedback: str = ""

    def __post_init__(self) -> None:
        if self.choices and sum(choice.right for choice in self.choices) != 1:
            raise ValueError(f"quiz {self.id!r}: exactly one choice must be right")
        if bool(self.choices) == (self.answer is not None):
            raise ValueError(f"quiz {self.id!r}: give either choices or a numeric answer")


@dataclass(frozen=True)
class Prediction:
    """A question to commit to before an experiment; ``truth`` is the option that the experiment shows."""

    id: str
    question: str
    options: tuple[str, ...]
    truth: int
    because: str


@dataclass(frozen=True)
class Claim:
    """A sentence that explainers of the subject make, and what the primary sources say about it."""

    id: str
    said: str
    """The claim, in our words."""
    verdict: Literal["correct", "imprecise", "outdated", "wrong", "contested", "unconfirmable"]
    truth: str
    source: str
    """Where the truth was read, such as ``"arXiv 2101.03961, eq. 2"``."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Everything about a lesson that is not its prose."""

    id: str
    """File name without its ending, such as ``"01_router"``."""
    title: str
    question: str
    """The one question that the lesson answers."""
    goals: tuple[str, ...]
    minutes: int
    prerequisites: tuple[str, ...]
    exercises: tuple[Exercise, ...]
    quizzes: tuple[Quiz, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    puzzles: "tuple[Puzzle, ...]" = ()
    """Warm-ups of one line before a steep exercise, not graded."""
    claims: tuple[Claim, ...] = ()
    """The claims that the lesson settles, each by an experiment in a cell."""
    sources: tuple[str, ...] = ()
    """What to read, as Markdown list items."""

    @property
    def number(self) -> str:
        """The lesson's two-digit number."""
        return self.id.split("_")[0]

    @property
    def points(self) -> int:
        """Points of all its exercises."""
        return sum(exercise.points for exercise in self.exercises)
