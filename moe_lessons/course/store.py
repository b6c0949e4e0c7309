"""What a learner did, kept in one JSON file so that it survives a kernel restart.

The file lies in the user's data folder, or where the environment variable ``MOE_LESSONS_HOME`` says.
Where nothing can be written (a read-only home), progress lives until the kernel ends, and that is said once.
"""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs

Progress = dict[str, Any]

_unsaved: Progress | None = None


def path() -> Path:
    """Where progress is kept."""
    home = os.environ.get("MOE_LESSONS_HOME") or platformdirs.user_data_dir("moe-lessons", appauthor=False)
    return Path(home) / "progress.json"


def empty() -> Progress:
    """Progress of someone who has not begun."""
    return {"version": 1, "exercises": {}, "hints": {}, "quizzes": {}, "predictions": {}}


def load() -> Progress:
    """Read progress; a damaged file is set aside under another name, not lost, and we begin anew."""
    if _unsaved is not None:
        return _unsaved
    try:
        found = json.loads(path().read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("version") != 1:
            raise ValueError("not a progress file of this version")
        return {**empty(), **found}
    except FileNotFoundError:
        return empty()
    except (OSError, ValueError) as error:
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
    progress = load()
    change(progress)
    if _unsaved is not None:
        return
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path().parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(progress, file, indent=1, sort_keys=True)
        os.replace(name, path())
    except OSError as error:
        _unsaved = progress
        print(f"Progress cannot be saved ({error.strerror}); it is kept until this kernel ends.")


def clear() -> None:
    """Forget everything."""
    global _unsaved
    _unsaved = None
    path().unlink(missing_ok=True)
