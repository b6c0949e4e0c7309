"""The best design for each of the capstone's budgets, and what twice as much of each resource would buy.

    python benchmarks/budget.py

Writes moe_lessons/results/budget.json, which *Budget bench* reads; some ten CPU seconds, no randomness.
"""

import json
import platform
import time
from dataclasses import asdict
from pathlib import Path

from moe_lessons.budget import KINDS, search, shadow_prices

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results" / "budget.json"


def row(budget):
    """What the search finds for one budget."""
    found, dense = search(budget), search(budget, dense=True)
    design = asdict(found.design)
    return {
        "budget": budget.name,
        "design": {**design, "tokens": float(f"{design['tokens']:.6g}")},
        "loss": round(found.loss, 5),
        "dense_loss": dense and round(dense.loss, 5),
        "uses": {name: round(share, 4) for name, share in found.verdict.uses.items()},
        "twice": {name: round(price, 5) for name, price in shadow_prices(budget).items()},
    }


def main():
    """Search under every kind of budget and write the file."""
    began = time.process_time()
    rows = [row(budget) for budget in KINDS.values()]
    about = {
        "script": "benchmarks/budget.py",
        "python": platform.python_version(),
        "device": platform.processor() or platform.machine(),
        "threads": 1,
        "units": "nats a token; shares of what there is",
        "cpu_s": round(time.process_time() - began, 1),
    }
    RESULTS.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    print(f"{len(rows)} budgets, {about['cpu_s']} CPU s")


if __name__ == "__main__":
    main()
