"""Judge an answer: properties, equality with the reference, and the name of the mistake.

``judge`` needs only a way to run a request (in this process, or in a worker), so the notebook and the grader
share it. It holds the expected values; the code that touches the answer (``drivers``) never sees them.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moe_lessons.exercises import drivers
from moe_lessons.exercises.findings import Finding, Trial, look, named, request, same, trial
from moe_lessons.exercises.spec import Case, Exercise, Misconception

Run = Callable[[drivers.Request], drivers.Reply]


@dataclass(frozen=True)
class Report:
    """What came of an answer: ``status`` is "passed", "failed" or "not attempted"."""

    exercise: Exercise
    status: str
    findings: tuple[Finding, ...] = ()
    misconception: Misconception | None = None

    @property
    def points(self) -> int:
        """Points earned: all of them or none."""
        return self.exercise.points if self.status == "passed" else 0

    @property
    def line(self) -> str:
        """One line that is the same on every machine."""
        exercise = self.exercise
        if self.status == "passed":
            return f"✔ {exercise.id}: passed, {exercise.points} of {exercise.points} points"
        if self.status == "not attempted":
            return f"○ {exercise.id}: not attempted yet"
        return f"✘ {exercise.id}: not right yet"


def judge(exercise: Exercise, run: Run, *, seed: int = 0) -> Report:
    """Judge the answer behind ``run`` on the cases that ``seed`` draws.

    Parameters
    ----------
    exercise : Exercise
    run : callable
        Takes a ``drivers.Request`` and returns a ``drivers.Reply``, such as ``local(function)``.
    seed : int
        Decides the drawn inputs; the notebook keeps 0, the grader draws one per run.

    Returns
    -------
    Report
    """
    trials: list[Trial] = []
    for case in draw(exercise, seed):
        reply = run(request(exercise, case))
        if not trials and isinstance(reply, drivers.Failure) and reply.kind == "not attempted":
            return Report(exercise, "not attempted")
        trials.append(trial(exercise, case, reply))
        if isinstance(reply, drivers.Failure) and reply.kind == "interrupted":
            break  # the process may be gone
    findings = look(exercise, trials)
    if all(finding.passed for finding in findings):
        return Report(exercise, "passed", findings)
    found = recognise(exercise, trials)
    return Report(exercise, "failed", findings, found[0] if found else None)


def draw(exercise: Exercise, seed: int) -> list[Case]:
    """The cases of an exercise for a seed; exercises draw different numbers from the same seed."""
    return list(exercise.draw(np.random.default_rng([seed, zlib.crc32(exercise.id.encode())])))


def local(answer: Callable[..., Any]) -> Run:
    """Run an answer in this process."""
    return lambda req: drivers.run(answer, req)


def recognise(exercise: Exercise, trials: Sequence[Trial]) -> list[Misconception]:
    """Every misconception whose outcome agrees with the answer on all cases, in the spec's order.

    An answer that fails on some cases, as no misconception does, is recognised by the others: where it ran on
    half of the cases or more, gave a wrong value on one, and a single misconception gives the same values.
    """
    found = [m for m in exercise.misconceptions if _matches(exercise, m, trials)]
    ran = [t for t in trials if not isinstance(t.reply, drivers.Failure)]
    if found or len(ran) == len(trials) or 2 * len(ran) < len(trials):
        return found
    if not any(finding.passed is False for finding in look(exercise, ran)):
        return []  # right wherever it ran: only the failure is a mistake
    found = [m for m in exercise.misconceptions if _matches(exercise, m, ran)]
    return found if len(found) == 1 else []


def _matches(exercise: Exercise, misconception: Misconception, trials: Sequence[Trial]) -> bool:
    if misconception.detects is not None:
        try:
            return all(t.got is not None and misconception.detects(t.case, t.got, t.want) for t in trials)
        except Exception:  # values of a shape, a kind or a size that it was not written for
            return False
    assert misconception.wrong is not None
    named_once = False
    for t in trials:
        reply = drivers.run(misconception.wrong, request(exercise, t.case))
        wrong = named(exercise, reply)
        if wrong is None or t.got is None:
            # Some mistakes crash on some inputs; then the answer must crash on the same ones.
            if wrong is not t.got:
                return False
            continue
        if not all(same(o, t.got[o.name], wrong[o.name]) for o in exercise.outputs):
            return False
        if _dtypes(exercise, t.reply) != _dtypes(exercise, reply):
            return False
        named_once = True
    return named_once


def _dtypes(exercise: Exercise, reply: drivers.Reply) -> list[str]:
    """The dtypes of those values whose dtype is part of the answer."""
    assert not isinstance(reply, drivers.Failure)
    return [v.dtype for o, v in zip(exercise.outputs, reply, strict=True) if o.dtype is not None]
