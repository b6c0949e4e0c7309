"""A MoE model against dense ones: as many active parameters, as many in all; several seeds, two budgets.

    python benchmarks/dense_vs_moe.py [--quick] [--out FILE] [--threads N]

Same text, same windows in the same order, as many tokens, same loop (`moe_lessons.training`). Each variant
gets the learning rate that was best for it in runs of the whole length, with a seed of their own: three
rates, and further ones, each twice or half the last, until a worse one lies on either side of the best. After
the warm-up the rate stays constant, so that every point of a curve is a finished run of that length; it was
chosen for the last point. Loss by step, by training FLOPs (`moe_lessons.accounting`) and by the clock: steps
times the median of a step, for which all variants took turns on this machine after the training. A full run
writes `moe_lessons/results/dense_vs_moe.json`, in about twenty minutes on two quiet cores:

    {"budgets": {NAME: {
        "about": {...}, "quick": bool, "settings": {...},
        "tokens_per_step": int, "steps": [...], "seeds": [...], "epochs": float,
        "tuning": {VARIANT: {LEARNING RATE: bits per byte}}, "tuning_steps": int,
        "variants": {"moe" | "dense_equal_active" | "dense_equal_total": {
            "parameters": {"total": int, "active": int}, "d_expert": int, "n_experts": int, "top_k": int,
            "learning_rate": float, "flops_per_token": int, "seconds_per_step": {"median", "q1", "q3"},
            "x": {"step": [...], "flops": [...], "seconds": [...]},
            "validation_bits_per_byte": [[one for each of "steps"] for each of "seeds"]}},
        "crossings": [{"of": "moe", "and": VARIANT, "axis": "step" | "flops" | "seconds",
            "crossings": [x, ...], "at": x, "difference": [moe minus dense, for each seed]}]}}}

`crossings` is empty where the means over seeds do not cross; `at` is the last x that both curves reach. A
budget that is not asked for stays as the file has it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click
import torch

from moe_lessons.bench.dense import MOE, compare, settings, variants
from moe_lessons.bench.report import about
from moe_lessons.bench.turns import spread, take_turns
from moe_lessons.commands.bench import CLOCKS
from moe_lessons.config import TrainConfig, preset
from moe_lessons.data import load_corpus
from moe_lessons.model import parameter_counts
from moe_lessons.training import train
from moe_lessons.training.run import Run
from moe_lessons.training.utilisation import flops_per_token

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results" / "dense_vs_moe.json"
AXES = ("step", "flops", "seconds")
LEARNING_RATES = (1.4e-3, 2.8e-3, 5.6e-3)
MOST_RATES = 6  # tried in all, if the best keeps standing at an end of the row
TUNING_SEED = 100
CONSTANT = {"min_learning_rate_ratio": 1.0, "device": "cpu"}
BUDGETS = {
    "small": preset("cpu-tiny").override(
        **CONSTANT, n_layers=2, d_model=64, n_heads=2, n_kv_heads=1, d_expert=64, steps=600, evaluate_every=50
    ),
    "large": preset("cpu-tiny").override(**CONSTANT, steps=600, evaluate_every=50),
}


def curve(config: TrainConfig) -> tuple[list[float], dict[str, int]]:
    """Train once; return the held-out bits per byte of each evaluation and the parameter counts."""
    result = train(config)
    losses = [r.validation_bits_per_byte for r in result.history if r.validation_bits_per_byte is not None]
    total, active = parameter_counts(result.model)
    return [round(loss, 4) for loss in losses], {"total": total, "active": active}


def tuned(config: TrainConfig) -> dict[float, float]:
    """Return the held-out loss of a whole run at each learning rate tried, in their order."""
    whole = config.override(seed=TUNING_SEED, evaluate_every=config.steps, log_every=config.steps)
    found: dict[float, float] = {}
    to_try = list(LEARNING_RATES)
    while to_try:
        found |= {rate: curve(whole.override(learning_rate=rate))[0][-1] for rate in to_try}
        best, rates = best_rate(found), sorted(found)
        further = {rates[0]: best / 2, rates[-1]: best * 2}
        to_try = [further[best]] if best in further and len(found) < MOST_RATES else []
    return dict(sorted(found.items()))


def best_rate(tuning: dict[float, float]) -> float:
    """Return the learning rate of the lowest loss."""
    return min(tuning, key=tuning.__getitem__)


def step_seconds(configs: dict[str, TrainConfig], rounds: int, clock: str) -> dict[str, list[float]]:
    """Let all variants take turns with a step of training each."""
    device = torch.device("cpu")
    corpus = load_corpus(configs[MOE].corpus, context_length=configs[MOE].model.context_length)
    runs = {name: Run(config, corpus, device) for name, config in configs.items()}
    turns = {name: (lambda number, run=run: run.advance()) for name, run in runs.items()}
    return take_turns(turns, rounds, clock=CLOCKS[clock], warm_up=5)


def measure(config: TrainConfig, seeds: int, rounds: int, clock: str) -> dict[str, Any]:
    """Train every variant with every seed and lay the curves beside each other."""
    found: dict[str, Any] = {}
    tuning, chosen = {}, {}
    for name, variant in variants(config).items():
        tuning[name] = tuned(variant)
        chosen[name] = variant.override(learning_rate=best_rate(tuning[name]))
        click.echo(f"  {name}: learning rates {tuning[name]}", err=True)
    steps = list(range(config.evaluate_every, config.steps + 1, config.evaluate_every))
    for name, variant in chosen.items():
        curves = []
        for seed in range(seeds):
            losses, parameters = curve(variant.override(seed=seed, log_every=config.evaluate_every))
            click.echo(f"  {name}, seed {seed}: {losses[-1]:.3f}", err=True)
            curves.append(losses)
        found[name] = {
            "parameters": parameters,
            "d_expert": variant.model.d_expert,
            "n_experts": variant.model.n_experts,
            "top_k": variant.model.top_k,
            "learning_rate": variant.learning_rate,
            "flops_per_token": flops_per_token(variant.model),
            "validation_bits_per_byte": curves,
        }
    for name, samples in step_seconds(chosen, rounds, clock).items():
        one = found[name]
        one["seconds_per_step"] = spread(samples, digits=6)
        per_step = {
            "step": 1,
            "flops": config.tokens_per_step * one["flops_per_token"],
            "seconds": one["seconds_per_step"]["median"],
        }
        one["x"] = {axis: [round(step * per_step[axis], 4) for step in steps] for axis in AXES}
    corpus = load_corpus(config.corpus)
    described = about("cpu", torch.get_num_threads(), rounds, clock) | {
        "units": "held-out bits per byte; seconds are steps times the median step of all variants in turns",
        "limit": None,
    }
    return {
        "about": described,
        "settings": settings(config),
        "tokens_per_step": config.tokens_per_step,
        "steps": steps,
        "seeds": list(range(seeds)),
        "epochs": round(config.steps * config.tokens_per_step / len(corpus.train_N), 2),
        "tuning": {
            name: {f"{rate:g}": bits for rate, bits in rates.items()} for name, rates in tuning.items()
        },
        "tuning_steps": config.steps,
        "variants": found,
        "crossings": [
            {"of": MOE, "and": name, **compare(one, found[MOE], axis)}
            for name, one in found.items()
            if name != MOE
            for axis in AXES
        ],
    }


def table(result: dict[str, Any]) -> str:
    """Say in lines what came out."""
    lines = []
    for budget, found in result["budgets"].items():
        lines.append(f"{budget}: {found['steps'][-1]} steps, {found['epochs']} epochs")
        for name, one in found["variants"].items():
            ends = ", ".join(f"{losses[-1]:.3f}" for losses in one["validation_bits_per_byte"])
            size, pace = one["parameters"]["total"], 1e3 * one["seconds_per_step"]["median"]
            lines.append(f"  {name:<20} {size:>10,} parameters  {pace:7.1f} ms/step  bits per byte {ends}")
        for one in found["crossings"]:
            places = ", ".join(f"{x:.4g}" for x in one["crossings"]) or "do not cross"
            ends = ", ".join(f"{gap:+.3f}" for gap in one["difference"])
            at = "no common place" if one["at"] is None else f"{one['at']:.4g}"
            lines.append(f"  moe - {one['and']:<20} by {one['axis']:<8}{places}; at {at}: {ends}")
    return "\n".join(lines)


@click.command()
@click.option("--quick", is_flag=True, help="A few steps and two seeds, to see that it works.")
@click.option("--budgets", default=",".join(BUDGETS), show_default=True, help="Separated by commas.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of each run.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of PyTorch.  [all cores]")
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON to this file.")
def main(
    quick: bool, budgets: str, steps: int | None, threads: int | None, clock: str, out: Path | None
) -> None:
    """Train MoE and dense models on the same tokens and compare their loss."""
    if threads:
        torch.set_num_threads(threads)
    steps = steps or (30 if quick else None)
    every = None if steps is None else max(1, steps // 12)
    seeds, rounds = (2, 5) if quick else (3, 40)
    if out is None and not quick and steps is None:
        out = RESULTS
    result: dict[str, Any] = {"budgets": {}}
    if out is not None and out.is_file():
        result = json.loads(out.read_text(encoding="utf-8"))
    for name in budgets.split(","):
        click.echo(f"{name} ...", err=True)
        config = BUDGETS[name].override(steps=steps, evaluate_every=every)
        result["budgets"][name] = {"quick": quick, **measure(config, seeds, rounds, clock)}
        if out is not None:
            out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(table(result))


if __name__ == "__main__":
    sys.exit(main())
