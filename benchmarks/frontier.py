"""What lesson 16's ideas bring in small models, from several seeds; the lesson reads the result.

    OMP_NUM_THREADS=1 python benchmarks/frontier.py [--only PART]

Six parts: coin flips seen by mixtures of depths; facts; n-gram memory against experts; null experts against
fixed K; mixtures of depths on text; states and caches that learn to recall. Writes
moe_lessons/results/frontier.json part by part, with the CPU seconds of each; about ten minutes of one core.
"""

import json
import platform
import time
from pathlib import Path

import click
import torch
import torch.nn.functional as F

from moe_lessons.device import environment
from moe_lessons.frontier import depth, keys, memory, null, scan, tasks, tiny
from moe_lessons.layer import MoELayer

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results" / "frontier.json"
WIDTH, LENGTH = 64, 64  # of the models of text


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value


def write(part, rows, settings, began):
    """Put one part into the result; the others stay as they are."""
    result = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    result["about"] = {
        "script": "benchmarks/frontier.py",
        **environment(torch.device("cpu")),
        "python": platform.python_version(),
    }
    seconds = round(time.process_time() - began, 1)
    result[part] = {"settings": settings, "cpu_s": seconds, "rows": rounded(rows)}
    RESULTS.write_text(json.dumps(dict(sorted(result.items()))) + "\n", encoding="utf-8")
    print(f"{part}: {seconds} CPU s", flush=True)


def coins():
    """Trained by top-k and read in three ways; trained by the predictor; trained without a choice."""
    settings = {"steps": 400, "lr": 6e-3, "n_sequences": 64, "length": 8, "d_model": 32, "n_test": 4096}
    inputs_NL, targets_NL = tasks.coin_flips(99, n_sequences=4096, length=8)(0)
    rows = []
    for seed in range(5):
        row = {"seed": seed}
        for decide in ("topk", "predictor"):
            model = tasks.coin_model(decide, seed)
            tiny.fit(model, tasks.coin_flips(seed, n_sequences=64, length=8), 400, lr=6e-3)
            for reads in ("topk", "predictor", "running") if decide == "topk" else ("predictor",):
                depth.decide_by(model, reads)
                row[f"trained {decide}, run {reads}"] = tiny.bits(model, inputs_NL, targets_NL)
        rows.append(row)
        print(row, flush=True)
    return rows, settings


def facts():
    """The same facts through layers that hold more or fewer numbers, and multiply more or fewer."""
    layers = {
        "dense, F = 64": (lambda: tiny.mlp(WIDTH, 64), 2 * WIDTH * 64),
        "dense, F = 1024": (lambda: tiny.mlp(WIDTH, 1024), 2 * WIDTH * 1024),
        "24 experts of F = 21, two a token": (
            lambda: tiny.Balanced(MoELayer(WIDTH, 21, 24, 2)),
            2 * 3 * WIDTH * 21 + 24 * WIDTH,
        ),
        "1,024 experts of one unit, 4 x 8 a token": (
            lambda: keys.PEER(WIDTH, n_keys=32, n_heads=4, top_k=8),
            4 * 8 * 2 * WIDTH + 4 * (WIDTH * 16 + 2 * 32 * 8),
        ),
    }
    rows = []
    for name, (layer, multiply_adds) in layers.items():
        recalled = [tasks.Facts(4096, seed=seed).recalled(layer, 1000) for seed in range(2)]
        parameters = sum(p.numel() for p in layer().parameters())
        rows.append(
            {
                "layer": name,
                "recalled": recalled,
                "parameters": parameters,
                "multiply_adds": multiply_adds,
            }
        )
        print(rows[-1], flush=True)
    return rows, {"n_facts": 4096, "steps": 1000, "batch": 256}


