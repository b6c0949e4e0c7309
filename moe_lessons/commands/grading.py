"""What `moe-lessons grade` and `merge` do once their options are read; imported when they run."""

import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from moe_lessons.grade import catalogue, escape, feedback, merge, report, resume, sandbox, settings, similar
from moe_lessons.grade.guard import alone, stoppable
from moe_lessons.grade.progress import Progress
from moe_lessons.grade.records import OWN, UNSAFE, ClassGrades, Isolation, Limits, RefusedError
from moe_lessons.grade.run import grade_class
from moe_lessons.grade.settings import Settings
from moe_lessons.grade.submissions import collect, single
from moe_lessons.grade.tables import short

GRADED, FAULTY = 0, 1


def _isolation(unsafe: bool) -> Isolation:
    if unsafe:
        return UNSAFE
    problem = sandbox.problem()
    if problem:
        raise RefusedError(f"{problem}; or --unsafe-no-sandbox, for code that you trust")
    return Isolation("bubblewrap", sandbox.description())


@dataclass(frozen=True)
class Plan:
    """What was asked for, as far as it is not ``grade_class``'s business."""

    folder: Path
    out: Path
    seed: int | None
    limits: Limits
    unsafe: bool
    fresh: bool
    again: frozenset[str]
    settings: Settings


def grade_folder(plan: Plan, options: dict) -> int:
    """Grade a class as planned, write what came of it, and return the exit code."""
    out, seed = plan.out, plan.seed
    # What is wrong with the class comes before what is wrong with the machine.
    found = settings.with_everyone(collect(plan.folder, out=out), plan.settings)
    catalogue.require(options["lessons"])
    _require_known(plan.again, {one.learner for one in found})
    isolation = _ready(out, plan.unsafe)
    with alone(out), stoppable():
        file, terms = out / resume.FILE, (vars(plan.limits), isolation.kind)
        if plan.fresh:
            file.unlink(missing_ok=True)
        if seed is None:
            seed = resume.last_seed(file, *terms, again=bool(plan.again))
        seed = _drawn() if seed is None else seed
        kept = resume.Kept(file, resume.header(seed, *terms), plan.again)
        learners = "1 learner" if len(found) == 1 else f"{len(found)} learners"
        click.echo(f"{learners}, seed {seed}. {isolation.note}")
        if len(kept):
            click.echo(
                f"{len(kept)} answers were graded before; unchanged, they are not run again (unless --fresh)."
            )
        try:
            with Progress() as progress:
                graded = grade_class(
                    found,
                    seed=seed,
                    isolation=isolation,
                    limits=plan.limits,
                    kept=kept,
                    progress=progress,
                    **options,
                )
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the same command goes on from here") from None
        grades = tuple(settings.adjusted(grade, plan.settings) for grade in graded.grades)
        if not options["lessons"]:
            click.echo(
                f"Lessons that count: {', '.join(graded.lessons)}, all that anyone handed in (--lesson, or "
                "--class, states them)."
            )
        alike = similar.report(similar.handed_in(found))
        return written(replace(graded, grades=grades), out, plan.settings, alike)


def _ready(out: Path, unsafe: bool) -> Isolation:
    """Make the folder for results and try the sandbox; without one, leave no empty folder behind."""
    made = not out.exists()
    require_writable(out)
    try:
        return _isolation(unsafe)
    except BaseException:
        if made:
            out.rmdir()
        raise


def _require_known(again: frozenset[str], learners: set[str]) -> None:
    lessons = catalogue.lessons()
    known = learners | {one.number for one in lessons} | {e.id for one in lessons for e in one.exercises}
    for what in again - known:
        raise RefusedError(f"--regrade {what}: no exercise, lesson or learner of that name")


def grade_own(path: Path, seed: int | None, limits: Limits) -> int:
    """Grade one's own notebook, say what came of it, and return the exit code."""
    submission = single(path)
    with Progress() as progress:
        graded = grade_class(
            [submission],
            seed=_drawn() if seed is None else seed,
            isolation=OWN,
            limits=limits,
            progress=progress,
        )
    for warning in submission.warnings:
        click.echo(printable(warning))
    for outcome in graded.grades[0].outcomes:
        verdict = outcome.verdict
        click.echo(verdict.line or f"– {outcome.exercise}: {verdict.status}")
        if verdict.problem:
            click.echo(printable(f"    {verdict.problem}"))
        if verdict.misconception:
            click.echo(printable(f"    What may have happened: {verdict.misconception[1]}"))
        if verdict.observation:
            click.echo(printable(f"    What agrees: {verdict.observation}"))
        if advice := feedback.advice(outcome):
            click.echo(printable(f"    {advice}"))
    if graded.not_counted:
        click.echo(graded.not_counted_note)
    click.echo(f"{graded.grades[0].points:g} of {graded.grades[0].of} points (seed {graded.seed})")
    click.echo(OWN.note)
    return _closing(graded)


def merged(parts: Sequence[Path], out: Path) -> int:
    """Put the parts of a class together, write that down, and return the exit code."""
    whole = merge.merge(parts)
    require_writable(out)
    return written(whole, out, Settings(), similar.report(similar.graded(whole.grades)))


def written(graded: ClassGrades, out: Path, wanted: Settings, alike: str) -> int:
    """Write a graded class down, say where, and return the exit code."""
    report.write(graded, out, wanted, alike)
    width = max((len(one.submission.learner) for one in graded.grades), default=0)
    for one in graded.grades:
        notes = f"  ({short('; '.join(one.submission.warnings))})" if one.submission.warnings else ""
        click.echo(printable(f"{one.submission.learner:<{width}}  {one.points:>3g} of {one.of}{notes}"))
    files = "results.json, timing.json, grades.csv, junit.xml, summary.md, feedback/, similar.csv"
    files += "".join(f", {name}" for name in wanted.exports)
    if graded.not_counted:
        click.echo(graded.not_counted_note)
    click.echo(f"Wrote {files} to {out} in {graded.seconds:.0f} s.")
    return _closing(graded)


def require_writable(out: Path) -> None:
    """Make the folder for results; RefusedError where nothing can be written to it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError(f"cannot write to {out}: {error.strerror}") from None
    if not os.access(out, os.W_OK):
        raise RefusedError(f"cannot write to {out}")


def _closing(graded: ClassGrades) -> int:
    for learner, exercise in graded.faults:
        click.echo(printable(f"grader fault: {learner}, {exercise}: no verdict; grade it again"), err=True)
    return FAULTY if graded.faults else GRADED


def _drawn() -> int:
    return secrets.randbits(32)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def printable(text: str) -> str:
    """Text for this terminal."""
    return escape.terminal(text, sys.stdout.encoding or "utf-8")
