"""What a worker may import of this package, copied to a folder of its own.

A worker finds ``moe_lessons`` there and nowhere else, so the references, the specs and the packaged versions
of what an exercise asks for are not importable by their names.
"""

import os
import shutil
from pathlib import Path

import moe_lessons

FILES = (
    "exercises/__init__.py",
    "exercises/spec.py",
    "exercises/subjects.py",
    "exercises/kernel_driver.py",
    "exercises/drivers.py",
    "exercises/answers.py",
    "exercises/own_code.py",
    "kernels/__init__.py",
    "kernels/common.py",
    "kernels/traffic.py",
    "grade/__init__.py",
    "grade/wire.py",
    "grade/messages.py",
    "grade/worker.py",
    "grade/warm.py",
)
_START = """\
import sys

sys.path.insert(0, {folder!r})
import moe_lessons.grade.warm

moe_lessons.grade.warm.run(sys.argv[1:])
"""


def make(folder: Path) -> Path:
    """Copy the kit into ``folder`` and return the script that starts the warm parent."""
    source = Path(moe_lessons.__file__).parent
    package = folder / "moe_lessons"
    for name in FILES:
        target = package / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
    (package / "__init__.py").write_text('"""Only what runs answers."""\n', encoding="utf-8")
    start = folder / "start.py"
    start.write_text(_START.format(folder=str(folder)), encoding="utf-8")
    return start


def environment(folder: Path) -> dict[str, str]:
    """A worker's whole environment: nothing of the grader's, one thread, no accelerator."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return {
        **kept,
        "PATH": os.defpath,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TRITON_INTERPRET": "1",
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
    }
