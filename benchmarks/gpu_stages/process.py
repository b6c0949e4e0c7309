"""A stage's process: what it says goes to a log, and at its limit the whole process group is killed."""

import ast
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STOPPED = "stopped"
USUAL_S = 60.0  # the limit of a stage that does not say its own, or that cannot be read


def run(command: Sequence[str], limit_s: float, log: Path, env: Mapping[str, str], *, title: str) -> str:
    """Run to the end or to the limit; return "done", "stopped" or "failed: why" in one line."""
    with log.open("a", encoding="utf-8", errors="replace") as file:
        file.write(f"\n== {title}, {time.strftime('%H:%M:%S')}, at most {limit_s:.0f} s\n")
        file.flush()
        began_at = file.tell()
        # A group of its own, to kill all of it; not a session of its own, which would outlive the caller's.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=dict(env),
            process_group=0,
        )
        try:
            code = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            return STOPPED
        finally:
            kill(child)
    if code == 0:
        return "done"
    if code < 0:
        return f"failed: killed by {signal.Signals(-code).name}"
    return f"failed: {last_line(log, began_at)}"


def kill(child: subprocess.Popen) -> None:
    """Kill the child's process group, and wait a moment: what hangs in a driver does not hold up the day."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(10)


def last_line(log: Path, start: int) -> str:
    """Return the last line that was written from a place on: of a traceback, the error itself."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it said nothing")


def limit_of(stage: str) -> float:
    """Return a stage's LIMIT_S, read without importing it: that would load torch into the runner."""
    try:
        tree = ast.parse((Path(__file__).with_name(f"{stage}.py")).read_text(encoding="utf-8"))
        given = [node for node in tree.body if isinstance(node, ast.Assign)]
        (value,) = (node.value for node in given if ast.unparse(node.targets[0]) == "LIMIT_S")
        return float(ast.literal_eval(value))
    except (OSError, SyntaxError, ValueError, TypeError):
        return USUAL_S
