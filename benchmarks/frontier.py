"""What lesson 16's ideas bring in small models, from several seeds; the lesson reads the result.

    OMP_NUM_THREADS=1 python benchmarks/frontier.py [--only PART] [--seconds 60] [--again]

Six parts: coin flips seen by mixtures of depths; facts; n-gram memory against experts; null experts against
fixed K; mixtures of depths on text; states and caches that learn to recall. Writes
moe_lessons/results/frontier.json row by row, with the CPU seconds of each part; rows that are there are kept
unless asked for again.
"""

import torch
import torch.nn.functional as F
from row_by_row import command

from moe_lessons.frontier import depth, keys, memory, null, scan, tasks, tiny
from moe_lessons.layer import MoELayer

WIDTH, LENGTH = 32, 32  # of all models but those of coins


def coins():
    """Trained by top-k and read in three ways; trained by the predictor."""

    def measure(seed, trained):
        model = tasks.coin_model(trained, seed)
        tiny.fit(model, tasks.coin_flips(seed, n_sequences=64, length=8), 400, lr=6e-3)
        inputs_NL, targets_NL = tasks.coin_flips(99, n_sequences=4096, length=8)(0)
        row = {}
        for reads in ("topk", "predictor", "running") if trained == "topk" else ("predictor",):
            depth.decide_by(model, reads)
            row[reads] = tiny.bits(model, inputs_NL, targets_NL)
        return row

    jobs = [{"seed": seed, "trained": trained} for trained in ("topk", "predictor") for seed in range(5)]
    settings = {"steps": 400, "lr": 6e-3, "n_sequences": 64, "length": 8, "d_model": 32, "n_test": 4096}
    return jobs, measure, settings


def facts():
    """The same facts through layers that hold more or fewer numbers, and multiply more or fewer."""
    layers = {
        "dense, F = 32": (lambda: tiny.mlp(WIDTH, 32), 2 * WIDTH * 32),
        "dense, F = 352": (lambda: tiny.mlp(WIDTH, 352), 2 * WIDTH * 352),
        "24 experts of F = 10, two a token": (
            lambda: tiny.Balanced(MoELayer(WIDTH, 10, 24, 2)),
            2 * 3 * WIDTH * 10 + 24 * WIDTH,
        ),
        "256 experts of one unit, 4 x 4 a token": (
            lambda: keys.PEER(WIDTH, n_keys=16, n_heads=4, top_k=4, d_query=8),
            4 * 4 * 2 * WIDTH + 4 * (WIDTH * 8 + 2 * 16 * 4),
        ),
    }

    def measure(layer, seed):
        make, multiply_adds = layers[layer]
        return {
            "recalled": tasks.Facts(1024, seed=seed).recalled(make, 600),
            "parameters": sum(p.numel() for p in make().parameters()),
            "multiply_adds": multiply_adds,
        }

    jobs = [{"layer": name, "seed": seed} for name in layers for seed in range(2)]
    return jobs, measure, {"n_facts": 1024, "steps": 600, "batch": 256}


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
    return tiny.TinyModel(blocks, WIDTH, 256, LENGTH, seed=seed, position_std=0.02, memory=made_memory)


def trained_on_text(model, seed, steps, after=None):
    tiny.fit(model, tasks.text_batches(seed), steps, lr=2e-2, warmup=20, weight_decay=0.1, after=after)
    return tiny.bits(model, *tasks.held_out_text(), batch_size=64)


def memories():
    """One budget of numbers that are not all used: experts, or rows of a table."""

    def measure(n_experts, seed):
        memory_rows = (12 - n_experts) * 3 * 32 * 3  # 3 layers, SwiGLU: so many rows hold an expert
        layers = [lambda: tiny.Balanced(MoELayer(WIDTH, 32, n_experts, 2))] * 3
        model = text_model(layers, seed, memory_rows=memory_rows)
        bits = trained_on_text(model, seed, 200)
        parameters = sum(p.numel() for p in model.parameters())
        return {"share": (12 - n_experts) / 12, "bits": bits, "parameters": parameters}

    jobs = [{"n_experts": n, "seed": seed} for seed in range(2) for n in (12, 10, 6, 2)]
    return jobs, measure, {"steps": 200, "lr": 2e-2, "layers": 3, "budget": "12 experts of F = 32 a layer"}


