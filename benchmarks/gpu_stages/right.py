"""Is it right? Kernels and layer against fp64, capture, synchronisation, memory, and a training in bf16.

What needs a GPU are the tests of `tests/kernels/test_gpu*.py`, run side by side, each a row, and one small
run under compute-sanitizer. Meanwhile this process trains. In a dry run the tests are rows that say why they
were skipped, and the interpreter computes a little of what they would.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_stages.stage import Stage

LIMIT_S = 90
ROOT = Path(__file__).resolve().parents[2]
Check = Callable[[], dict[str, Any] | None]


def run(stage: Stage) -> None:
    """Do every check that is not stored yet; a failing one never stops the others."""
    if stage.dry:
        os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton
    checks = importlib.import_module("gpu_stages.right_checks")
    beside = importlib.import_module("gpu_stages.right_beside")
    with beside.tests(stage) as tests, beside.sanitizer(stage) as sanitizer:
        for name, check in checks.checks(stage.device).items():
            attempt(stage, name, check)
            tests.collect()
        problem = tests.finish()
        sanitizer.finish()
    if problem:  # no row: what has not ended is not measured, and is done again another time
        sys.exit(problem)


def attempt(stage: Stage, name: str, check: Check) -> None:
    """Do one check and store its row: what it found, or why it failed."""
    if stage.have(check=name):
        return
    stage.say(f"{name} ...")
    began = time.perf_counter()
    try:
        row = {"ok": True, **(check() or {})}
    except Exception as error:
        row = {"ok": False, "why": f"{type(error).__name__}: {error}"}
    stage.add({"check": name, **row, "seconds": round(time.perf_counter() - began, 2)})
    if row["ok"] is False and not stage.dry:
        importlib.import_module("torch").cuda.synchronize()  # raises after a fault: a fresh process goes on
