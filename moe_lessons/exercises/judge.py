"""Judge an answer: properties, equality with the reference, and the name of the mistake.

``judge`` needs only a way to run a request (in this process, or in a worker), so the notebook and the grader
share it. It holds the expected values; the code that touches the answer (``drivers``) never sees them.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from moe_lessons.exercises import drivers
from moe_lessons.exercises.agreement import agreement
from moe_lessons.exercises.crashes import name_crash
from moe_lessons.exercises.everywhere import anywhere
from moe_lessons.exercises.findings import Finding, Trial, look, request, trial
from moe_lessons.exercises.habits import Run, habits, no_gradient
from moe_lessons.exercises.recognise import recognise
from moe_lessons.exercises.spec import Case, Exercise, Mistake


@dataclass(frozen=True)
class Report:
    """What came of an answer: ``status`` is "passed", "failed" or "not attempted"."""

    exercise: Exercise
    status: str
    findings: tuple[Finding, ...] = ()
    misconception: Mistake | None = None
    observation: str = ""
    """Where no mistake has a name: what of the answer agrees with the right one."""

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
    if not all(finding.passed for finding in findings):
        mistake = name(exercise, trials)
        return Report(exercise, "failed", findings, mistake, "" if mistake else agreement(exercise, trials))
    more, mistake = habits(exercise, run, trials)
    return Report(exercise, "failed" if mistake else "passed", (*findings, *more), mistake)


def name(exercise: Exercise, trials: Sequence[Trial]) -> Mistake | None:
    """The name of what is wrong: a misconception's, or one that any exercise knows."""
    found = recognise(exercise, trials)
    if found:
        return found[0]
    told = _together(exercise, trials) or no_gradient(exercise, trials) or anywhere(exercise, trials)
    return told or name_crash(exercise, trials)


def _together(exercise: Exercise, trials: Sequence[Trial]) -> Mistake | None:
    """The misconception that all cases together tell, where the exercise can say so and all of them ran."""
    seen = [(t.case, t.got, t.want) for t in trials if t.got is not None]
    if exercise.together is None or len(seen) < len(trials):
        return None
    try:
        id = exercise.together(seen)
    except Exception:  # values of a shape, a kind or a size that it was not written for
        return None
    return next((m for m in exercise.misconceptions if m.id == id), None)


def draw(exercise: Exercise, seed: int) -> list[Case]:
    """The cases for a seed, limiting ones last; exercises draw different numbers from the same seed."""
    return [_copy(case) for case in _drawn(exercise.draw, exercise.id, seed)]


@lru_cache(maxsize=128)
def _drawn(draw: Callable[[np.random.Generator], Sequence[Case]], id: str, seed: int) -> tuple[Case, ...]:
    """Drawn once for all answers of a class: some draws are made again until they tell mistakes apart."""
    cases = draw(np.random.default_rng([seed, zlib.crc32(id.encode())]))
    return tuple(sorted(cases, key=lambda case: case.is_edge))


def _copy(case: Case) -> Case:
    """A case with arrays of its own, so that nothing done to it reaches the next answer's."""
    args = {n: a.copy(order="K") if isinstance(a, np.ndarray) else a for n, a in case.args.items()}
    return replace(case, args=args)


def local(answer: Callable[..., Any]) -> Run:
    """Run an answer in this process."""
    return lambda req: drivers.run(answer, req)
