"""How long decoding takes here: what sets a layer's time, and the engine against plain generation.

    OMP_NUM_THREADS=1 python benchmarks/decode.py [--only PART]

`layer` times one MoE layer on different numbers of tokens and of distinct experts, `engine` the serving
engine with several numbers of slots, limits of memory and bits. Contestants take turns, the least of several
rounds counts, in CPU seconds of one thread; what is to be read are the ratios. Writes
moe_lessons/results/decode.json; about one minute.
"""

import json
import platform
import time
from pathlib import Path

import click
import torch

from moe_lessons.device import environment
from moe_lessons.dispatch import moe_auto
from moe_lessons.model import generate, generate_batch
from moe_lessons.serving import Engine, held_out, load_fine32
from moe_lessons.training.report import commit

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results" / "decode.json"
E, D, F, K = 64, 768, 768, 8  # of the timed layer: 453 MB of experts
REQUESTS, PROMPT, NEW = 8, 40, 24  # of the timed engine


def least(contestants, rounds):
    """The least CPU seconds of each, taken in turns, and what each returned last."""
    best, last = dict.fromkeys(contestants, float("inf")), {}
    for _ in range(rounds):
        for name, call in contestants.items():
            began = time.process_time()
            last[name] = call()
            best[name] = min(best[name], time.process_time() - began)
    return best, last


def layer(rounds):
    """Milliseconds of a layer by tokens and distinct experts, and times those of 8 tokens on 8 experts."""
    generator = torch.Generator().manual_seed(0)
    gate_up = torch.randn(E, 2 * F, D, generator=generator) / D**0.5
    down = torch.randn(E, D, F, generator=generator) / F**0.5

    def run(tokens, distinct):
        pool = torch.randperm(E, generator=generator)[:distinct]
        ids_TK = pool[(torch.arange(tokens)[:, None] * K + torch.arange(K)) % distinct]
        hidden_TD = torch.randn(tokens, D, generator=generator)
        weights_TK = torch.full((tokens, K), 1 / K)
        return lambda: moe_auto(hidden_TD, ids_TK, weights_TK, gate_up, down)

    sizes = [(8, d) for d in (8, 16, 32, 48, 64)] + [(t, 8) for t in (1, 2, 4, 16, 32, 64)]
    best, _ = least({size: run(*size) for size in sizes}, rounds)
    return [
        {
            "tokens": tokens,
            "experts": distinct,
            "ms": round(1e3 * best[tokens, distinct], 2),
            "times": round(best[tokens, distinct] / best[8, 8], 2),
        }
        for tokens, distinct in sizes
    ]


def engine(rounds):
    """How many times as fast as plain generation, one request after the other, each way of serving is."""
    model, texts = load_fine32(), list(held_out().values())
    prompts = [texts[i % 3][1500 * (i // 3) :][:PROMPT] for i in range(REQUESTS)]
    one = sum(p[0].numel() for p in model.moe_layers[0].experts.parameters()) * 4
    every = one * model.config.n_experts * len(model.moe_layers)

    def served(slots, **options):
        def run():
            serving = Engine(model, slots, **options)
            for prompt in prompts:
                serving.submit(prompt, NEW)
            return serving.drain(), serving

        return run

    contestants = {
        "plain generation": lambda: ([generate(model, p, NEW, temperature=0) for p in prompts], None),
        "plain generation, one batch": lambda: (generate_batch(model, prompts, NEW, temperature=0), None),
        **{f"{slots} slots": served(slots) for slots in (1, 2, 4, 8)},
        **{
            f"{slots} slots, {share:.0%} of the experts' bytes": served(
                slots, limit_bytes=round(every * share)
            )
            for slots in (1, 8)
            for share in (1, 0.5, 0.25)
        },
        "1 slots, 25% of the experts' bytes, lfu": served(1, limit_bytes=every // 4, policy="lfu"),
        "1 slots, int8": served(1, bits=8),
        "1 slots, 25% of the experts' bytes, int8": served(1, limit_bytes=every // 4, bits=8),
        "8 slots, int8": served(8, bits=8),
    }
    best, last = least(contestants, rounds)
    plain = last["plain generation"][0]
    rows = []
    for name, (written, serving) in last.items():
        row = {
            "way": name,
            "CPU s": round(best[name], 3),
            "times as fast": round(best["plain generation"] / best[name], 2),
            "same texts": sum(map(torch.equal, written, plain)),
        }
        if serving is not None:
            steps = [run for run in serving.passes if run.tokens == run.rows]
            row["passes"] = len(serving.passes)
            row["experts per step"] = round(
                sum(sum(run.touched) for run in steps) / len(steps) / len(model.moe_layers), 2
            )
            if serving.store is not None:
                cache = serving.store.cache
                row["hit rate"] = round(cache.hits / (cache.hits + cache.misses), 4)
                row["MB loaded"] = round(cache.loaded / 1e6, 1)
                row["MB of experts"] = round(cache.taken / 1e6, 2)
        rows.append(row)
    return {"requests": REQUESTS, "prompt": PROMPT, "new": NEW, "rows": rows}


PARTS = {"layer": (layer, 15), "engine": (engine, 2)}


@click.command()
@click.option("--only", type=click.Choice(list(PARTS)), multiple=True, help="All parts if not given.")
@click.option("--rounds", type=int, help="Instead of those of each part.")
def main(only: tuple[str, ...], rounds: int | None) -> None:
    """Time the parts and put each into the file, beside what is there."""
    torch.set_num_threads(1)
    for part in only or PARTS:
        measure, usual = PARTS[part]
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.no_grad():
            rows = measure(rounds or usual)
        about = {
            "script": "benchmarks/decode.py",
            "commit": commit(),
            "python": platform.python_version(),
            **environment(torch.device("cpu")),
            "rounds": rounds or usual,
            "wall_s": round(time.perf_counter() - wall, 1),
            "cpu_s": round(time.process_time() - cpu, 1),
        }
        print(part, about["cpu_s"], "CPU s", flush=True)
        found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        found[part] = {"about": about, "rows": rows}
        RESULTS.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
