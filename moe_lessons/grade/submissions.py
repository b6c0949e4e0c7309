"""Find the learners in a folder: a notebook each, or a folder each."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from moe_lessons.grade.reader import TOO_MUCH
from moe_lessons.grade.reading import read, rest
from moe_lessons.grade.records import Notebook, RefusedError, Submission

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
_SKIPPED = {"__pycache__", "__MACOSX"}
_MOST = 200
"""Files of one learner that are read, so that no one's folder fills the grader's memory."""
_MOST_TEXT = 4 << 20
"""Characters in the answers of one learner: some hundred times what all solutions come to."""
_TOO_MUCH = 3
"""Files of one learner that are given up as too intricate; each may cost the reader its whole time."""
_LONGEST_NAME = 200
"""Characters of a file's path that results show."""


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
    if out is not None and os.path.realpath(out) == os.path.realpath(folder):
        raise RefusedError(f"{out} holds the submissions: choose another folder for the results")
    found: list[Submission] = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        # Not Path.resolve: before Python 3.13 that fails on a link to itself.
        if _hidden(path.name) or (out is not None and os.path.realpath(path) == os.path.realpath(out)):
            continue
        if _misnamed(path):
            found.append(Submission(path.name, (_read(path, path.name),), alone=True))
        elif _notebook(path) and (path.is_symlink() or not os.path.isdir(path)):
            # Where a folder or another file has that name already, the two are told apart by the ending.
            taken = os.path.isdir(path.with_suffix("")) or any(one.learner == path.stem for one in found)
            name = path.name if taken else path.stem
            found.append(Submission(name, (read(path, path.name),), alone=True))
        elif path.is_symlink() and not os.path.isfile(path):
            problem = Notebook(path.name, problem="a link (links are not followed)")
            found.append(Submission(path.name, (problem,), alone=False))
        elif os.path.isdir(path):
            found.append(Submission(path.name, tuple(_handed_in(path, folder)), alone=False))
        elif _archive(path):
            found.append(Submission(path.name, (_read(path, path.name),), alone=False))
    rest()
    _require_something(folder, found)
    return found


def single(path: Path) -> Submission:
    """One learner's own notebook; RefusedError if it cannot be graded."""
    if not path.exists():
        raise RefusedError(f"no such file: {path}")
    if path.is_dir():
        raise RefusedError(f"{path} is a folder: give one notebook in it, such as {path / '01_router.ipynb'}")
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
    if _archive(path):
        return Notebook(name, problem="an archive: unpack it first")
    if _misnamed(path):
        return Notebook(name, problem="not read: the name of a notebook ends in .ipynb; rename it")
    return read(path, name)


def _archive(path: Path) -> bool:
    return path.suffix.lower() in _ARCHIVES


def _notebook(path: Path) -> bool:
    return path.suffix.lower() == ".ipynb"


def _misnamed(path: Path) -> bool:
    """Browsers save ``one.ipynb`` as ``one.ipynb.txt`` or ``one.ipynb.json``."""
    return ".ipynb." in path.name.lower() and not _notebook(path) and os.path.isfile(path)


def _handed_in(place: Path, folder: Path) -> Iterator[Notebook]:
    """The notebooks below a learner's folder, and what kept us from others."""
    found = _below(place, folder)
    size = given_up = 0
    for notebook in itertools.islice(found, _MOST):
        size += sum(map(len, (*notebook.answers.values(), *notebook.beside.values())))
        given_up += notebook.problem == TOO_MUCH
        if size > _MOST_TEXT:
            told = f"more than {_MOST_TEXT:,} characters of answers; the rest is not read"
            yield Notebook(notebook.file, problem=told)
            return
        yield notebook
        if given_up == _TOO_MUCH:
            yield Notebook(place.name, problem=f"{_TOO_MUCH} files {TOO_MUCH}; the rest is not read")
            return
    if next(found, None) is not None:
        yield Notebook(place.name, problem=f"more than {_MOST} files; the rest is not read")


def _below(place: Path, folder: Path) -> Iterator[Notebook]:
    # Not os.walk, which goes only as deep as its recursion, and is silent about what it cannot open.
    pending, nothing = [place], True
    while pending:
        here = pending.pop()
        try:
            with os.scandir(here) as entries:
                shown = sorted((e for e in entries if not _hidden(e.name)), key=lambda entry: entry.name)
        except OSError as error:
            nothing = False
            problem = f"the folder cannot be read: {error.strerror}"
            yield Notebook(_shown(here, folder), problem=problem)
            continue
        for entry in shown:
            path = Path(entry.path)
            told = _notebook(path) or _archive(path) or _misnamed(path)
            if told and not entry.is_dir(follow_symlinks=False):
                nothing = False
                yield _read(path, _shown(path, folder))
        pending += [Path(e.path) for e in reversed(shown) if e.is_dir(follow_symlinks=False)]
    if nothing:
        yield Notebook(place.name, problem="there is no notebook (*.ipynb) in this folder")


def _shown(path: Path, folder: Path) -> str:
    """A path as results show it, its middle left out where it is long."""
    name, half = path.relative_to(folder).as_posix(), _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[-half:]}"


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _SKIPPED
