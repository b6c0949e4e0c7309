"""Run a grading notebook under nbval and read which of its cells passed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import moe_lessons
from moe_lessons.grade.records import FAILED, NOT_ATTEMPTED, PASSED, Limits, Verdict
from moe_lessons.grade.resume import as_verdict

Key = tuple[int, str]
"""A learner's place in the class, and an exercise."""
_SPARE_SECONDS = 60.0


def run(notebook: Path, limits: Limits, tick: Callable[[int], bool]) -> dict[Key, Verdict]:
    """Verdicts on which nbval and the judge agree; an answer without one is missing from the result.

    Parameters
    ----------
    notebook : Path
        As ``notebook.write`` wrote it, with its job beside it.
    limits : Limits
    tick : callable
        Told now and then how many answers have been judged; where it says no, the run ends with those.
    """
    folder = notebook.parent
    junit = folder / "junit.xml"
    with open(folder / "pytest.log", "wb") as log:
        process = subprocess.Popen(
            command(notebook, junit, limits), cwd=folder, env=_environment(folder), stdout=log, stderr=log
        )
        try:
            while process.poll() is None and tick(_judged(folder)):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.2)
        finally:
            _stop(process)
    judged = {(verdict.learner, verdict.exercise): verdict for verdict in _verdicts(folder)}
    tick(len(judged))
    passed: dict[Key, bool] = {}
    with contextlib.suppress(
        FileNotFoundError, ElementTree.ParseError
    ):  # it was killed before it had written
        passed = dict(cells(junit))
    return {key: verdict for key, verdict in judged.items() if _agree(verdict, passed.get(key))}


def command(notebook: Path, junit: Path, limits: Limits) -> list[str]:
    """The pytest call: nbval, our plugin and no other; no conftest and no configuration from anywhere."""
    return [
        *(sys.executable, "-P", "-s", "-m", "pytest", str(notebook), "-q"),
        *("--nbval-lax", "--nbval-current-env"),
        *("-p", "moe_lessons.grade.light", "-p", "nbval.plugin", "-p", "moe_lessons.grade.plugin"),
        *("-p", "no:cacheprovider"),
        *("--noconftest", "-c", os.devnull, f"--rootdir={notebook.parent}", f"--junitxml={junit}"),
        f"--nbval-cell-timeout={limits.notebook + _SPARE_SECONDS:g}",
    ]


def cells(junit: Path) -> Iterator[tuple[Key, bool]]:
    """Each graded cell of a JUnit file, and whether it passed: not failed, not skipped, not unseen."""
    for case in ElementTree.parse(junit).iter("testcase"):
        about = {p.get("name"): p.get("value", "") for p in case.iter("property")}
        if "exercise" in about:
            clean = all(case.find(tag) is None for tag in ("failure", "error", "skipped"))
            yield (int(about["learner"]), about["exercise"]), clean and "unseen" not in about


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End pytest as Ctrl-C would, so that it ends its kernel, and that its workers.

    By SIGTERM, which our plugin takes for Ctrl-C: what a shell starts in the background is deaf to SIGINT.
    """
    for seconds in (10.0, 5.0):
        if process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    process.kill()
    process.wait()


def _agree(verdict: Verdict, passed: bool | None) -> bool:
    """Whether nbval, which compares the printed line, and the judge, who wrote the verdict, say the same."""
    if passed is None:
        return False
    return verdict.status == PASSED if passed else verdict.status in (FAILED, NOT_ATTEMPTED)


def _judged(folder: Path) -> int:
    """How many verdicts there are, without reading them: a run is asked five times a second."""
    return _written(folder).count(b"\n")


def _verdicts(folder: Path) -> Iterator[Verdict]:
    for line in _written(folder).decode("utf-8").splitlines():
        yield as_verdict(json.loads(line))


def _written(folder: Path) -> bytes:
    try:
        return (folder / "verdicts.jsonl").read_bytes()
    except FileNotFoundError:
        return b""


def _environment(folder: Path) -> dict[str, str]:
    """Ours, without what could add to the run, and with progress and settings kept in its folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {
        **kept,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONWARNINGS": "ignore",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": str(Path(moe_lessons.__file__).parents[1]),
        "MOE_LESSONS_PARENT": str(os.getpid()),
        "TMPDIR": str(folder),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",  # runs stand side by side, one a core
        "MOE_LESSONS_HOME": str(folder / "home"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
