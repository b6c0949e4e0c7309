"""Folders that appear whole or not at all."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moe_lessons.data import cache


class InteropError(ValueError):
    """A folder cannot be read, cannot be written, or holds what the other side has no place for."""


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write to, and name it `target` when everything is in it.

    Raises
    ------
    InteropError
        If something is at `target` already, or the disk refuses.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "exported"
    >>> with new_folder(target) as folder:
    ...     _ = (folder / "README.md").write_text("hello")
    ...     target.exists()
    False
    >>> (target / "README.md").read_text()
    'hello'
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise InteropError(f"{target} already holds something: choose another folder")
    unfinished = target.with_name(f".unfinished-{target.name}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        if target.is_dir():
            target.rmdir()  # empty: Windows renames onto nothing only
        unfinished.rename(target)
    except OSError as error:
        raise InteropError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises
    ------
    InteropError
        If it is missing, or no JSON object.
    """
    try:
        return cache.read_json(path)
    except cache.CorpusError as error:
        raise InteropError(str(error)) from error


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a dictionary, readable and ending in a newline."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
