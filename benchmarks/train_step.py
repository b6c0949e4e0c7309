"""Training steps a second: our model, Hugging Face's Mixtral with the same weights, and our own dense model.

    python benchmarks/train_step.py [--quick] [--device cpu] [--threads N] [--clock cpu] [--out FILE]

One step is forward, loss, backward, clipping of the gradient and fused AdamW. Everybody trains on the same
batches and takes turns in an order drawn each round; ratios are of the same round. Logits, loss and gradient
of Mixtral are compared with ours first: if they differ, nothing is reported. "dense" has plain feed-forward
networks as wide as K experts: as many FLOPs a token without any routing, which is the limit. In
"dense_one_expert" one expert takes every token, and "dense_torch_linear" is "dense" with PyTorch's own linear
layers in place of ours. A full run without --out writes
`benchmarks/results/train_step_DEVICE.json`, in about three minutes on two quiet cores.
"""

import json
from pathlib import Path
from typing import Any

import click
import torch

from moe_lessons.bench.report import about
from moe_lessons.bench.training import (
    DENSE,
    DENSE_TORCH,
    ONE_EXPERT,
    OURS,
    PEERS,
    Trainee,
    check,
    contestants,
)
from moe_lessons.bench.turns import ratios, spread, take_turns
from moe_lessons.commands.bench import CLOCKS
from moe_lessons.config import TrainConfig, preset
from moe_lessons.data import load_corpus, training_batch
from moe_lessons.device import pick_device
from moe_lessons.model import parameter_counts
from moe_lessons.training.utilisation import device_peak, flops_per_token, utilisation

RESULTS = Path(__file__).resolve().parent / "results"
QUICK_ROUNDS, ROUNDS = 7, 60
CPU_SIZES = {
    "cpu-tiny": preset("cpu-tiny"),
    "3.5M": preset("cpu-tiny").override(d_expert=256, n_kv_heads=4),
}
GPU_SIZES = {
    "small": preset("cpu-tiny").override(
        batch_size=32, n_layers=8, d_model=512, n_heads=8, n_kv_heads=4, d_expert=768, context_length=512
    ),
    "gpt-2-small": preset("cpu-tiny").override(
        batch_size=16, n_layers=12, d_model=768, n_heads=12, n_kv_heads=12, d_expert=1536, context_length=1024
    ),
}


class Batches:
    """The batch of each round; rounds of warming up, counted below zero, share the first one."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.tokens_N = load_corpus(config.corpus, context_length=config.model.context_length).train_N

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        sizes = {"batch_size": self.config.batch_size, "context_length": self.config.model.context_length}
        batch = training_batch(self.tokens_N, **sizes, seed=self.config.seed, step=max(0, number))
        return batch[0].to(self.device), batch[1].to(self.device)


def measure(name: str, config: TrainConfig, device: torch.device, rounds: int, clock: str) -> dict[str, Any]:
    """Let everybody take turns on one size and return the row that says what came out."""
    trainees, absent = contestants(config, device)
    batches = Batches(config, device)
    differences = check(trainees, *batches[0])

    def turn(trainee: Trainee):
        return lambda number: trainee.step(*batches[number])

    turns = {one: turn(trainee) for one, trainee in trainees.items()}
    seconds = take_turns(turns, rounds, clock=CLOCKS[clock], warm_up=3)
    medians = {one: spread(samples)["median"] for one, samples in seconds.items()}
    peers = [one for one in PEERS if one in seconds]
    best = min(peers, key=lambda one: medians[one]) if peers else None
    total, active = parameter_counts(trainees[OURS].model)
    tokens, flops = config.tokens_per_step, flops_per_token(config.model)
    peak = device_peak(device, "bf16")
    return {
        "size": name,
        "parameters": {"total": total, "active": active},
        "tokens_per_step": tokens,
        "batch_size": config.batch_size,
        "flops_per_token": flops,
        "best_peer": best,
        "speedup_over_best_peer": ratios(seconds[best], seconds[OURS]) if best else None,
        "time_over_dense": ratios(seconds[OURS], seconds[DENSE]),
        "time_over_dense_one_expert": ratios(seconds[OURS], seconds[ONE_EXPERT]),
        "time_over_dense_torch_linear": ratios(seconds[OURS], seconds[DENSE_TORCH]),
        "contestants": {
            one: {
                "ms": spread([1e3 * s for s in samples]),
                "tokens_per_second": round(tokens / medians[one]),
                # For the dense models it leaves out the router, which they don't have.
                "gflops_per_second": round(tokens * flops / medians[one] / 1e9, 1),
                "utilisation": utilisation(flops, tokens / medians[one], peak),
                **({"logits_differ_by": float(f"{differences[one]:.1e}")} if one in differences else {}),
            }
            for one, samples in sorted(seconds.items(), key=lambda item: medians[item[0]])
        },
        "not_measured": absent,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Say in lines what came out."""
    lines = []
    for row in rows:
        total, active = row["parameters"]["total"], row["parameters"]["active"]
        lines.append(
            f"{row['size']}: {total:,} parameters, {active:,} active, {row['tokens_per_step']} tokens"
        )
        for name, one in row["contestants"].items():
            ms = one["ms"]
            lines.append(
                f"  {name:<17} {ms['median']:8.2f} ms ({ms['q1']:.2f}-{ms['q3']:.2f})"
                f"  {one['tokens_per_second']:>8,} tokens/s  {one['gflops_per_second']:>9,} GFLOP/s"
            )
        for key, value in row.items():
            if value is not None and key.startswith(("speedup", "time_over")):
                lines.append(f"  {key}: {value['median']:.3f} ({value['q1']:.3f}-{value['q3']:.3f})")
    return "\n".join(lines)


@click.command()
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--quick", is_flag=True, help=f"{QUICK_ROUNDS} rounds instead of {ROUNDS}.")
@click.option("--rounds", type=click.IntRange(min=3), help="How often everybody takes a turn.")
@click.option("--sizes", help="Names of sizes, separated by commas.  [all of them]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of PyTorch.  [all cores]")
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON to this file.")
def main(
    device: str,
    quick: bool,
    rounds: int | None,
    sizes: str | None,
    threads: int | None,
    clock: str,
    out: Path | None,
) -> None:
    """Time training steps of our model, of Hugging Face's Mixtral and of dense models."""
    if threads:
        torch.set_num_threads(threads)
    where = pick_device(device)
    known = GPU_SIZES if where.type == "cuda" else CPU_SIZES
    chosen = sizes.split(",") if sizes else list(known)
    n_rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    rows = []
    for name in chosen:
        click.echo(f"{name} ...", err=True)
        rows.append(measure(name, known[name], where, n_rounds, clock))
    click.echo(table(rows))
    if out is None and not (quick or rounds or sizes):
        out = RESULTS / f"train_step_{where.type}.json"
    if out is not None:
        described = about(where.type, torch.get_num_threads(), n_rounds, clock) | {
            "units": "milliseconds a step; ratios are of the same round: medians with quartiles",
            "limit": "our own dense model at equal active FLOPs",
        }
        out.write_text(json.dumps({"about": described, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
