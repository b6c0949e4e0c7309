"""Lesson 15's measurements on the model that comes with the package, on text that it has not seen.

    OMP_NUM_THREADS=1 python benchmarks/serving.py [--only PART]

Coverage of experts, caches, prefetching, quantised experts, drafts, speculative decoding and routing that
looks at the batch, and from bytes and arithmetic alone: rooflines and continuous batching. Writes
moe_lessons/results/serving.json, part by part; each says how many seconds it took, three minutes in all.
Nothing in it depends on how fast the machine is; `benchmarks/decode.py` has what does.
"""

import itertools
import json
import platform
import statistics
import time
from pathlib import Path

import click
import torch
from serving_parts import batching, rooflines

from moe_lessons import serving
from moe_lessons.accounting import expert_coverage
from moe_lessons.data import as_tokens, language_reference, standard_library
from moe_lessons.device import environment
from moe_lessons.inspect.learning import character_names
from moe_lessons.model import generate
from moe_lessons.serving.fine32 import HELD_OUT, TEXT_BYTES
from moe_lessons.training import evaluate
from moe_lessons.training.report import commit

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results" / "serving.json"
E, K, LAYERS = 32, 4, 4
DRAWS = 300
WINDOWS = 12  # that drafts are compared on
BATCHES = (1, 2, 3, 4, 5, 8, 16, 32, 64)


def traces(model, texts, n):
    """Ids (L, N, K) of the first n bytes of each kind."""
    return {kind: serving.routing_trace(model, text[:n]).ids_LNK for kind, text in texts.items()}


def mean(values):
    return round(statistics.mean(values), 4)


def coverage(model, texts):
    """Different experts that a batch touches, mean of layers."""
    generator, rows = torch.Generator().manual_seed(0), []
    ids = traces(model, texts, HELD_OUT)
    everything = torch.cat(list(ids.values()), dim=1)
    for batch in BATCHES:
        row = {"batch": batch, "formula": round(expert_coverage(E, K, batch), 3)}
        for kind, ids_LNK in ids.items():
            draws = {"strangers": serving.strangers, "neighbours": serving.neighbours}
            row[kind] = {
                name: mean(
                    serving.touched(layer_NK, drawn(HELD_OUT, batch, DRAWS, generator), E)
                    .double()
                    .mean()
                    .item()
                    for layer_NK in ids_LNK
                )
                for name, drawn in draws.items()
            }
            row[kind]["by popularity"] = mean(
                serving.touched_by_popularity(layer_NK, batch, E) for layer_NK in ids_LNK
            )
        rows_RB = serving.strangers(everything.shape[1], batch, DRAWS, generator)
        row["mixed"] = mean(
            serving.touched(layer_NK, rows_RB, E).double().mean().item() for layer_NK in everything
        )
        rows.append(row)
    return rows


def caches(model, texts):
    """Hit rates of a cache of each layer, mean of layers."""
    generator, rows = torch.Generator().manual_seed(0), []
    ids = traces(model, texts, 4096)
    for kind, capacity in itertools.product(ids, (4, 8, 16, 24)):
        own = ids[kind]
        row = {"kind": kind, "capacity": capacity}
        for policy in ("lru", "lfu", "fifo", "belady"):
            row[policy] = mean(serving.simulate_cache(one, capacity, policy).hit_rate for one in own)
        shuffled = [one[torch.randperm(len(one), generator=generator)] for one in own]
        row["lru, shuffled"] = mean(serving.simulate_cache(one, capacity).hit_rate for one in shuffled)
        for other, from_LNK in ids.items():
            row[f"popular in {other}"] = mean(
                serving.simulate_cache(one, capacity, "fixed", serving.popular(source, capacity, E)).hit_rate
                for one, source in zip(own, from_LNK, strict=True)
            )
        rows.append(row)
    return rows