def text_model(feed_forwards, seed, mixture=None, memory_rows=0):
    """Return a byte model: a list of functions that make feed-forward layers, one a block."""

    def blocks():
        made = []
        for i, feed_forward in enumerate(feed_forwards):
            parts = WIDTH, tiny.CausalAttention(WIDTH, 4), feed_forward()
            made.append(
                depth.MoDBlock(*parts, share=0.5, decide=mixture) if mixture and i % 2 else tiny.Block(*parts)
            )
        return made

    made_memory = (lambda: memory.NGramMemory(WIDTH, memory_rows)) if memory_rows else None
    return tiny.TinyModel(blocks, WIDTH, 256, LENGTH, seed=seed, memory=made_memory)


def trained_on_text(model, seed, steps, after=None):
    tiny.fit(model, tasks.text_batches(seed), steps, lr=2e-3, warmup=20, weight_decay=0.1, after=after)
    return tiny.bits(model, *tasks.held_out_text(), batch_size=64)


def memories():
    """One budget of numbers that are not all used: experts, or rows of a table."""
    rows = []
    for n_experts in (12, 10, 6, 2):
        memory_rows = (12 - n_experts) * 3 * 64 * 3  # 3 layers, SwiGLU: so many rows hold an expert
        for seed in range(2):
            layers = [lambda e=n_experts: tiny.Balanced(MoELayer(WIDTH, 64, e, 2))] * 3
            model = text_model(layers, seed, memory_rows=memory_rows)
            bits = trained_on_text(model, seed, 200)
            parameters = sum(p.numel() for p in model.parameters())
            share = (12 - n_experts) / 12
            rows.append({"share": share, "seed": seed, "bits": bits, "parameters": parameters})
            print(rows[-1], flush=True)
    return rows, {"steps": 200, "layers": 3, "experts_and_rows": "12 experts of F = 64 a layer in all"}


NULLS = {
    "K = 1, raw weight": lambda: tiny.Balanced(MoELayer(WIDTH, 64, 8, 1, gate="softmax_topk")),
    "K = 4 of 8 and 8 null, held at 1": lambda: null.NullExperts(WIDTH, 64, 8, 8, 4, target=1.0),
    "K = 2": lambda: tiny.Balanced(MoELayer(WIDTH, 64, 8, 2)),
    "K = 4 of 8 and 8 null, held at 2": lambda: null.NullExperts(WIDTH, 64, 8, 8, 4, target=2.0),
}


def nulls():
    """Null experts held at one and at two real ones, against one and two for every token."""
    rows = []
    inputs_NL, targets_NL = tasks.held_out_text(64)
    for seed in range(3):
        for name, layer in NULLS.items():
            model = text_model([layer] * 3, seed)
            row = {"layer": name, "seed": seed, "bits": trained_on_text(model, seed, 200)}
            held = [m for m in model.modules() if isinstance(m, null.NullExperts)]
            if held:
                model.eval()
                with torch.no_grad():
                    logits_BLV, _ = model(inputs_NL)
                loss_T = F.cross_entropy(logits_BLV.flatten(0, 1), targets_NL.flatten(), reduction="none")
                used_T = torch.stack([layer.n_real_T for layer in held]).sum(0).double()
                row["mean"] = [layer.n_real_T.double().mean().item() for layer in held]
                row["tokens by number, layer 0"] = held[0].n_real_T.bincount(minlength=5).tolist()
                both = torch.stack([used_T, loss_T.double()])
                row["correlation with the loss"] = torch.corrcoef(both)[0, 1].item()
            rows.append(row)
            print(row, flush=True)
    return rows, {"steps": 200, "layers": 3, "d_expert": 64}


def every_other(scores_BL):
    return (torch.arange(scores_BL.shape[1]) % 2 == 0).expand(scores_BL.shape)


def earlier_changed(model, trials=100):
    """Share of trials in which a changed last byte changes an earlier output."""
    generator = torch.Generator().manual_seed(3)
    inputs_NL, _ = tasks.held_out_text()
    changed = 0
    with torch.no_grad():
        for i in range(trials):
            first_1L = inputs_NL[i : i + 1]
            second_1L = first_1L.clone()
            second_1L[0, -1] = (second_1L[0, -1] + torch.randint(1, 256, (1,), generator=generator)) % 256
            gap = (model(first_1L)[0] - model(second_1L)[0])[:, :-1].abs().max()
            changed += int(gap > 1e-4)
    return changed / trials


