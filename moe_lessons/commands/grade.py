"""``moe-lessons grade`` and ``moe-lessons merge``; they import what they need when they run."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from moe_lessons.grade.records import ClassGrades, Isolation, Limits

GRADED, FAULTY = 0, 1


class Refusal(click.ClickException):
    """Something that cannot be graded: one line, exit code 2."""

    exit_code = 2


class _Shard(click.ParamType):
    name = "I/N"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """The numbers in ``"I/N"``."""
        if isinstance(value, tuple):
            return value
        first, _, count = str(value).partition("/")
        if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
            self.fail(f"{value!r} is not I/N with 1 <= I <= N, such as 2/8", param, ctx)
        return int(first), int(count)


def _seconds(name: str, default: float, text: str) -> Callable:
    return click.option(name, default=default, show_default=True, type=click.FloatRange(0.1), help=text)


@click.command()
@click.argument("submissions", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the results.")
@click.option(
    "--self",
    "own",
    type=click.Path(path_type=Path),
    metavar="NOTEBOOK",
    help="Grade your own notebook and print; no sandbox, advisory.",
)
@click.option("--seed", type=click.IntRange(0), help="Seed of the drawn inputs.  [drawn anew]")
@_seconds("--timeout", 10.0, "Seconds that one call of an answer may take.")
@_seconds("--total", 120.0, "Seconds that a learner's answers to one lesson may take together.")
@click.option(
    "--lesson",
    "lessons",
    multiple=True,
    metavar="NN",
    help="Count this lesson only; may be repeated.  [all that the class handed in]",
)
@click.option("-j", "--jobs", type=click.IntRange(1), help="Runs side by side, about 1 GB each.  [cores]")
@click.option("--shard", type=_Shard(), default=(1, 1), help="Grade the I-th of N parts; see merge.")
@click.option("--fresh", is_flag=True, help="Grade everyone again, whatever --out holds already.")
@click.option(
    "--unsafe-no-sandbox", "unsafe", is_flag=True, help="Run answers unprotected; said in every result."
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
    jobs: int | None,
    shard: tuple[int, int],
    fresh: bool,
    unsafe: bool,
) -> None:
    """Grade the notebooks in SUBMISSIONS: each notebook in it is a learner, and so is each folder.

    Only answer cells are read. They run in a sandbox (bubblewrap, on Linux) on newly drawn inputs. Writes
    results.json, grades.csv, junit.xml, summary.md and a page for each learner in feedback/. A run that was
    stopped goes on where it was when it is started again; what has not changed is not graded twice.

    \b
    Examples:
      moe-lessons grade submissions --out grades
      moe-lessons grade submissions --out part-2 --shard 2/8 --seed 7
      moe-lessons grade --self notebooks/01_router.ipynb

    Exit codes: 0 grading ran, whatever the grades; 1 the grader itself failed; 2 there is nothing that can
    be graded, no sandbox, or a wrong option.
    """
    from moe_lessons.grade.records import Limits, RefusedError

    if (submissions is None) == (own is None):
        raise Refusal("give a folder of submissions, or --self NOTEBOOK")
    if submissions is not None and out is None:
        raise Refusal("say where the results go: --out DIR")
    if shard[1] > 1 and seed is None:
        raise Refusal("parts of a class need the same inputs: give each --shard the same --seed")
    limits = Limits(timeout, total)
    try:
        if own is not None:
            context.exit(_self(own, seed, limits))
        assert submissions is not None
        assert out is not None
        options = {"lessons": lessons, "shard": shard, "jobs": jobs or _cores()}
        context.exit(_class(submissions, out, seed, limits, unsafe, fresh, options))
    except RefusedError as error:
        raise Refusal(_printable(str(error))) from None
    except (click.exceptions.Exit, click.ClickException):
        raise
    except Exception as error:
        if os.environ.get("MOE_LESSONS_DEBUG"):
            traceback.print_exc()
        click.echo(_printable(f"grader fault: {type(error).__name__}: {error}"), err=True)
        context.exit(FAULTY)


@click.command()
@click.argument("parts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder.")
@click.pass_context
def merge(context: click.Context, parts: tuple[Path, ...], out: Path) -> None:
    """Put together what `grade --shard` graded in PARTS: the folders that it wrote.

    \b
    Example:
      moe-lessons merge part-1 part-2 part-3 --out grades
    """
    from moe_lessons.grade.merge import merge as merged
    from moe_lessons.grade.records import RefusedError

    try:
        graded = merged(parts)
        _writable(out)
    except RefusedError as error:
        raise Refusal(_printable(str(error))) from None
    context.exit(_written(graded, out))


def _isolation(unsafe: bool) -> "Isolation":
    from moe_lessons.grade import sandbox
    from moe_lessons.grade.records import UNSAFE, Isolation, RefusedError

    if unsafe:
        return UNSAFE
    problem = sandbox.problem()
    if problem:
        raise RefusedError(f"{problem}; or --unsafe-no-sandbox, for code that you trust")
    return Isolation("bubblewrap", sandbox.description())


def _class(
    folder: Path,
    out: Path,
    seed: int | None,
    limits: "Limits",
    unsafe: bool,
    fresh: bool,
    options: dict,
) -> int:
    from moe_lessons.grade import resume
    from moe_lessons.grade.guard import alone, stoppable
    from moe_lessons.grade.progress import Progress
    from moe_lessons.grade.run import grade_class
    from moe_lessons.grade.submissions import collect

    # What is wrong with the class comes before what is wrong with the machine.
    found = collect(folder, out=out)
    made = not out.exists()
    _writable(out)
    try:
        isolation = _isolation(unsafe)
    except BaseException:
        if made:
            out.rmdir()
        raise
    with alone(out), stoppable():
        file, terms = out / resume.FILE, (vars(limits), isolation.kind)
        if fresh:
            file.unlink(missing_ok=True)
        if seed is None:
            seed = resume.last_seed(file, *terms)
        seed = _drawn() if seed is None else seed
        kept = resume.Kept(file, resume.header(seed, *terms))
        click.echo(f"{len(found)} learners, seed {seed}. {isolation.note}")
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
                    limits=limits,
                    kept=kept,
                    progress=progress,
                    **options,
                )
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the same command goes on from here") from None
        return _written(graded, out)


def _self(path: Path, seed: int | None, limits: "Limits") -> int:
    from moe_lessons.grade.progress import Progress
    from moe_lessons.grade.records import OWN
    from moe_lessons.grade.run import grade_class
    from moe_lessons.grade.submissions import single

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
        click.echo(_printable(warning))
    for outcome in graded.grades[0].outcomes:
        verdict = outcome.verdict
        click.echo(verdict.line or f"– {outcome.exercise}: {verdict.status}")
        if verdict.problem:
            click.echo(_printable(f"    {verdict.problem}"))
        if verdict.misconception:
            click.echo(_printable(f"    {verdict.misconception[1]}"))
    if graded.not_counted:
        click.echo(graded.not_counted_note)
    click.echo(f"{graded.grades[0].points} of {graded.grades[0].of} points (seed {graded.seed})")
    click.echo(OWN.note)
    return _closing(graded)


def _written(graded: "ClassGrades", out: Path) -> int:
    from moe_lessons.grade import report
    from moe_lessons.grade.tables import short

    report.write(graded, out)
    width = max((len(one.submission.learner) for one in graded.grades), default=0)
    for one in graded.grades:
        notes = f"  ({short('; '.join(one.submission.warnings))})" if one.submission.warnings else ""
        click.echo(_printable(f"{one.submission.learner:<{width}}  {one.points:>3} of {one.of}{notes}"))
    files = "results.json, grades.csv, junit.xml, summary.md, feedback/"
    if graded.not_counted:
        click.echo(graded.not_counted_note)
    click.echo(f"Wrote {files} to {out} in {graded.seconds:.0f} s.")
    return _closing(graded)


def _writable(out: Path) -> None:
    from moe_lessons.grade.records import RefusedError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError(f"cannot write to {out}: {error.strerror}") from None
    if not os.access(out, os.W_OK):
        raise RefusedError(f"cannot write to {out}")


def _closing(graded: "ClassGrades") -> int:
    for learner, exercise in graded.faults:
        click.echo(_printable(f"grader fault: {learner}, {exercise}: no verdict; grade it again"), err=True)
    return FAULTY if graded.faults else GRADED


def _drawn() -> int:
    import secrets

    return secrets.randbits(32)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _printable(text: str) -> str:
    from moe_lessons.grade import escape

    return escape.terminal(text, sys.stdout.encoding or "utf-8")
