"""Lessons 08, 09 and 10 executed on this machine: that what they show where there is a GPU works.

Each is run in a fresh process from its solutions notebook, in Jupyter's kernel if nbclient and ipykernel are
here, else as plain Python (`lessons_notebook`). Nothing is written into the notebooks.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gpu_stages.stage import Stage

LIMIT_S = 120
ROOT = Path(__file__).resolve().parents[2]
LESSONS = ("09_triton", "10_mini_transformer", "08_dispatch")  # by how much a GPU changes them
GPU = re.compile(r"cuda|gpu", re.IGNORECASE)
FEW_CELLS = 6  # in a dry run
LEAST_S, SPARE_S = 15.0, 3.0
LONGEST = 2000  # characters kept of what one cell printed


def run(stage: Stage) -> None:
    """Execute what is not stored as executed, one lesson after the other."""
    for lesson in LESSONS[: 1 if stage.dry else None]:
        found = [row for row in stage.rows if row.get("lesson") == lesson]
        if found and "unfinished" not in found[-1]:
            continue
        if stage.left() < LEAST_S and not stage.dry:
            stage.say(f"no time for {lesson}")
            return
        stage.say(f"{lesson} ...")
        stage.add({"lesson": lesson, **execute(stage, lesson)})


def execute(stage: Stage, lesson: str) -> dict[str, Any]:
    """Execute a lesson in a process of its own and return its row."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "cells.jsonl"
        command = [sys.executable, "-m", "gpu_stages.lessons_notebook", str(notebook(lesson)), str(said)]
        command += [str(FEW_CELLS)] if stage.dry else []
        env = {**os.environ, "MOE_LESSONS_HOME": folder, "MPLBACKEND": "agg"}
        try:
            code = subprocess.run(
                command,
                cwd=ROOT / "solutions",
                env=env,
                timeout=max(1.0, stage.left() - SPARE_S),
                check=False,
            ).returncode
            how = {}
        except subprocess.TimeoutExpired:
            code, how = 0, {"unfinished": f"stopped after {time.perf_counter() - began:.0f} s"}
        cells = [json.loads(line) for line in said.read_text().splitlines()] if said.exists() else []
    row = summary(cells, code)
    if how:
        del row["ok"]
    return {**row, **how, "seconds": round(time.perf_counter() - began, 1)}


def summary(cells: list[dict[str, Any]], code: int) -> dict[str, Any]:
    """Make of the cells' lines what the row says.

    Examples
    --------
    >>> lines = [{"way": "plain Python", "cells": 2}, {"cell": 0, "source": "gpu()", "printed": "one"}]
    >>> row = summary([*lines, {"cell": 1, "source": "x", "printed": "", "error": "NameError: x"}], 1)
    >>> row["ok"], row["error"], row["about_the_gpu"]
    (False, 'cell 1: NameError: x', [{'cell': 0, 'printed': 'one'}])
    """
    head = cells[0] if cells else {}
    done = cells[1:]
    wrong = [f"cell {cell['cell']}: {cell['error']}" for cell in done if cell.get("error")]
    if code and not wrong:
        wrong = [f"the process ended with {code} after {len(done)} cells"]
    return {
        "ok": not wrong,
        **({"error": wrong[0]} if wrong else {}),
        "way": head.get("way"),
        "cells": head.get("cells"),
        "executed": len(done),
        "about_the_gpu": [
            {"cell": cell["cell"], "printed": cell["printed"][:LONGEST]}
            for cell in done
            if GPU.search(cell["source"]) and cell["printed"].strip()
        ],
    }


def notebook(lesson: str) -> Path:
    """Return where a lesson's solutions notebook lies."""
    return ROOT / "solutions" / f"{lesson}.ipynb"
