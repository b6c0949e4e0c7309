"""Grade a class: which exercises count for whom, what has been graded already, the points."""

import time
from collections.abc import Sequence

from moe_lessons.exercises import needs
from moe_lessons.grade import batches, catalogue
from moe_lessons.grade.batches import Progress, Tick
from moe_lessons.grade.catalogue import Asked
from moe_lessons.grade.nbval_run import Key
from moe_lessons.grade.notebook import Answer
from moe_lessons.grade.records import (
    CANNOT_RUN,
    FAULT,
    NOT_FOUND,
    NOT_HANDED_IN,
    PASSED,
    ClassGrades,
    Grade,
    Isolation,
    Limits,
    Outcome,
    Submission,
    Verdict,
)
from moe_lessons.grade.resume import Kept


def grade_class(
    submissions: Sequence[Submission],
    *,
    seed: int,
    isolation: Isolation,
    limits: Limits | None = None,
    lessons: Sequence[str] = (),
    shard: tuple[int, int] = (1, 1),
    jobs: int = 1,
    kept: Kept | None = None,
    progress: Progress = lambda done, total: None,
    batch: int | None = None,
) -> ClassGrades:
    """Grade all answers of all submissions.

    Parameters
    ----------
    submissions : sequence of Submission
    seed : int
        Decides the drawn inputs, the same for everyone.
    isolation : Isolation
        What stands between answers and the grader.
    limits : Limits, optional
    lessons : sequence of str
        Numbers of the lessons that count. By default, all that anyone with a folder handed in; a learner who
        is a single notebook is graded over its lesson.
    shard : (int, int)
        ``(I, N)`` grades the I-th of every N learners, over the lessons that the whole class handed in.
    jobs : int
        Grading notebooks that run side by side.
    kept : Kept, optional
        What an earlier, unfinished run has graded already; takes what this one grades.
    progress : callable
        Called with the number of answers judged and their total.
    batch : int
        Learners in one grading notebook, at most; by default ``batches.BATCH``.

    Returns
    -------
    ClassGrades
    """
    began = time.monotonic()
    limits = limits or Limits()
    kept = Kept() if kept is None else kept  # an empty one is false
    asked = {
        place: _asked(submission, submissions, lessons)
        for place, submission in enumerate(submissions)
        if place % shard[1] == shard[0] - 1
    }
    answers = {
        place: [
            Answer(place, exercise.id, found[exercise.id])
            for exercise in exercises
            if exercise.id in found and not needs.missing(exercise)
        ]
        for place, exercises in asked.items()
        for found in [submissions[place].answers]
    }
    names = [submission.learner for submission in submissions]
    verdicts = {
        (place, answer.exercise): verdict
        for place, mine in answers.items()
        for answer in mine
        if (verdict := kept.find(names[place], place, answer)) is not None
    }

    def keep(group: Sequence[Answer], found: dict[Key, Verdict]) -> None:
        judged = [(answer, found.get((answer.learner, answer.exercise))) for answer in group]
        kept.add((names[answer.learner], answer, verdict) for answer, verdict in judged if verdict)

    def run(group: list[Answer], tick: Tick) -> dict[Key, Verdict]:
        return batches.run(group, seed, limits, isolation, tick)

    left = [[a for a in mine if (a.learner, a.exercise) not in verdicts] for mine in answers.values()]
    verdicts |= batches.judge(
        [mine for mine in left if mine], run, keep, progress, jobs, batch or batches.BATCH
    )
    grades = tuple(
        Grade(
            submissions[place],
            tuple(_outcome(place, submissions[place], exercise, verdicts) for exercise in exercises),
        )
        for place, exercises in asked.items()
    )
    counted = sorted({exercise.lesson for exercises in asked.values() for exercise in exercises})
    seconds = round(time.monotonic() - began, 2)
    return ClassGrades(grades, seed, limits, isolation, tuple(counted), seconds, len(submissions))


def _asked(submission: Submission, submissions: Sequence[Submission], lessons: Sequence[str]) -> list[Asked]:
    numbers = set(lessons)
    if not numbers and submission.alone:
        numbers = submission.lessons
    if not numbers:
        shared = [other for other in submissions if not other.alone] or submissions
        numbers = {number for other in shared for number in other.lessons}
        numbers = numbers or {number for other in submissions for number in other.lessons}
    catalogue.require(sorted(numbers))
    known = {lesson.number: lesson for lesson in catalogue.lessons()}
    return [exercise for number in sorted(numbers) for exercise in known[number].exercises]


def _outcome(place: int, submission: Submission, exercise: Asked, verdicts: dict[Key, Verdict]) -> Outcome:
    lacks = needs.missing(exercise)
    if lacks:
        finding = ("runs on the machine that graded", False, lacks)
        return Outcome(
            exercise.id, exercise.title, 0, 0, Verdict(place, exercise.id, CANNOT_RUN, "", (finding,))
        )
    verdict = verdicts.get((place, exercise.id))
    if verdict is None:
        verdict = Verdict(place, exercise.id, _why_not(submission, exercise))
    points = exercise.points if verdict.status == PASSED else 0
    notebook = submission.answers.get(exercise.id)
    looks = notebook.looks.get(exercise.id, ()) if notebook else ()
    return Outcome(exercise.id, exercise.title, points, exercise.points, verdict, looks)


def _why_not(submission: Submission, exercise: Asked) -> str:
    if exercise.id in submission.answers:
        return FAULT
    return NOT_FOUND if exercise.lesson in submission.lessons else NOT_HANDED_IN
