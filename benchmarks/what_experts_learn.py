"""What the experts of small language models learn, measured beside chance; lesson 12 reads the result.

    OMP_NUM_THREADS=1 python benchmarks/what_experts_learn.py [--seeds 5] [--steps 600] [--only PART]

Trains models of three kinds of text from several seeds, keeps them at several steps, and measures: what the
choice of an expert tells, neighbours, saturation, agreement of two seeds, interventions, every pair of
experts for every byte, and which hidden units a dense model needs. Writes
moe_lessons/results/what_experts_learn.json and moe_lessons/explore/blind_test/strips.json, the strips of the
explorable; about nine minutes of one core's time.
"""

import itertools
import json
import platform
import time
from pathlib import Path

import click
import torch
from experts_measured import (
    agreed,
    all_pairs,
    described,
    interventions,
    pairs_of,
    removals,
    rounded,
    units_needed,
)

from moe_lessons import metrics
from moe_lessons.device import environment
from moe_lessons.inspect.learning import SMALL, byte_bits, choices, three_kinds, train_and_keep
from moe_lessons.training.report import commit

PACKAGE = Path(__file__).resolve().parents[1] / "moe_lessons"
RESULTS = PACKAGE / "results" / "what_experts_learn.json"
STRIPS = PACKAGE / "explore" / "blind_test" / "strips.json"
KEPT = (0, 3, 6, 12, 25, 50, 100, 150, 200, 300, 400, 500, 600)
DESCRIBED = (0, 25, 100, 300, 600)
DRAWN = (0, 12, 25, 50, 100, 200, 600)
STRIP = 128  # bytes of each kind in a strip: two windows
START = (768, 1792, 256)  # where it begins in each kind's probe, a multiple of the window
DENSE = SMALL.override(steps=300, n_experts=1, top_k=1, d_expert=128, balancing="none", z_loss_weight=0.0)
SCOPED = SMALL.override(steps=100, alpha=0.1)
SCOPES = {"over the batch": "global_batch", "in each window": "sequence"}

clock = {}


def timed(what):
    """Add up the CPU seconds of a part."""

    class Timed:
        def __enter__(self):
            self.began = time.process_time()

        def __exit__(self, *error):
            clock[what] = round(clock.get(what, 0) + time.process_time() - self.began, 1)
            print(f"{what}: {clock[what]} CPU s", flush=True)

    return Timed()


def saturation(kept, probe):
    """Overlap of each kept step's choices with the last one's, layer by layer."""
    at = {step: choices(model, probe.windows_WL) for step, model in kept.items()}
    last = at[max(at)]
    return {
        step: [list(metrics.set_overlap(a, b, 8)) for a, b in zip(ids, last, strict=True)]
        for step, ids in at.items()
    }


def strips(kept, probe, shuffling, places):
    """The strip's first choices as digits, step by step, layer by layer; and shuffled among equal bytes."""
    rows = {}
    for step in (step for step in DRAWN if step in kept):
        layers = []
        for ids_TK in choices(kept[step], probe.windows_WL):
            first_N = ids_TK[:, 0]
            swapped_N = first_N[metrics.order_within(probe.labels["byte"], shuffling)]
            layers.append([digits(first_N[places]), digits(swapped_N[places])])
        rows[step] = layers
    return rows


def digits(experts_N):
    return "".join(map(str, experts_N.tolist()))


def scoped(scope, seed, probe, shuffling):
    """A model balanced over the batch, or in each window: bits, and what its experts tell of the domain."""
    config = SCOPED.override(balancing_scope=scope, seed=seed)
    (model,) = train_and_keep(config, probe.corpus, (config.steps,)).values()
    layers = [described(ids[:, 0], probe, shuffling) for ids in choices(model, probe.windows_WL)]
    return {"bits": byte_bits(model, probe.windows_WL).mean().item(), "layers": layers}


PARTS = ("trained", "constant", "scopes", "dense")


