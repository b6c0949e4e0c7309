"""What runs beside the stage "right" in processes of its own: the GPU's tests, and compute-sanitizer."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_stages.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(str(path) for path in (ROOT / "tests" / "kernels").glob("test_gpu*.py"))
SPARE_S = 3.0  # to store what came out before the stage ends
SANITIZERS = ("compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer")
FOUND = 9  # its exit code where it found something


class Tests:
    """pytest at work: `right_report` writes a line for each test as it ends, and each becomes a row."""

    ended = "all tests ended"

    def __init__(self, stage: Stage, child: subprocess.Popen | None, lines: Path) -> None:
        self.stage, self.child, self.lines = stage, child, lines
        self.n_read = 0

    def collect(self) -> None:
        """Store what has come since the last look."""
        if not self.lines.is_file():
            return
        whole = self.lines.read_text(encoding="utf-8").split("\n")[:-1]
        for line in whole[self.n_read :]:
            row = json.loads(line)
            if not self.stage.have(check=row["check"]):
                self.stage.add(row)
        self.n_read = len(whole)

    def finish(self) -> str:
        """Wait for the rest, as long as the stage lasts; return why it did not end well, if so."""
        if self.child is None:
            return ""
        try:
            code = self.child.wait(max(0.0, self.stage.left() - SPARE_S))
        except subprocess.TimeoutExpired:
            self.collect()
            return f"the stage's time was up after {self.n_read} tests"
        self.collect()
        if code not in (0, 1) or not self.n_read:  # pytest's for tests that passed, and for some that failed
            return f"pytest ended with {code} after {self.n_read} tests; the log says why"
        self.stage.add({"check": self.ended, "ok": True, "tests": self.n_read})
        return ""


@contextmanager
def tests(stage: Stage) -> Iterator[Tests]:
    """Start the tests that need a GPU, several at once: most of their time is Triton compiling."""
    if stage.have(check=Tests.ended, ok=True):
        yield Tests(stage, None, Path())
        return
    n_workers = min(14, (os.cpu_count() or 1) - 2)
    many = not stage.dry and n_workers > 1 and importlib.util.find_spec("xdist") is not None
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "tests.jsonl"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--no-header",
            "-W",
            "default",
            "-p",
            "no:cacheprovider",
        ]
        command += ["-p", "no:benchmark", "-p", "gpu_stages.right_report", f"--rootdir={ROOT}", *FILES]
        command += ["-n", str(n_workers)] if many else []
        # Started by a test, it is no worker of that test's pytest, and takes none of its options.
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        env["GPU_DAY_TESTS"] = str(lines)
        env.pop("TRITON_INTERPRET", None)
        child = subprocess.Popen(command, cwd=ROOT, env=env)
        try:
            yield Tests(stage, child, lines)
        finally:
            child.kill()
            child.wait()


class Sanitizer:
    """compute-sanitizer at work on one small run, or why it is not."""

    name = "compute-sanitizer, memcheck"

    def __init__(self, stage: Stage, child: subprocess.Popen | None, why: str = "") -> None:
        self.stage, self.child, self.why = stage, child, why

    def finish(self) -> None:
        """Store what it found."""
        if self.stage.have(check=self.name):
            return
        if self.child is None:
            self.stage.add({"check": self.name, "skipped": self.why})
            return
        try:
            said = self.child.communicate(timeout=max(0.0, self.stage.left() - SPARE_S))[0]
        except subprocess.TimeoutExpired:
            self.stage.add({"check": self.name, "skipped": "it did not end within the stage's time"})
            return
        self.stage.say(said)
        self.stage.add({"check": self.name, **verdict(self.child.returncode, said)})


@contextmanager
def sanitizer(stage: Stage) -> Iterator[Sanitizer]:
    """Start compute-sanitizer on `right_small`, where there is a GPU and the program."""
    program = next(filter(None, map(shutil.which, SANITIZERS)), None)
    why = "needs a GPU" if stage.dry else "the program is not here" if program is None else ""
    if why or stage.have(check=Sanitizer.name):
        yield Sanitizer(stage, None, why)
        return
    command = [str(program), "--tool", "memcheck", "--error-exitcode", str(FOUND)]
    command += [sys.executable, "-m", "gpu_stages.right_small"]
    env = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}  # one allocation for each tensor: no slack
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    try:
        yield Sanitizer(stage, child)
    finally:
        child.kill()
        child.wait()


def verdict(code: int, said: str) -> dict[str, object]:
    """Say what a run found: nothing, errors, or that it could not look.

    Examples
    --------
    >>> verdict(0, "small run done\\n========= ERROR SUMMARY: 0 errors")
    {'ok': True}
    >>> verdict(9, "========= Invalid __global__ write\\n========= ERROR SUMMARY: 1 error")["ok"]
    False
    >>> verdict(1, "========= Error: Device not supported")
    {'skipped': 'Error: Device not supported'}
    """
    lines = [line.strip("= ") for line in said.splitlines() if line.strip("= ")]
    if code == FOUND:
        return {"ok": False, "why": lines[0] if lines else "errors"}
    if code == 0 and "ERROR SUMMARY: 0 errors" in said and "small run done" in said:
        return {"ok": True}
    return {"skipped": lines[-1] if lines else f"exit code {code}"}
