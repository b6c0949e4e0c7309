"""Find the learners in a folder: a notebook each, or a folder each."""

import os
from collections.abc import Iterator
from pathlib import Path

from moe_lessons.grade.reading import read
from moe_lessons.grade.records import Notebook, RefusedError, Submission

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
_SKIPPED = {"__pycache__", "__MACOSX"}


def collect(folder: Path, *, out: Path | None = None) -> list[Submission]:
    """Read everything that a class handed in.

    Parameters
    ----------
    folder : Path
        Each notebook directly in it is a learner, and so is each folder in it, with all its notebooks.
    out : Path, optional
        Where results go; it is not taken for a learner.

    Raises
    ------
    RefusedError
        If there is nothing in it that can be graded.
    """
    _require_folder(folder)
    found = []
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if _hidden(path.name) or (out is not None and path.resolve() == out.resolve()):
            continue
        if path.suffix == ".ipynb" and (path.is_symlink() or not path.is_dir()):
            found.append(Submission(path.stem, (read(path, path.name),), alone=True))
        elif path.is_symlink() and path.is_dir():
            problem = Notebook(path.name, problem="a link to a folder (links are not followed)")
            found.append(Submission(path.name, (problem,), alone=False))
        elif path.is_dir():
            notebooks = tuple(_read(p, p.relative_to(folder).as_posix()) for p in _files(path))
            found.append(Submission(path.name, notebooks, alone=False))
        elif _archive(path):
            found.append(Submission(path.name, (_read(path, path.name),), alone=False))
    _require_something(folder, found)
    return found


def single(path: Path) -> Submission:
    """One learner's own notebook; RefusedError if it cannot be graded."""
    if not path.exists():
        raise RefusedError(f"no such file: {path}")
    notebook = read(path, path.name)
    if notebook.problem:
        raise RefusedError(f"{path.name}: {notebook.problem}")
    return Submission(path.stem, (notebook,), alone=True)


def _require_folder(folder: Path) -> None:
    if not folder.exists():
        raise RefusedError(f"no such folder: {folder}")
    if _archive(folder) and not folder.is_dir():
        raise RefusedError(f"{folder.name} is an archive: unpack it and give the folder")
    if not folder.is_dir():
        raise RefusedError(f"{folder.name} is a file: give a folder of notebooks, or --self for one notebook")


def _require_something(folder: Path, found: list[Submission]) -> None:
    notebooks = [notebook for submission in found for notebook in submission.notebooks]
    if not notebooks:
        raise RefusedError(f"{folder} holds no notebooks (*.ipynb)")
    if all(notebook.problem for notebook in notebooks):
        first = notebooks[0]
        rest = f", and {len(notebooks) - 1} more that cannot be graded" if len(notebooks) > 1 else ""
        raise RefusedError(f"{first.file}: {first.problem}{rest}")


def _read(path: Path, name: str) -> Notebook:
    # Learning platforms hand out one archive, or one a learner. What is in it is not guessed at.
    return Notebook(name, problem="an archive: unpack it first") if _archive(path) else read(path, name)


def _archive(path: Path) -> bool:
    return path.suffix.lower() in _ARCHIVES


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for path in (Path(place, name) for name in sorted(files) if not _hidden(name)):
            if path.suffix == ".ipynb" or _archive(path):
                yield path


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _SKIPPED
