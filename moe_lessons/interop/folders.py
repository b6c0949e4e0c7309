"""Folders that appear whole or not at all."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


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
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InteropError(f"cannot read {path}: {reason}") from error
    if not isinstance(values, dict):
        raise InteropError(f"cannot read {path}: it holds no JSON object")
    return values


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a dictionary, readable and ending in a newline."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
