"""Which tiles are worth timing on a Hopper GPU, judged without one: what each candidate would use there.

    python benchmarks/kernel_candidates.py

Compiles the short list of `gpu_stages/candidates.py` for an H100 (sm_90), a process for each core, reads the
machine code, and writes `benchmarks/results/kernel_candidates.json`: for each candidate what it uses and why
it is dropped, if it is; and what grouping should save of the reads. Nothing here measures speed.
"""

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
import triton
from gpu_stages.candidates import MULTIPROCESSORS, SHAPES, candidates, reads, today
from gpu_stages.workers import Worker, ask_all

from moe_lessons.kernels.tiles import Tile

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "kernel_candidates.json"
JUDGED = ("reference", "decode")  # the other shapes compile to the same code, or with another number for K
GROUPS = (1, 2, 4, 8, 16)
QUESTION_S = 300


def judged() -> list[dict[str, Any]]:
    """Compile all candidates; rows in their order."""
    questions = [
        {"shape": shape, "step": step, "sizes": SHAPES[shape], "tile": tile, "capability": 90}
        for shape in JUDGED
        for step, tile in candidates(shape)
    ]
    workers = [Worker("gpu_stages.compiling") for _ in os.sched_getaffinity(0)]
    rows = [{} for _ in questions]
    for question, answer in ask_all(workers, questions, lambda: QUESTION_S):
        tile = question["tile"]
        rows[questions.index(question)] = {
            "shape": question["shape"],
            "kernel": question["step"],
            "tile": tile[:3],
            "warps": tile.warps,
            "stages": tile.stages,
            "levers": tile.levers,
            **(uses(answer) if "error" not in answer else {"dropped": [answer["error"]]}),
        }
        print(json.dumps(rows[questions.index(question)]), flush=True)
    return rows


def uses(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what is a property of the candidate, and not of this run."""
    return {name: value for name, value in answer.items() if name not in ("compiled_before", "compile_s")}


def expected_reads() -> list[dict[str, Any]]:
    """What `reads` expects of grouping, for each shape with many rows."""
    return [
        {
            "shape": shape,
            "kernel": step,
            "tile": tile[:3],
            "group": group,
            "read_GB": round(reads(shape, step, tile), 3),
        }
        for shape, sizes in SHAPES.items()
        if (now := today(sizes, (9, 0))).rows >= 64
        for step in ("up", "down")
        for group in GROUPS
        for tile in [Tile(*getattr(now, step)[:5], group=group)]
    ]


def main() -> None:
    rows = judged()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    dropped = sum(bool(row["dropped"]) for row in rows)
    about = {
        "what": "compiled for sm_90 without a GPU; registers per thread, bytes per program, instructions",
        "measured_on_a_gpu": False,
        "triton": triton.__version__,
        "torch": torch.__version__.partition("+")[0],
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "shapes_TDFEK": {shape: SHAPES[shape] for shape in JUDGED},
    }
    counts = {"candidates": len(rows), "kept": len(rows) - dropped, "dropped": dropped}
    result = {**about, **counts, "multiprocessors": MULTIPROCESSORS}
    parts = {"expected_reads": expected_reads(), "rows": rows}
    head = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in result.items())
    body = ",\n".join(
        f"{json.dumps(key)}: [\n" + ",\n".join(map(json.dumps, lines)) + "\n]" for key, lines in parts.items()
    )
    RESULTS.write_text(f"{{{head},\n{body}\n}}\n", encoding="utf-8")
    print(counts)


if __name__ == "__main__":
    main()
