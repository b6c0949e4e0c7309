"""What a learner did, kept in one JSON file so that it survives a kernel restart.

The file lies in the user's data folder, or where the environment variable ``MOE_LESSONS_HOME`` says.
Where nothing can be written (a read-only home), progress lives until the kernel ends, and that is said once.
"""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Progress = dict[str, Any]

_LOCK_SECONDS = 2.0
"""How long to wait for another notebook; longer than any of them needs, unless it was killed."""

_unsaved: Progress | None = None
_apart = False


def path() -> Path:
    """Where progress is kept."""
    home = os.environ.get("MOE_LESSONS_HOME")
    if not home:
        import platformdirs  # a web page imports this module, and keeps progress itself

        home = platformdirs.user_data_dir("moe-lessons", appauthor=False)
    return Path(home) / "progress.json"


def where() -> str:
    """Say where progress is kept now."""
    if _unsaved is None:
        return f"Your progress is kept in {path()}"
    return "Progress is kept in this kernel only, until it ends."


def empty() -> Progress:
    """Progress of someone who has not begun."""
    return {"version": 1, "exercises": {}, "hints": {}, "quizzes": {}, "answers": {}, "predictions": {}}


def keep_apart() -> None:
    """From now on keep progress in this kernel alone: a solutions notebook must not earn anyone points."""
    global _unsaved, _apart
    _unsaved, _apart = empty(), True


def is_apart() -> bool:
    """Whether this is a solutions notebook, to be read rather than worked through."""
    return _apart


def load() -> Progress:
    """Read progress; a damaged file is set aside under another name, not lost, and we begin anew."""
    if _unsaved is not None:
        return _unsaved
    try:
        found = json.loads(path().read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("version") != 1:
            raise ValueError("not a progress file of this version")
        return _sound(found)
    except FileNotFoundError:
        return empty()
    except (OSError, ValueError, RecursionError) as error:
        damaged = path().with_suffix(".damaged.json")
        try:
            path().replace(damaged)
            print(f"Your progress file could not be read ({error}); it is kept as {damaged}.")
        except OSError:
            pass
        return empty()


def update(change: Callable[[Progress], None]) -> None:
    """Load progress, change it, and write it back whole: a reader sees the old file or the new one."""
    global _unsaved
    if _unsaved is not None:
        change(_unsaved)
        return
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        with _alone():
            progress = load()
            change(progress)
            _write(progress)
    except OSError as error:
        _unsaved = load()
        change(_unsaved)
        print(f"Progress cannot be saved ({error.strerror}); it is kept until this kernel ends.")


def clear() -> None:
    """Forget everything."""
    global _unsaved
    if _apart:
        _unsaved = empty()
        return
    path().unlink(missing_ok=True)
    _unsaved = None


def _write(progress: Progress) -> None:
    handle, name = tempfile.mkstemp(dir=path().parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(progress, file, indent=1, sort_keys=True)
        os.replace(name, path())
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep other notebooks from changing it meanwhile; a lock that a killed one left is taken over."""
    lock = path().with_suffix(".lock")
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()


def _sound(found: Progress) -> Progress:
    """Keep the entries that are what they should be: the file may have been edited by hand."""
    progress = empty()
    of_types = {"hints": (int,), "quizzes": (bool,), "answers": (int, str), "predictions": (int,)}
    for kind, types in of_types.items():
        entries = found.get(kind)  # older files have no answers
        if isinstance(entries, dict):
            progress[kind] = {id: value for id, value in entries.items() if type(value) in types}
    records = found.get("exercises")
    for id, record in records.items() if isinstance(records, dict) else ():
        if isinstance(record, dict) and isinstance(record.get("passed"), bool):
            attempts = record.get("attempts")
            progress["exercises"][id] = {
                "attempts": attempts if type(attempts) is int else 0,
                "passed": record["passed"],
            }
            if isinstance(record.get("source"), str):  # of the cell that last passed; older files have none
                progress["exercises"][id]["source"] = record["source"]
    return progress
