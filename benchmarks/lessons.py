"""How long each lesson takes and how much memory, on all cores and on one. CONTRIBUTING states the limits.

    python benchmarks/lessons.py [--cores 1] [NAMES]

Runs every solutions notebook from a fresh kernel and writes `benchmarks/results/lessons.json`.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import click
import torch

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "lessons.json"
LIMIT_S, LIMIT_MB = 60, 1500

RUN = """
import sys, tempfile, os
os.environ["MOE_LESSONS_HOME"] = tempfile.mkdtemp()
import nbclient, nbformat
built = nbformat.read(sys.argv[1], as_version=4)
where = {"metadata": {"path": os.path.dirname(sys.argv[1])}}
nbclient.NotebookClient(built, timeout=600, resources=where).execute()
"""


def measure(notebook: Path, cores: int) -> dict:
    """Wall seconds and the largest resident size among the kernel and its children."""
    available = sorted(os.sched_getaffinity(0))
    script = (
        "import os, resource, subprocess, sys\n"
        f"os.sched_setaffinity(0, {available[:cores]!r})\n"
        f"done = subprocess.run([sys.executable, '-W', 'ignore', '-c', {RUN!r}, {str(notebook)!r}])\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        "sys.exit(done.returncode)\n"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return {
        "lesson": notebook.stem,
        "cores": cores,
        "wall_s": round(time.perf_counter() - begin, 1),
        "peak_resident_mb": round(int(done.stdout.split()[-1]) / 1024),
    }


@click.command()
@click.argument("names", nargs=-1)
@click.option("--cores", type=int, multiple=True, help="Cores to run on; by default all, then one.")
def main(names: tuple[str, ...], cores: tuple[int, ...]) -> None:
    """Measure the lessons NAMES (such as 01; all by default)."""
    everything = len(os.sched_getaffinity(0))
    rows = []
    for notebook in sorted((ROOT / "solutions").glob("*.ipynb")):
        if names and not notebook.stem.startswith(names):
            continue
        for n in cores or sorted({everything, 1}, reverse=True):
            row = measure(notebook, n)
            over = row["wall_s"] > LIMIT_S * (2 if n == 1 else 1) or row["peak_resident_mb"] > LIMIT_MB
            print(json.dumps(row), "OVER THE LIMIT" if over else "", flush=True)
            rows.append(row)
    if names:
        return
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    RESULTS.parent.mkdir(exist_ok=True)
    about = {
        "device": f"CPU, {platform.machine()}, {everything} cores",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "limits": {"wall_s": LIMIT_S, "peak_resident_mb": LIMIT_MB},
    }
    RESULTS.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