def prefetch(model, texts):
    """Recall of the next layer's experts with 4 and 8 guesses, layer by layer."""
    rows = []
    for kind, text in texts.items():
        seen, other = text[: HELD_OUT // 2], text[HELD_OUT // 2 :]
        ids_LNK = serving.routing_trace(model, seen).ids_LNK
        fitted_LNK = serving.routing_trace(model, other).ids_LNK
        for n in (4, 8):
            row = {"kind": kind, "guesses": n, "chance": n / E}
            for where in serving.PLACES:
                guesses = serving.guess_next(model, seen, where, n)
                row[where] = [
                    round(serving.recall(*pair), 4) for pair in zip(guesses, ids_LNK[1:], strict=True)
                ]
            for name in ("counts", "popular", "token before"):
                row[name] = []
            for layer in range(LAYERS - 1):
                truth_NK, before = ids_LNK[layer + 1], fitted_LNK[layer]
                counts_EE = serving.count_successors(before, fitted_LNK[layer + 1], E)
                from_counts = serving.guess_from_counts(counts_EE, ids_LNK[layer], n)
                liked = torch.tensor(serving.popular(fitted_LNK[layer + 1], n, E))
                row["counts"].append(round(serving.recall(from_counts, truth_NK), 4))
                row["popular"].append(round(serving.recall(liked.expand(len(truth_NK), -1), truth_NK), 4))
                row["token before"].append(round(serving.recall(truth_NK[:-1], truth_NK[1:]), 4))
            rows.append(row)
    return rows


def quantised(model, texts):
    """Bits per byte that fewer bits add, uniform and mixed.

    The model's experts come in int8 with a scale for each 32 inputs, so int8 in groups of 32 adds nothing
    here: what that step cost stands in fine32.json, where the model as trained is measured beside it.
    """
    texts = {kind: text[:8193] for kind, text in texts.items()}
    base = {kind: evaluate(model, text) for kind, text in texts.items()}
    banks = [bank for layer in model.moe_layers for bank in layer.experts.parameters()]

    def row(name, bits, group=32):
        smaller = serving.quantised_model(model, bits, group)
        pairs = zip(
            banks, (b for layer in smaller.moe_layers for b in layer.experts.parameters()), strict=True
        )
        pairs = [(a.detach(), b.detach()) for a, b in pairs]
        error = sum(float((a - b).square().sum()) for a, b in pairs)
        error = (error / sum(float(a.square().sum()) for a, _ in pairs)) ** 0.5
        added = {kind: round(evaluate(smaller, text) - base[kind], 4) for kind, text in texts.items()}
        return {"experts": name, "group": group, "error": round(error, 4), "added": added}

    rows = [{**row(f"int{bits}", bits, group), "bits": bits} for group in (32, None) for bits in (8, 4, 3, 2)]
    share = {}
    for kind in ("English", "code"):
        ids_LNK = serving.routing_trace(model, texts[kind]).ids_LNK
        hot = [set(serving.popular(one, E // 2, E)) for one in ids_LNK]
        share[kind] = [
            round(sum(int((one == e).sum()) for e in some) / one.numel(), 3)
            for one, some in zip(ids_LNK, hot, strict=True)
        ]
        for name, (inside, outside) in {"hot 4, cold 2": (4, 2), "hot 2, cold 4": (2, 4)}.items():
            plan = [[inside if e in some else outside for e in range(E)] for some in hot]
            rows.append({**row(f"{name} ({kind})", plan), "bits": 3})
    generator = torch.Generator().manual_seed(0)
    for number in range(3):
        plan = [
            [
                4 if e in set(torch.randperm(E, generator=generator)[: E // 2].tolist()) else 2
                for e in range(E)
            ]
            for _ in range(LAYERS)
        ]
        rows.append({**row(f"half 4, half 2, at random ({number})", plan), "bits": 3})
    return {
        "base": {kind: round(bits, 4) for kind, bits in base.items()},
        "rows": rows,
        "hot half takes": share,
    }


def table():
    """A table of four bytes' followers in the texts that the model was trained on."""
    texts = (language_reference(), standard_library(), character_names())
    seen = [as_tokens(text[: TEXT_BYTES - HELD_OUT]) for text in texts]
    return serving.NGramDraft(torch.cat(seen), 4)


@torch.no_grad()
def drafts(model, texts):
    """Share of drafted tokens that stay, and how often both like the same best."""
    rows, length = [], model.config.context_length
    makers = {
        "K=1": serving.fewer_experts(model, 1).model,
        "K=2": serving.fewer_experts(model, 2).model,
        **{f"first {n} layers": serving.early_exit(model, n).model for n in (1, 2, 3)},
    }
    followers = table()
    for kind, text in texts.items():
        windows_WL = text[: WINDOWS * length].view(WINDOWS, length)
        p = serving.distribution(model(windows_WL).logits_BLV, 1.0)[:, 8:]
        found = {
            name: serving.distribution(draft(windows_WL).logits_BLV, 1.0)[:, 8:]
            for name, draft in makers.items()
        }
        found["4 bytes' followers"] = torch.stack(
            [
                torch.stack([followers.chances(row[: t + 1]) for t in range(8, length)])
                for row in windows_WL.tolist()
            ]
        )
        for name, q in found.items():
            agree = (p.argmax(-1) == q.argmax(-1)).double().mean().item()
            accepted = serving.acceptance(p.flatten(0, 1), q.flatten(0, 1))
            rows.append(
                {"kind": kind, "draft": name, "stays": round(accepted, 4), "same best": round(agree, 4)}
            )
    return rows


def speculation(model, texts):
    """Speculative decoding of 8 prompts of 40 bytes, 80 new ones, greedily."""
    rows = []
    makers = {
        "K=1": (serving.fewer_experts(model, 1), (1, 2, 3, 5)),
        "4 bytes' followers": (table(), (3,)),
    }
    plain = {}
    for (kind, text), (name, (draft, gammas)) in itertools.product(texts.items(), makers.items()):
        prompts = [text[i * 1500 :][:40] for i in range(8)]
        if kind not in plain:
            plain[kind] = [generate(model, prompt, 80, temperature=0) for prompt in prompts]
        for gamma in gammas:
            runs = [serving.speculative_generate(model, draft, prompt, 80, gamma) for prompt in prompts]
            counts = [count for _, count in runs]
            checks = sum(count.checks for count in counts)
            experts = sum(sum(count.touched) for count in counts)
            rows.append(
                {
                    "kind": kind,
                    "draft": name,
                    "gamma": gamma,
                    "same text": sum(map(torch.equal, (tokens for tokens, _ in runs), plain[kind])),
                    "tokens per check": round(8 * 80 / checks, 3),
                    "experts per check": round(experts / checks, 3),
                    "experts per token": round(experts / (8 * 80), 3),
                }
            )
    return rows


def shared(model, texts):
    """Routing that fills a token's choice from what the batch loads: experts read, and bits added."""
    length, rows = model.config.context_length, []
    texts = {kind: text[: 64 * length + 1] for kind, text in texts.items()}
    usual = {kind: evaluate(model, text) for kind, text in texts.items()}
    other = serving.fewer_experts(model, K).model  # a copy whose gates may be changed
    for batch, k0 in itertools.product((4, 16, 32), (3, 2, 1)):
        for layer in other.moe_layers:
            layer.gate = serving.batch_aware(k0, serving.positions(length))
        added, read = {}, {}
        for kind, text in texts.items():
            bits = evaluate(other, text, tokens_per_batch=batch * length)
            ids_LNK = [
                torch.cat(layers)
                for layers in zip(
                    *(
                        [r.topk_ids_TK.view(batch, length, K) for r in other(part).routings]
                        for part in text[:-1].view(-1, length).split(batch)
                    ),
                    strict=True,
                )
            ]
            groups = [
                ids.view(-1, batch, length, K).transpose(1, 2).flatten(0, 1).flatten(1) for ids in ids_LNK
            ]
            distinct = [
                torch.zeros(len(rows_SN), E).scatter_(1, rows_SN, 1.0).sum(1).mean().item()
                for rows_SN in groups
            ]
            added[kind], read[kind] = round(bits - usual[kind], 4), mean(distinct)
        rows.append({"batch": batch, "k0": k0, "added": added, "experts": read})
    return rows


PARTS = {
    "coverage": coverage,
    "caches": caches,
    "prefetch": prefetch,
    "quantised": quantised,
    "drafts": drafts,
    "speculation": speculation,
    "shared": shared,
    "rooflines": rooflines,
    "batching": batching,
}


@click.command()
@click.option("--only", type=click.Choice(list(PARTS)), multiple=True, help="All parts if not given.")
def main(only: tuple[str, ...]) -> None:
    """Measure the parts and put each into the file, beside what is there."""
    torch.set_num_threads(1)
    model, texts = serving.load_fine32(), serving.held_out()
    for part in only or PARTS:
        began = time.process_time()
        with torch.no_grad():
            rows = PARTS[part](model, texts)
        about = {
            "script": "benchmarks/serving.py",
            "commit": commit(),
            "python": platform.python_version(),
            **environment(torch.device("cpu")),
            "cpu_s": round(time.process_time() - began, 1),
        }
        print(part, about["cpu_s"], "CPU s", flush=True)
        found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        found[part] = {"about": about, "rows": rows}
        RESULTS.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
