"""Every router of lesson 06 on the same toy: error, balance, and the error where no token sees another.

    python benchmarks/routing_zoo.py [--seeds 16] [--steps 600]

Writes `moe_lessons/results/routing_zoo.json` and `balancing_race.json`; about four minutes on one core.
"""

import json
import platform
import time
from pathlib import Path

import click
import torch

from moe_lessons.device import environment
from moe_lessons.toy.race import race
from moe_lessons.toy.zoo_table import compare
from moe_lessons.training.report import commit

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results"


@click.command()
@click.option("--seeds", default=16, help="Models per router, trained side by side.")
@click.option("--steps", default=600)
def main(seeds: int, steps: int) -> None:
    """Run the comparison, then the grid of the explorable."""
    torch.set_num_threads(1)
    for name, make in (("routing_zoo", compare), ("balancing_race", race)):
        begin = time.perf_counter()
        found = make(n_seeds=seeds, steps=steps, say=print)
        about = {
            "script": "benchmarks/routing_zoo.py",
            "commit": commit(),
            "python": platform.python_version(),
            **environment(torch.device("cpu")),
            "wall_s": round(time.perf_counter() - begin, 1),
        }
        text = json.dumps({"about": about, **found}, separators=(",", ":"))
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