@click.command()
@click.option("--seeds", default=5)
@click.option("--steps", default=600)
@click.option("--only", type=click.Choice(PARTS), multiple=True, default=PARTS, help="Measure these parts.")
def main(seeds: int, steps: int, only: tuple[str, ...]) -> None:
    """Train, measure, write; parts that are not asked for stay as they are in the result."""
    torch.set_num_threads(1)
    probe = three_kinds()
    config = SMALL.override(steps=steps)
    kept_at = [step for step in KEPT if step <= steps]
    if "trained" in only:
        trained(config, seeds, kept_at, probe)
    if "constant" in only:
        with timed("training at a constant rate"):
            constant = config.override(schedule="constant")
            found = [
                saturation(train_and_keep(constant.override(seed=seed), probe.corpus, kept_at), probe)
                for seed in range(seeds)
            ]
        write({"saturation at a constant rate": found})
    if "scopes" in only:
        shuffling = torch.Generator().manual_seed(0)
        with timed("scopes"):
            found = {
                name: [scoped(scope, seed, probe, shuffling) for seed in range(seeds)]
                for name, scope in SCOPES.items()
            }
        write({"scopes": found})
    if "dense" in only:
        with timed("dense"):
            found = []
            for seed in range(seeds):
                kept = train_and_keep(DENSE.override(seed=seed), probe.corpus, (DENSE.steps,))
                found.append(units_needed(kept[DENSE.steps], probe))
        write({"dense": found})


def trained(config, seeds, kept_at, probe):
    """The models of the lesson, and all that is measured of them."""
    steps = config.steps
    models, result = {}, {"configs": {"config": config.to_dict()}}
    shuffling = torch.Generator().manual_seed(0)
    for seed in range(seeds):
        with timed("training"):
            models[seed] = train_and_keep(config.override(seed=seed), probe.corpus, kept_at)
    last = {seed: kept[steps] for seed, kept in models.items()}
    bits = {seed: byte_bits(model, probe.windows_WL).flatten() for seed, model in last.items()}
    result["bits"] = [bits[seed].mean().item() for seed in models]

    with timed("information and neighbours"):
        result["described"] = {
            step: [
                [described(ids[:, 0], probe, shuffling) for ids in choices(kept[step], probe.windows_WL)]
                for kept in models.values()
            ]
            for step in DESCRIBED
            if step <= steps
        }
        tables_RV = torch.randint(8, (seeds, 256), generator=shuffling)
        byte_N = probe.labels["byte"]
        result["random tables over bytes"] = [
            list(metrics.locality(table[byte_N].view(len(probe.windows_WL), -1))) for table in tables_RV
        ]
    with timed("saturation"):
        result["saturation"] = [saturation(kept, probe) for kept in models.values()]
    with timed("two seeds"):
        result["two seeds"] = {
            step: [
                [agreed(a[:, 0], b[:, 0], probe, shuffling) for a, b in zip(first, second, strict=True)]
                for first, second in itertools.combinations(
                    [choices(kept[step], probe.windows_WL) for kept in models.values()], 2
                )
            ]
            for step in (0, steps)
        }
        result["pairs of experts"] = {
            step: [[pairs_of(ids) for ids in choices(k[step], probe.windows_WL)] for k in models.values()]
            for step in (0, steps)
        }
    with timed("interventions"):
        result["interventions"] = [interventions(model, probe) for model in last.values()]
    with timed("removals"):
        result["removals"] = [removals(model, probe) for model in last.values()]
    with timed("all pairs"):
        result["all pairs"] = [
            all_pairs(model, probe, bits[(seed + 1) % seeds]) for seed, model in last.items()
        ]
    write_strips(models, tables_RV, probe, shuffling, steps)
    write(result)


def write_strips(models, tables_RV, probe, shuffling, steps):
    per_kind = len(probe.labels["byte"]) // len(probe.names)
    places = torch.cat([torch.arange(STRIP) + kind * per_kind + START[kind] for kind in range(3)])
    found = {
        "kinds": list(probe.names),
        "text": [
            bytes(probe.labels["byte"][part].tolist()).decode("latin-1") for part in places.split(STRIP)
        ],
        "steps": [step for step in DRAWN if step <= steps],
        "tables": [digits(table_V) for table_V in tables_RV],
        "seeds": [strips(kept, probe, shuffling, places) for kept in models.values()],
    }
    STRIPS.parent.mkdir(exist_ok=True)
    STRIPS.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")


def write(found):
    """Put what was measured into the result, beside what is there."""
    result = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    seconds = {**result.get("about", {}).get("cpu_seconds", {}), **clock}
    about = {
        "script": "benchmarks/what_experts_learn.py",
        "commit": commit(),
        **environment(torch.device("cpu")),
        "python": platform.python_version(),
        "cpu_seconds": seconds,
        "cpu_seconds_in_all": round(sum(seconds.values()), 1),
    }
    configs = {"dense": DENSE.to_dict(), "scopes": SCOPED.to_dict()}
    configs = {**result.get("configs", {}), **configs, **found.pop("configs", {})}
    result = {**result, "about": about, "configs": configs, **rounded(found)}
    RESULTS.write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
