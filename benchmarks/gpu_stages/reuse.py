"""Which stored rows still count: those of the same code, on the same machine, in the same kind of run."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from gpu_stages.stage import read, write

SAME = ("device", "dry", "code", "torch", "triton", "driver")
BESIDE = ("candidates", "compiling", "timing", "winners", "workers")
READS = {  # folders and files that a stage reads beside the package and the modules that begin with its name
    "right": ("tests/kernels",),
    "tiles": tuple(f"benchmarks/gpu_stages/{name}.py" for name in BESIDE),
    "lessons": ("solutions",),
}


def code(root: Path, stage: str) -> str:
    """Return a checksum of all that a stage's rows depend on, whether it is committed or not."""
    own = root / "benchmarks" / "gpu_stages"
    files = {*(root / "moe_lessons").rglob("*.py"), own / "stage.py", *own.glob(f"{stage}*.py")}
    for place in READS.get(stage, ()):
        files |= {root / place, *(root / place).rglob("*.py"), *(root / place).rglob("*.ipynb")}
    digest = hashlib.sha256()
    for file in sorted(file for file in files if file.is_file()):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def prepare(file: Path, about: dict[str, Any], *, again: bool = False) -> None:
    """Make a stage's file ready: rows that still count stay in it, others are put aside and not lost."""
    try:
        stored = read(file)
    except (json.JSONDecodeError, AttributeError):
        stored = {"about": {"code": "unreadable"}, "rows": []}
        again = True
    others = [key for key in SAME if stored["about"].get(key) != about.get(key)]
    if file.exists() and (again or others):
        os.replace(file, _aside(file, str(stored["about"].get("code", "unknown"))))
        stored = {"rows": []}
    write(file, {**stored, "about": about})


def _aside(file: Path, code: str) -> Path:
    names = (file.with_name(f"{file.stem}.{code}{'' if n == 1 else f'-{n}'}.json") for n in range(1, 10_000))
    return next(name for name in names if not name.exists())
