"""Where fetched texts and token files lie, and how they get there whole."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import platformdirs


class CorpusError(ValueError):
    """A text or token file is missing, damaged, cannot be fetched, or does not fit the run."""


def cache_dir() -> Path:
    """Return the folder of the cache: `MOE_LESSONS_CACHE`, or the user's own for this system."""
    chosen = os.environ.get("MOE_LESSONS_CACHE") or platformdirs.user_cache_dir(
        "moe-lessons", appauthor=False
    )
    return Path(chosen)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write to, and name it `path` when everything is in it and on the disk.

    Raises
    ------
    CorpusError
        If the disk refuses.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "new" / "text"
    >>> with whole_file(path) as file:
    ...     _ = file.write(b"hello")
    ...     path.exists()
    False
    >>> path.read_bytes()
    b'hello'
    """
    # Two processes may make the same file: each writes its own, and the last one to finish names it.
    unfinished = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise CorpusError(
            f"cannot write {path}: {error.strerror or error}; "
            "make room, or set MOE_LESSONS_CACHE to another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a dictionary, whole or not at all."""
    with whole_file(path) as file:
        file.write((json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises
    ------
    CorpusError
        If it is missing, or no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"it is no JSON: {error}"
        raise CorpusError(f"cannot read {path}: {reason}") from error
    if not isinstance(values, dict):
        raise CorpusError(f"cannot read {path}: it holds no JSON object")
    return values


def sha256_of(path: Path) -> str:
    """Return a file's checksum, read piece by piece.

    Raises
    ------
    CorpusError
        If it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror}") from error
