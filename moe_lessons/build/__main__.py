"""``python -m moe_lessons.build``: build what is stale, or with ``--check`` say what is."""

import json
import sys
from pathlib import Path

import click
import nbformat
from nbformat import NotebookNode

from moe_lessons.build import house, paths, readme
from moe_lessons.build.execute import execute
from moe_lessons.build.render import notebook, text
from moe_lessons.build.source import source_hash

PAGES = {paths.README: readme.filled, paths.ARCHITECTURE: house.filled}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if anything is stale.")
@click.option("--force", is_flag=True, help="Execute solutions even where nothing has changed.")
def main(names: tuple[str, ...], check: bool, force: bool) -> None:
    """Build the notebooks of the lessons NAMES (such as 01 or 01_router; all by default)."""
    lessons = [p for p in sorted(paths.LESSONS.glob("[0-9]*.py")) if not names or p.stem.startswith(names)]
    if not lessons:
        raise click.UsageError(f"no lesson starts with {' or '.join(names)} in {paths.LESSONS}")
    if check:
        stale = [problem for lesson in lessons for problem in problems(lesson)]
        for page, filled in PAGES.items():
            if filled(_read(page)) != _read(page):
                stale.append(f"{page.name}: the made parts are stale")
        for problem in stale:
            click.echo(f"{problem}; run `make lessons`")
        click.echo(f"{len(lessons)} lessons checked, {len(stale)} stale")
        sys.exit(bool(stale))
    for lesson in lessons:
        build(lesson, force=force)
    for page, filled in PAGES.items():
        _write(page, filled(_read(page)))


def build(lesson: Path, *, force: bool = False) -> None:
    """Write both notebooks of a lesson; execute the solutions only if their inputs have changed."""
    learner, solutions = paths.NOTEBOOKS / f"{lesson.stem}.ipynb", paths.SOLUTIONS / f"{lesson.stem}.ipynb"
    _write(learner, text(notebook(lesson, solutions=False)))
    if not force and not _solution_problems(lesson):
        click.echo(f"{lesson.stem}: up to date")
        return
    click.echo(f"{lesson.stem}: executing the solutions ...")
    built = notebook(lesson, solutions=True)
    built.metadata["moe_lessons"]["source_hash"] = source_hash(lesson)
    _write(solutions, text(execute(built, paths.SOLUTIONS)))


def problems(lesson: Path) -> list[str]:
    """What is stale of a lesson: the learner's notebook byte for byte, the solutions by their sources."""
    learner = paths.NOTEBOOKS / f"{lesson.stem}.ipynb"
    found = []
    if _read(learner) != text(notebook(lesson, solutions=False)):
        found.append(f"notebooks/{lesson.stem}.ipynb differs from its lesson")
    return found + _solution_problems(lesson)


def _solution_problems(lesson: Path) -> list[str]:
    file = paths.SOLUTIONS / f"{lesson.stem}.ipynb"
    if not file.is_file():
        return [f"solutions/{lesson.stem}.ipynb is missing"]
    try:
        stored = nbformat.reads(_read(file), as_version=4)
    except (json.JSONDecodeError, nbformat.reader.NotJSONError, nbformat.ValidationError):
        return [f"solutions/{lesson.stem}.ipynb is not a readable notebook"]
    if _sources(stored) != _sources(notebook(lesson, solutions=True)):
        return [f"solutions/{lesson.stem}.ipynb differs from its lesson"]
    if stored.metadata.get("moe_lessons", {}).get("source_hash") != source_hash(lesson):
        return [f"solutions/{lesson.stem}.ipynb was made with other code than the package now has"]
    return []


def _sources(built: NotebookNode) -> list[tuple[str, str, str, dict]]:
    return [(cell.id, cell.cell_type, cell.source, dict(cell.metadata)) for cell in built.cells]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _write(path: Path, content: str) -> None:
    if _read(path) != content:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
