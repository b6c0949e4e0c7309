"""A small language model under nine ways to balance, or not to: load of every layer over time, held-out loss.

    python benchmarks/collapse.py [--steps 600] [--seeds 5]

Writes `moe_lessons/results/collapse.json`, which lesson 04 reads; about ten minutes on one core.
"""

import json
import platform
import statistics
import time
from pathlib import Path

import click
import torch

from moe_lessons.config import TrainConfig, preset
from moe_lessons.data import load_corpus
from moe_lessons.device import environment
from moe_lessons.metrics import effective_experts
from moe_lessons.training.report import commit
from moe_lessons.training.run import Run

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results" / "collapse.json"

# Two layers, so that a notebook can train it twice while one watches; top-1 with the probability as weight,
# as in Switch, because top-2 did not collapse. No z-loss, so that nothing but the method touches the router.
BASE = preset("lesson").override(
    n_layers=2,
    d_model=64,
    d_expert=64,
    context_length=64,
    batch_size=16,
    top_k=1,
    gate="softmax_topk",
    learning_rate=3e-3,
    warmup_steps=20,
    log_every=20,
    evaluate_every=10**6,
    z_loss_weight=0.0,
    balancing="none",
    device="cpu",
)
METHODS: dict[str, dict] = {
    "none": {},
    "none, router x 0.01": {},
    "none, top-2": {"top_k": 2, "gate": "topk_softmax"},
    "z-loss 0.001": {"z_loss_weight": 0.001},
    "aux loss 0.001": {"balancing": "aux_loss", "alpha": 0.001},
    "aux loss 0.01": {"balancing": "aux_loss", "alpha": 0.01},
    "aux loss 0.1": {"balancing": "aux_loss", "alpha": 0.1},
    "bias, sign 0.001": {"balancing": "bias_sign", "bias_rate": 0.001},
    "bias, sign 0.01": {"balancing": "bias_sign", "bias_rate": 0.01},
}
ROUTER_SCALE = {"none, router x 0.01": 0.01}


def train_once(config: TrainConfig, router_scale: float) -> dict:
    """One run: load shares over time, effective experts over its last fifth, held-out bits per byte."""
    corpus = load_corpus(config.corpus, context_length=config.model.context_length)
    torch.manual_seed(config.seed)
    run = Run(config, corpus, torch.device("cpu"))
    with torch.no_grad():
        for block in run.model.blocks:
            block.moe.router.weight.mul_(router_scale)
    run.open(None, None)
    run.loop(None)
    records = run.log.records
    late = torch.tensor([r.load_shares_by_layer for r in records[-(len(records) // 5) :]]).mean(dim=0)
    return {
        "seed": config.seed,
        "step": [r.step for r in records],
        "load_shares_by_layer": [
            [[round(share, 3) for share in layer] for layer in r.load_shares_by_layer] for r in records
        ],
        "effective_experts_by_layer": [[round(e, 2) for e in r.effective_experts_by_layer] for r in records],
        "late_effective_experts_by_layer": [round(e, 2) for e in effective_experts(late).tolist()],
        "late_dead_experts_by_layer": (late == 0).sum(dim=1).tolist(),
        "validation_bits_per_byte": round(run.validation_bits_per_byte, 4),
    }


@click.command()
@click.option("--steps", default=600)
@click.option("--seeds", default=5)
def main(steps: int, seeds: int) -> None:
    """Train every method with every seed and write the result."""
    began = time.perf_counter()
    torch.set_num_threads(1)
    base = BASE.override(steps=steps)
    methods = {}
    for name, changes in METHODS.items():
        runs = []
        for seed in range(seeds):
            runs.append(train_once(base.override(seed=seed, **changes), ROUTER_SCALE.get(name, 1.0)))
            if seed:  # one history per method is enough to draw
                for key in ("step", "load_shares_by_layer", "effective_experts_by_layer"):
                    del runs[-1][key]
        methods[name] = {"changes": changes, "router_scale": ROUTER_SCALE.get(name, 1.0), "runs": runs}
        bits = statistics.mean(r["validation_bits_per_byte"] for r in runs)
        least = [min(r["late_effective_experts_by_layer"]) for r in runs]
        print(f"{name:<22} {bits:.3f} bits per byte, emptiest layer {min(least)} to {max(least)}", flush=True)
    result = {
        "config": base.to_dict(),
        "seeds": seeds,
        **environment(torch.device("cpu")),
        "python": platform.python_version(),
        "commit": commit(),
        "seconds": round(time.perf_counter() - began),
        "methods": methods,
    }
    RESULTS.write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
