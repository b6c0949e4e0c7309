"""Peak memory of training `cpu-tiny`, resident and beyond the libraries: measured and predicted.

    python benchmarks/memory.py [--quick]

Each measurement is a process of its own: with the library that this CPU multiplies with and with MKL, on one
thread and on two. A full run goes through all steps of the preset, which takes about ten minutes on two quiet
cores, and writes `benchmarks/results/memory.json`.
"""

import json
import os
from pathlib import Path

import click

from moe_lessons.bench.memory import measure
from moe_lessons.bench.report import about
from moe_lessons.config import preset

RESULTS = Path(__file__).resolve().parent / "results" / "memory.json"
QUICK_STEPS = 30


@click.command()
@click.option("--quick", is_flag=True, help=f"{QUICK_STEPS} steps; writes nothing.")
@click.option("--preset", "name", default="cpu-tiny", show_default=True)
def main(quick: bool, name: str) -> None:
    """Measure and predict the peak memory of a training run."""
    steps = QUICK_STEPS if quick else preset(name).steps
    rows = []
    for threads in sorted({1, min(2, os.cpu_count() or 1)}):
        for capability in (None, "avx2"):
            row = measure(name, steps, threads=threads, capability=capability, timeout_s=3600)
            rows.append({**row, "predicted_over_measured": round(row["predicted"] / row["measured"], 3)})
            click.echo(
                f"{name}, {steps} steps, {threads} thread(s), {row['cpu_capability']}: "
                f"measured {row['measured'] / 1e6:.0f} MB, predicted {row['predicted'] / 1e6:.0f} MB "
                f"({row['predicted'] / row['measured']:.2f})"
            )
    if not quick:
        described = about("cpu", max(row["threads"] for row in rows), 1, "none") | {
            "units": "bytes; measured: peak resident set less that of the baseline",
            "limit": None,
        }
        RESULTS.write_text(json.dumps({"about": described, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
