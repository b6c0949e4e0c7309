"""What a worker may import of this package, copied to a folder of its own.

A worker finds ``moe_lessons`` there and nowhere else, so the references, the specs and the packaged versions
of what an exercise asks for are not importable by their names.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import moe_lessons
from moe_lessons.grade import libraries

FILES = (
    "lazy.py",
    "exercises/__init__.py",
    "exercises/spec.py",
    "exercises/subjects.py",
    "exercises/kernel_compile.py",
    "exercises/kernel_driver.py",
    "exercises/kernel_launch.py",
    "exercises/kernel_source.py",
    "exercises/drivers.py",
    "exercises/probes.py",
    "exercises/work.py",
    "exercises/replies.py",
    "exercises/answers.py",
    "exercises/cells.py",
    "exercises/unwritten.py",
    "exercises/own_code.py",
    "kernels/__init__.py",
    "kernels/common.py",
    "kernels/traffic.py",
    "grade/__init__.py",
    "grade/wire.py",
    "grade/messages.py",
    "grade/worker.py",
    "grade/imports.py",
    "grade/jail.py",
    "grade/lifeline.py",
    "grade/seccomp.py",
    "grade/warm.py",
)
_CPU = Path("/sys/devices/system/cpu")
CPU = ("possible", "present", "online", "kernel_max")
"""What PyTorch reads before it computes in half precision; a sandbox gets copies."""
_IPYTHON = '''\
"""Stands in for IPython: an answer that displays something does no harm, and shows nothing."""


class _Nothing:
    def __init__(self, *args, **options):
        pass

    def __call__(self, *args, **options):
        return self

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _Nothing()
'''
_START = """\
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path += {libraries!r}
import moe_lessons.grade.warm

moe_lessons.grade.warm.run(sys.argv[1:])
"""


@contextlib.contextmanager
def folder(place: Path | None = None) -> Iterator[Path]:
    """A folder with the kit and the ``start.py`` that starts it, for the time of the ``with``."""
    with tempfile.TemporaryDirectory(
        prefix="moe-lessons-kit-", dir=place, ignore_cleanup_errors=True
    ) as made:
        make(Path(made))
        yield Path(made)


def make(folder: Path) -> Path:
    """Copy the kit into ``folder``, readable by everyone, and return the script that starts it."""
    source = Path(moe_lessons.__file__).parent
    for name in FILES:
        target = folder / "moe_lessons" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
    (folder / "moe_lessons" / "__init__.py").write_text('"""Only what runs answers."""\n', encoding="utf-8")
    stand_in = folder / "IPython"
    stand_in.mkdir(exist_ok=True)
    for name in ("__init__", "display"):
        (stand_in / f"{name}.py").write_text(_IPYTHON, encoding="utf-8")
    (folder / "cpu").mkdir(exist_ok=True)
    for name in CPU:
        with contextlib.suppress(OSError):
            (folder / "cpu" / name).write_bytes((_CPU / name).read_bytes())
    start = folder / "start.py"
    start.write_text(_START.format(libraries=[str(path) for path in libraries.needed()]), encoding="utf-8")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return start


def environment(home: str) -> dict[str, str]:
    """A worker's whole environment: nothing of the grader's, one thread, no accelerator."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return {
        **kept,
        "PATH": os.defpath,
        "HOME": home,
        "TMPDIR": home,
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TRITON_INTERPRET": "1",
        "MPLBACKEND": "Agg",
        "PYTHONHASHSEED": "0",  # or a set of words has another order in each run
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
    }