def depths():
    """Mixtures of depths on text against dense models, one of equal work, and a choice that is none."""
    wide = [lambda: tiny.mlp(WIDTH, 2 * WIDTH)]
    kinds = {
        "dense, 4 layers": (wide * 4, None),
        "dense, 3 layers": (wide * 3, None),
        "half, the best of the sequence": (wide * 4, "topk"),
        "half, every other position": (wide * 4, every_other),
    }
    rows = []
    for seed in range(3):
        for name, (layers, mixture) in kinds.items():
            model = text_model(layers, seed, mixture)
            row = {"model": name, "seed": seed, "bits": trained_on_text(model, seed, 250)}
            if mixture == "topk":
                row["earlier outputs changed"] = earlier_changed(model.eval())
                for reads in ("predictor", "running"):
                    depth.decide_by(model, reads)
                    row[f"run {reads}"] = tiny.bits(model, *tasks.held_out_text(), batch_size=64)
                    row[f"earlier outputs changed, {reads}"] = earlier_changed(model)
            rows.append(row)
            print(row, flush=True)
    return rows, {"steps": 250, "share": 0.5, "mixtures": "layers 2 and 4 of 4"}


def recalls():
    """Attention, a selective scan, and one of each, with a dense network or with experts behind it."""
    mixers = {
        "A": lambda: tiny.CausalAttention(WIDTH, 4),
        "S": lambda: scan.Selective(WIDTH, n_heads=2, d_state=16),
    }
    feeds = {
        "dense": lambda: tiny.mlp(WIDTH, 2 * WIDTH),
        "experts": lambda: tiny.Balanced(MoELayer(WIDTH, 64, 8, 2)),
    }
    steps, every = 500, 50
    tested = tasks.pairs_to_recall(99, n_pairs=8, n_keys=16, n_sequences=512)(0)
    rows = []
    for kinds, feed, seeds in (
        ("AA", "dense", 1),
        ("SA", "dense", 2),
        ("SA", "experts", 2),
        ("SS", "dense", 1),
    ):
        for seed in range(seeds):
            model = tiny.TinyModel(
                lambda k=kinds, f=feed: [tiny.Block(WIDTH, mixers[one](), feeds[f]()) for one in k],
                WIDTH,
                32,
                24,
                seed=seed,
            )
            curve = []

            def look(step, model=model, curve=curve):
                if step % every == every - 1:
                    with torch.no_grad():
                        answers_BN = model(tested[0])[0][:, -8:].argmax(-1)
                    curve.append(float((answers_BN == tested[1][:, -8:]).double().mean()))

            batches = tasks.pairs_to_recall(seed, n_pairs=8, n_keys=16, n_sequences=32)
            tiny.fit(model, batches, steps, lr=3e-3, warmup=50, weight_decay=0.01, after=look)
            rows.append({"mixers": kinds, "behind": feed, "seed": seed, "right": curve})
            print(rows[-1], flush=True)
    return rows, {"steps": steps, "looked_every": every, "pairs": 8, "keys": 16, "d_state": 16}


PARTS = {
    "coins": coins,
    "facts": facts,
    "memory": memories,
    "null": nulls,
    "depth": depths,
    "recall": recalls,
}


@click.command()
@click.option("--only", type=click.Choice(list(PARTS)), multiple=True, default=tuple(PARTS))
def main(only: tuple[str, ...]) -> None:
    """Train, measure, write; parts that are not asked for stay as they are in the result."""
    torch.set_num_threads(1)
    for part in only:
        began = time.process_time()
        rows, settings = PARTS[part]()
        write(part, rows, settings, began)


if __name__ == "__main__":
    main()