NULLS = {
    "K = 1, raw weight": lambda: tiny.Balanced(MoELayer(WIDTH, 32, 8, 1, gate="softmax_topk")),
    "K = 4 of 8 and 8 null, held at 1": lambda: null.NullExperts(WIDTH, 32, 8, 8, 4, target=1.0),
    "K = 2": lambda: tiny.Balanced(MoELayer(WIDTH, 32, 8, 2)),
    "K = 4 of 8 and 8 null, held at 2": lambda: null.NullExperts(WIDTH, 32, 8, 8, 4, target=2.0),
}


def nulls():
    """Null experts held at one and at two real ones, against one and two for every token."""

    def measure(layer, seed):
        model = text_model([NULLS[layer]] * 3, seed)
        row = {"bits": trained_on_text(model, seed, 200)}
        held = [m for m in model.modules() if isinstance(m, null.NullExperts)]
        if held:
            inputs_NL, targets_NL = tasks.held_out_text(128)
            model.eval()
            with torch.no_grad():
                logits_BLV, _ = model(inputs_NL)
            loss_T = F.cross_entropy(logits_BLV.flatten(0, 1), targets_NL.flatten(), reduction="none")
            used_T = torch.stack([one.n_real_T for one in held]).sum(0).double()
            row["mean"] = [one.n_real_T.double().mean().item() for one in held]
            row["tokens by number, layer 0"] = held[0].n_real_T.bincount(minlength=5).tolist()
            row["correlation with the loss"] = torch.corrcoef(torch.stack([used_T, loss_T.double()]))[
                0, 1
            ].item()
        return row

    jobs = [{"layer": name, "seed": seed} for seed in range(3) for name in NULLS]
    return jobs, measure, {"steps": 200, "lr": 2e-2, "layers": 3, "d_expert": 32}


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

    def measure(model, seed):
        layers, mixture = kinds[model]
        made = text_model(layers, seed, mixture)
        row = {"bits": trained_on_text(made, seed, 200)}
        if mixture == "topk":
            row["earlier outputs changed"] = earlier_changed(made.eval())
            for reads in ("predictor", "running"):
                depth.decide_by(made, reads)
                row[f"run {reads}"] = tiny.bits(made, *tasks.held_out_text(), batch_size=64)
                row[f"earlier outputs changed, {reads}"] = earlier_changed(made)
        return row

    jobs = [{"model": name, "seed": seed} for seed in range(3) for name in kinds]
    return jobs, measure, {"steps": 200, "lr": 2e-2, "share": 0.5, "mixtures": "layers 2 and 4 of 4"}


def recalls():
    """Attention, a selective scan, and one of each, with a dense network or with experts behind it.

    A token multiplies by as many numbers in all of them, within five percent.
    """
    made = {
        "A": lambda: tiny.CausalAttention(WIDTH, 4),
        "S": lambda: scan.Selective(WIDTH, n_heads=1, d_state=16),
    }
    feeds = {
        "dense": lambda: tiny.mlp(WIDTH, 3 * WIDTH),
        "experts": lambda: tiny.Balanced(MoELayer(WIDTH, 32, 8, 2)),
    }
    steps, every = 1200, 100

    def measure(mixers, behind, seed):
        model = tiny.TinyModel(
            lambda: [tiny.Block(WIDTH, made[one](), feeds[behind]()) for one in mixers],
            WIDTH,
            24,
            18,
            seed=seed,
        )
        tested = tasks.pairs_to_recall(99, n_pairs=6, n_keys=12, n_sequences=512)(0)
        curve = []

        def look(step):
            if step % every == every - 1:
                with torch.no_grad():
                    answers_BN = model(tested[0])[0][:, -6:].argmax(-1)
                curve.append(float((answers_BN == tested[1][:, -6:]).double().mean()))

        batches = tasks.pairs_to_recall(seed, n_pairs=6, n_keys=12, n_sequences=32)
        tiny.fit(model, batches, steps, lr=3e-3, warmup=50, weight_decay=0.01, after=look)
        held = sum(p.numel() for p in model.parameters())
        idle = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name) * 6 // 8
        return {"parameters": held, "active": held - idle, "right": curve}

    kinds = [(mixers, behind) for mixers in ("AA", "SA", "SS") for behind in feeds]
    jobs = [{"mixers": m, "behind": b, "seed": seed} for seed in range(3) for m, b in kinds]
    return jobs, measure, {"steps": steps, "looked_every": every, "pairs": 6, "keys": 12, "d_state": 16}


PARTS = {
    "coins": coins,
    "facts": facts,
    "memory": memories,
    "null": nulls,
    "depth": depths,
    "recall": recalls,
}


if __name__ == "__main__":
    command("frontier", PARTS, lambda x: round(x, 4))()
