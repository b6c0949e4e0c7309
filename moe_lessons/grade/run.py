"""Grade a class: run its answers in batches, give points, and never let one learner cost another theirs."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from moe_lessons.exercises import registry
from moe_lessons.exercises.spec import Exercise
from moe_lessons.grade import nbval_run, notebook
from moe_lessons.grade.nbval_run import Key
from moe_lessons.grade.notebook import Answer
from moe_lessons.grade.records import (
    FAULT,
    NOT_FOUND,
    NOT_HANDED_IN,
    PASSED,
    ClassGrades,
    Grade,
    Limits,
    Outcome,
    RefusedError,
    Submission,
    Verdict,
)

BATCH = 20
"""Learners that share one grading notebook; their answers do not share a process."""

Progress = Callable[[int, int], None]
"""Told how many of how many answers are judged."""


def grade_class(
    submissions: Sequence[Submission],
    *,
    seed: int,
    limits: Limits | None = None,
    lessons: Sequence[str] = (),
    progress: Progress = lambda done, total: None,
    batch: int = BATCH,
) -> ClassGrades:
    """Grade all answers of all submissions.

    Parameters
    ----------
    submissions : sequence of Submission
    seed : int
        Decides the drawn inputs, the same for everyone.
    limits : Limits, optional
    lessons : sequence of str
        Numbers of the lessons that count. By default, all that anyone with a folder handed in; a learner who
        is a single notebook is graded over its lesson.
    progress : callable
        Called with the number of answers judged and their total.
    batch : int
        Learners in one grading notebook.

    Returns
    -------
    ClassGrades
    """
    began = time.monotonic()
    limits = limits or Limits()
    asked = [_asked(submission, submissions, lessons) for submission in submissions]
    answers = [
        [
            Answer(place, exercise.id, *_answer(submission, exercise.id))
            for exercise in exercises
            if exercise.id in submission.answers
        ]
        for place, (submission, exercises) in enumerate(zip(submissions, asked, strict=True))
    ]
    verdicts = _judge(answers, seed, limits, progress, batch)
    grades = tuple(
        Grade(submission, tuple(_outcome(place, submission, exercise, verdicts) for exercise in exercises))
        for place, (submission, exercises) in enumerate(zip(submissions, asked, strict=True))
    )
    counted = sorted({exercise.lesson for exercises in asked for exercise in exercises})
    return ClassGrades(grades, seed, limits, tuple(counted), round(time.monotonic() - began, 2))


def _asked(
    submission: Submission, submissions: Sequence[Submission], lessons: Sequence[str]
) -> list[Exercise]:
    numbers = set(lessons)
    if not numbers and submission.alone:
        numbers = submission.lessons
    if not numbers:
        shared = [other for other in submissions if not other.alone] or submissions
        numbers = {number for other in shared for number in other.lessons}
        numbers = numbers or {number for other in submissions for number in other.lessons}
    known = {lesson.number: lesson for lesson in registry.lessons()}
    for number in numbers - set(known):
        raise RefusedError(f"no lesson {number!r}; there are {', '.join(known)}")
    return [exercise for number in sorted(numbers) for exercise in known[number].exercises]


def _answer(submission: Submission, id: str) -> tuple[str, str]:
    found, code = submission.answers[id]
    return found.file, code


def _judge(
    answers: list[list[Answer]], seed: int, limits: Limits, progress: Progress, batch: int
) -> dict[Key, Verdict]:
    """Verdicts on everyone's answers. What a shared run leaves open is run again, each learner alone."""
    total = sum(map(len, answers))
    with_answers = [mine for mine in answers if mine]
    groups = [with_answers[i : i + batch] for i in range(0, len(with_answers), batch)]
    verdicts: dict[Key, Verdict] = {}

    def tick(more: int) -> None:
        progress(len(verdicts) + more, total)

    for group in groups:
        verdicts |= _run([answer for mine in group for answer in mine], seed, limits, tick)
    for mine in with_answers:
        left = [answer for answer in mine if (answer.learner, answer.exercise) not in verdicts]
        if left:
            verdicts |= _run(left, seed, limits, lambda n: None)
    progress(len(verdicts), total)
    return verdicts


def _run(answers: list[Answer], seed: int, limits: Limits, tick: Callable[[int], None]) -> dict[Key, Verdict]:
    with tempfile.TemporaryDirectory(prefix="moe-lessons-grading-", ignore_cleanup_errors=True) as folder:
        return nbval_run.run(notebook.write(Path(folder), answers, seed, limits), limits, tick)


def _outcome(place: int, submission: Submission, exercise: Exercise, verdicts: dict[Key, Verdict]) -> Outcome:
    verdict = verdicts.get((place, exercise.id))
    if verdict is None:
        verdict = Verdict(place, exercise.id, _why_not(submission, exercise))
    points = exercise.points if verdict.status == PASSED else 0
    return Outcome(exercise.id, exercise.title, points, exercise.points, verdict)


def _why_not(submission: Submission, exercise: Exercise) -> str:
    if exercise.id in submission.answers:
        return FAULT
    return NOT_FOUND if exercise.lesson in submission.lessons else NOT_HANDED_IN
