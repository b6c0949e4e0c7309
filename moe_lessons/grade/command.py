"""``moe-lessons grade``; imports what it needs when it runs."""

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from moe_lessons.grade.records import ClassGrades, Limits

GRADED, FAULTY = 0, 1


class Refusal(click.ClickException):
    """Something that cannot be graded: one line, exit code 2."""

    exit_code = 2


@click.command()
@click.argument("submissions", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the results.")
@click.option(
    "--self",
    "own",
    type=click.Path(path_type=Path),
    metavar="NOTEBOOK",
    help="Grade one notebook and print.",
)
@click.option("--seed", type=click.IntRange(0), help="Seed of the drawn inputs.  [drawn anew]")
@click.option(
    "--timeout",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds that one call of an answer may take.",
)
@click.option(
    "--total",
    default=120.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds that all answers of one notebook may take together.",
)
@click.option(
    "--lesson",
    "lessons",
    multiple=True,
    metavar="NN",
    help="Count this lesson only; may be repeated.  [all that the class handed in]",
)
@click.pass_context
def grade(
    context: click.Context,
    submissions: Path | None,
    out: Path | None,
    own: Path | None,
    seed: int | None,
    timeout: float,
    total: float,
    lessons: tuple[str, ...],
) -> None:
    """Grade the notebooks in SUBMISSIONS: each notebook in it is a learner, and so is each folder.

    Only answer cells are read, and run on newly drawn inputs. Writes results.json, grades.csv, junit.xml,
    summary.md and a page for each learner in feedback/.

    This version limits time and memory and runs answers in separate processes, but it is not a security
    sandbox yet: run only code you trust, or grade in a container.

    \b
    Examples:
      moe-lessons grade submissions --out grades
      moe-lessons grade submissions --out grades --lesson 01 --seed 7
      moe-lessons grade --self notebooks/01_router.ipynb

    Exit codes: 0 grading ran, whatever the grades; 1 the grader itself failed; 2 there is nothing that can
    be graded, or a wrong option.
    """
    from moe_lessons.grade.records import Limits, RefusedError

    if (submissions is None) == (own is None):
        raise Refusal("give a folder of submissions, or --self NOTEBOOK")
    if submissions is not None and out is None:
        raise Refusal("say where the results go: --out DIR")
    try:
        limits = Limits(timeout, total)
        if own is not None:
            context.exit(_self(own, _seed(seed), limits))
        assert submissions is not None
        assert out is not None
        context.exit(_class(submissions, out, _seed(seed), limits, lessons))
    except RefusedError as error:
        raise Refusal(str(error)) from None
    except (click.exceptions.Exit, click.ClickException):
        raise
    except Exception as error:
        if os.environ.get("MOE_LESSONS_DEBUG"):
            traceback.print_exc()
        click.echo(f"grader fault: {type(error).__name__}: {error}", err=True)
        context.exit(FAULTY)


def _seed(given: int | None) -> int:
    import secrets

    return secrets.randbits(32) if given is None else given


def _class(folder: Path, out: Path, seed: int, limits: "Limits", lessons: tuple[str, ...]) -> int:
    from moe_lessons.grade import report
    from moe_lessons.grade.progress import Progress
    from moe_lessons.grade.records import NOT_A_SANDBOX, RefusedError
    from moe_lessons.grade.run import grade_class
    from moe_lessons.grade.submissions import collect

    found = collect(folder, out=out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError(f"cannot write to {out}: {error.strerror}") from None
    if not os.access(out, os.W_OK):
        raise RefusedError(f"cannot write to {out}")
    click.echo(f"{len(found)} learners, seed {seed}. {NOT_A_SANDBOX}")
    with Progress() as progress:
        graded = grade_class(found, seed=seed, limits=limits, lessons=lessons, progress=progress)
    report.write(graded, out)
    width = max(len(one.submission.learner) for one in graded.grades)
    for one in graded.grades:
        notes = f"  ({'; '.join(one.submission.warnings)})" if one.submission.warnings else ""
        click.echo(_printable(f"{one.submission.learner:<{width}}  {one.points:>3} of {one.of}{notes}"))
    files = "results.json, grades.csv, junit.xml, summary.md, feedback/"
    click.echo(f"Wrote {files} to {out} in {graded.seconds:.0f} s.")
    return _closing(graded)


def _self(path: Path, seed: int, limits: "Limits") -> int:
    from moe_lessons.grade.progress import Progress
    from moe_lessons.grade.run import grade_class
    from moe_lessons.grade.submissions import single

    submission = single(path)
    with Progress() as progress:
        graded = grade_class([submission], seed=seed, limits=limits, progress=progress)
    for warning in submission.warnings:
        click.echo(_printable(warning))
    for outcome in graded.grades[0].outcomes:
        verdict = outcome.verdict
        click.echo(verdict.line or f"– {outcome.exercise}: {verdict.status}")
        if verdict.problem:
            click.echo(_printable(f"    {verdict.problem}"))
        if verdict.misconception:
            click.echo(f"    {verdict.misconception[1]}")
    click.echo(f"{graded.grades[0].points} of {graded.grades[0].of} points (seed {seed})")
    return _closing(graded)


def _closing(graded: "ClassGrades") -> int:
    for learner, exercise in graded.faults:
        click.echo(_printable(f"grader fault: {learner}, {exercise}: no verdict; grade it again"), err=True)
    return FAULTY if graded.faults else GRADED


def _printable(text: str) -> str:
    """Text for a terminal: learners' messages must not carry control characters or lone surrogates to it."""
    encoding = sys.stdout.encoding or "utf-8"
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return clean.encode(encoding, "replace").decode(encoding)
