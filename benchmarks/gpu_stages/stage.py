"""What a stage of the GPU day knows: where it runs, how long it has left, and what is stored already.

A result file is JSON with one row a line, written anew and put in place at once with each row: whatever cuts
a stage off, the file is whole.
"""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Stage:
    """One stage's rows and its time.

    Parameters
    ----------
    file : Path
        Where rows are stored; rows that are there count as measured.
    device : str
        "cuda", or "cpu": then it is a dry run, with kernels in Triton's interpreter and tiny sizes.
    seconds : float
        How long the stage may take from now on.
    clock, say : callable
        Tests replace them.

    Examples
    --------
    >>> import tempfile
    >>> stage = Stage(Path(tempfile.mkdtemp()) / "x.json", "cpu", seconds=60, say=lambda line: None)
    >>> stage.add({"shape": "tiny", "ms": 1.5})
    >>> stage.have(shape="tiny"), stage.have(shape="large"), stage.dry
    ({'shape': 'tiny', 'ms': 1.5}, None, True)
    """

    def __init__(
        self,
        file: Path,
        device: str,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = lambda line: print(line, flush=True),
    ) -> None:
        self.file, self.device, self.dry = Path(file), device, device == "cpu"
        self._clock, self._end, self.say = clock, clock() + seconds, say
        self._stored = read(self.file)

    @property
    def rows(self) -> list[Row]:
        """All rows that are stored, in the order in which they came."""
        return self._stored["rows"]

    def left(self) -> float:
        """Return the seconds until this stage's limit."""
        return self._end - self._clock()

    def have(self, **key: Any) -> Row | None:
        """Return the stored row with these entries, or None."""
        return next((row for row in self.rows if plain(key).items() <= row.items()), None)

    def add(self, row: Row) -> None:
        """Store a row at once; `"ok": False` in it is a failed check."""
        self.rows.append(plain(row))
        write(self.file, self._stored)
        self.say(json.dumps(self.rows[-1]))


def read(file: Path) -> dict[str, Any]:
    """Return what a result file holds: "about", "rows" and what else was written."""
    stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {"about": {}, **stored, "rows": stored.get("rows", [])}


def write(file: Path, result: dict[str, Any]) -> None:
    """Put the whole file in place at once, one row a line."""
    others = ((key, value) for key, value in result.items() if key != "rows")
    head = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in others)
    rows = ",\n".join(json.dumps(row) for row in result["rows"])
    half = file.with_name(f".{file.name}.half")
    file.parent.mkdir(parents=True, exist_ok=True)
    half.write_text(f'{{{head},\n"rows": [\n{rows}\n]}}\n', encoding="utf-8")
    os.replace(half, file)


def plain(value: Any) -> Any:
    """Return the value as JSON gives it back: lists, text for what is not finite or has no form of its own.

    Examples
    --------
    >>> plain({"shape": (2, 3), "error": float("nan")})
    {'shape': [2, 3], 'error': 'nan'}
    """
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
