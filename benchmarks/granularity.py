"""Lesson 11's long runs: granularity by task and learning rate, latents by rank, granularity on text.

    python benchmarks/granularity.py [--only grid] [--only latents] [--only text]

Writes `moe_lessons/results/granularity.json` (`grid`, `latents`) and `granularity_text.json` (`text`); each
part says how many seconds it took, wall and CPU: about four, half and five minutes of CPU.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch

from moe_lessons.config import preset
from moe_lessons.data import load_corpus
from moe_lessons.device import environment
from moe_lessons.toy import granularity
from moe_lessons.training.report import commit
from moe_lessons.training.run import Run

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results"
# Lesson 04's model with two experts a token, and one rate for all: a comparison at equal settings.
BASE = preset("lesson").override(
    n_layers=2,
    d_model=64,
    d_expert=64,
    context_length=64,
    batch_size=16,
    learning_rate=3e-3,
    warmup_steps=20,
    log_every=100,
    evaluate_every=10**6,
    device="cpu",
)
# Granularity, and the factor on the weights: G keeps what a cut layer computes, 1 leaves it at a G-th.
CUTS = ((1, 1), (2, 2), (4, 4), (8, 8), (8, 1))


def text(*, n_seeds: int, steps: int, say: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Held-out bits per byte of a small language model with experts cut ever finer."""
    corpus = load_corpus(BASE.corpus, context_length=BASE.model.context_length)
    rows = []
    for grain, factor in CUTS:
        bits, begin = [], time.process_time()
        for seed in range(n_seeds):
            config = BASE.override(
                n_experts=8 * grain,
                top_k=2 * grain,
                d_expert=64 // grain,
                routed_scale=float(factor),
                steps=steps,
                seed=seed,
            )
            torch.manual_seed(seed)
            run = Run(config, corpus, torch.device("cpu"))
            run.open(None, None)
            run.loop(None)
            bits.append(round(run.validation_bits_per_byte, 4))
        each = round((time.process_time() - begin) / n_seeds, 1)
        say(f"G={grain} factor {factor}: {statistics.mean(bits):.3f} bits per byte, {each} CPU s a run")
        rows.append({"granularity": grain, "factor": factor, "bits_per_byte": bits, "cpu_s_per_run": each})
    return rows


PARTS: dict[str, tuple[str, Callable[..., Any], dict[str, int]]] = {
    "grid": ("granularity", granularity.grid, {"n_seeds": 16, "steps": 400}),
    "latents": ("granularity", granularity.latents, {"n_seeds": 8, "steps": 300}),
    "text": ("granularity_text", text, {"n_seeds": 5, "steps": 200}),
}


@click.command()
@click.option("--only", type=click.Choice(list(PARTS)), multiple=True, help="All parts if not given.")
def main(only: tuple[str, ...]) -> None:
    """Run the parts and put each into its file, beside what is there."""
    torch.set_num_threads(1)
    for part in only or PARTS:
        name, make, settings = PARTS[part]
        wall, cpu = time.perf_counter(), time.process_time()
        rows = make(**settings, say=lambda line: print(line, flush=True))
        about = {
            "script": "benchmarks/granularity.py",
            "commit": commit(),
            "python": platform.python_version(),
            **environment(torch.device("cpu")),
            "wall_s": round(time.perf_counter() - wall),
            "cpu_s": round(time.process_time() - cpu),
        }
        file = RESULTS / f"{name}.json"
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        found[part] = {"about": about, "settings": settings, "rows": rows}
        file.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
