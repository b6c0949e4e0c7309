"""``moe-lessons grade`` and ``moe-lessons merge``; they import what they need when they run."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import click

FAULTY = 1


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
@click.option(
    "--class",
    "class_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML: lessons that count, roster, late days, comments, exports; see INSTRUCTORS.md.",
)
@click.option(
    "--regrade",
    "again",
    multiple=True,
    metavar="WHAT",
    help="Grade this exercise, lesson or learner again and keep the rest; may be repeated.",
)
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
    class_file: Path | None,
    again: tuple[str, ...],
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
    if (submissions is None) == (own is None):
        raise Refusal("give a folder of submissions, or --self NOTEBOOK")
    if submissions is not None and out is None:
        raise Refusal("say where the results go: --out DIR")
    if shard[1] > 1 and seed is None:
        raise Refusal("parts of a class need the same inputs: give each --shard the same --seed")
    from moe_lessons.commands import grading
    from moe_lessons.grade.records import Limits, RefusedError
    from moe_lessons.grade.settings import Settings, read

    limits = Limits(timeout, total)
    try:
        if own is not None:
            context.exit(grading.grade_own(own, seed, limits))
        assert submissions is not None
        assert out is not None
        settings = read(class_file) if class_file is not None else Settings()
        options = {"lessons": lessons or settings.lessons, "shard": shard, "jobs": jobs or grading.cores()}
        plan = grading.Plan(submissions, out, seed, limits, unsafe, fresh, frozenset(again), settings)
        context.exit(grading.grade_folder(plan, options))
    except RefusedError as error:
        raise Refusal(grading.printable(str(error))) from None
    except (click.exceptions.Exit, click.ClickException):
        raise
    except Exception as error:
        if os.environ.get("MOE_LESSONS_DEBUG"):
            traceback.print_exc()
        click.echo(grading.printable(f"grader fault: {type(error).__name__}: {error}"), err=True)
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
    from moe_lessons.commands import grading
    from moe_lessons.grade.records import RefusedError

    try:
        context.exit(grading.merged(parts, out))
    except RefusedError as error:
        raise Refusal(grading.printable(str(error))) from None
