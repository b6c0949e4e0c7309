"""The grid behind explorable 2a: sixteen toy models in 24 settings, their loads over 200 steps.

    python benchmarks/collapse_race.py

Writes `moe_lessons/results/collapse_race.json`; about a minute on one core.
"""

import dataclasses
import json
import platform
from pathlib import Path

import torch

from moe_lessons.device import environment
from moe_lessons.metrics import effective_experts
from moe_lessons.toy import TopK, Toy, ToyRun
from moe_lessons.training.report import commit

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results" / "collapse_race.json"
STEPS, EVERY, DRAWN_SEEDS = 200, 10, 6
MUS, KS = (0.0, 1.0, 2.0, 4.0), (1, 2)
STARTS = {
    "random": {},
    "even": {"even_start": True},
    "even, tiny": {"even_start": True, "router_scale": 0.01},
}


def race(settings: Toy, top_k: int) -> torch.Tensor:
    """Load shares (P, S, E): at step 0, then means over `EVERY` steps each."""
    run = ToyRun(settings, TopK(top_k, renormalize=top_k > 1)).advance(STEPS)
    shares_NSE = run.shares_NSE
    means = shares_NSE.unflatten(0, (-1, EVERY)).mean(dim=1)
    return torch.cat([shares_NSE[:1], means])


def main() -> None:
    """Run every setting and write the result."""
    torch.set_num_threads(1)
    cells = []
    for mu in MUS:
        for start, changes in STARTS.items():
            for k in KS:
                shares_PSE = race(Toy(mu=mu, **changes), k)
                drawn_PSE = shares_PSE[:, :DRAWN_SEEDS]
                # 0 is kept for an expert without a single row.
                per_mille = torch.where(drawn_PSE > 0, (1000 * drawn_PSE).round().clamp_min(1), 0).int()
                effective_PS = effective_experts(shares_PSE)
                cells.append(
                    {
                        "mu": mu,
                        "start": start,
                        "k": k,
                        "effective_PS": [[round(x, 2) for x in row] for row in effective_PS.tolist()],
                        "shares_per_mille_PSE": per_mille.tolist(),
                    }
                )
                print(mu, start, k, f"{effective_PS[-1].median():.2f}", flush=True)
    result = {
        "toy": dataclasses.asdict(Toy()),
        "steps": list(range(0, STEPS + 1, EVERY)),
        **environment(torch.device("cpu")),
        "python": platform.python_version(),
        "commit": commit(),
        "cells": cells,
    }
    RESULTS.write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
