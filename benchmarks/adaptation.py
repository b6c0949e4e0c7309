"""What lesson 13 reads: fine-tuning, upcycling, pruning, merging, distilling and replay, from several seeds.

    OMP_NUM_THREADS=1 python benchmarks/adaptation.py [--only PART] [--seconds 60] [--again]

Trains small models on English and on names of characters (kept in runs/adaptation, so that parts share them),
adapts them, and writes moe_lessons/results/adaptation.json row by row, with the CPU seconds of each part.
Rows that are there are kept unless asked for again. Bits are per byte, on text that no model was trained on.
All 245 rows took 17 CPU minutes on a busy machine.
"""

from dataclasses import replace
from pathlib import Path

import torch
from row_by_row import command
from safetensors.torch import load_file, save_file

from moe_lessons import adaptation as ad
from moe_lessons.data import Corpus
from moe_lessons.inspect.learning import SMALL, WINDOW, three_kinds
from moe_lessons.metrics import effective_experts
from moe_lessons.model import MoETransformer
from moe_lessons.routing import tokens_per_expert
from moe_lessons.serving import held_out, load_fine32
from moe_lessons.training.objective import evaluate

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "runs" / "adaptation"
SEEDS = range(3)
TRAINED, HELD = 200_000, 8_192  # bytes of each kind of text
PROBE = three_kinds(TRAINED, HELD)
TEXTS = dict(zip(PROBE.names, PROBE.corpus.train_N.split(TRAINED), strict=True))
HELD_OUT = dict(zip(PROBE.names, PROBE.windows_WL.flatten().split(HELD), strict=True))
DENSE = {"n_experts": 1, "top_k": 1, "balancing": "none", "z_loss_weight": 0.0}
BASE_STEPS = 600


def corpus_of(*kinds, n_bytes=TRAINED):
    """Return a corpus of the beginning of each kind of text."""
    parts = [TEXTS[kind][:n_bytes] for kind in kinds]
    return Corpus(" and ".join(kinds), torch.cat(parts), held(*kinds), sha256="")


def held(*kinds):
    """Return the text of these kinds that is kept back."""
    return torch.cat([HELD_OUT[kind] for kind in kinds])


BASE = corpus_of("English", "names")
CALIBRATION_BL = torch.cat([TEXTS[kind][:HELD].view(-1, WINDOW) for kind in ("English", "names")])


def base_bits(model):
    return evaluate(model, BASE.validation_M)


def trained(name, config, corpus):
    """Train a model, or take it from an earlier part or call."""
    path = RUNS / f"{name}.safetensors"
    if path.exists():
        return ad.with_weights(config.model, load_file(path))
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        fresh = MoETransformer(config.model, generator=torch.Generator().manual_seed(config.seed))
    model = ad.fine_tune(fresh, corpus, config)
    RUNS.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), path)
    return model


def moe(seed):
    return trained(f"moe-{seed}", SMALL.override(steps=BASE_STEPS, seed=seed), BASE)


def dense(seed):
    """The same active width: two experts of 64 are one network of 128."""
    return trained(f"dense-{seed}", SMALL.override(steps=BASE_STEPS, seed=seed, d_expert=128, **DENSE), BASE)


AFTER = SMALL.override(learning_rate=2e-3, warmup_steps=20)  # training on, of upcycled models and others


def upcycled(seed):
    """Eight copies, and 300 steps."""
    made = ad.upcycle(dense(seed), 8, generator=torch.Generator().manual_seed(100 + seed))
    config = replace(AFTER.override(steps=300, seed=50 + seed), model=made.config)
    path = RUNS / f"upcycled-{seed}.safetensors"
    if path.exists():
        return ad.with_weights(made.config, load_file(path))
    model = ad.fine_tune(made, BASE, config)
    save_file(model.state_dict(), path)
    return model


def finetuning():
    """On little and on much code: what is frozen, what is learnt, what is forgotten, which routes move."""
    plans = [plan for plan in ad.PLANS if plan != "only experts and router"]

    def measure(seed, n_bytes, plan):
        start = dense(seed) if plan == "dense, all" else moe(seed)
        config = AFTER.override(steps=100, learning_rate=1e-3, warmup_steps=10, weight_decay=0.1, seed=seed)
        if plan in ("dense, all", "all, no balancing loss"):
            config = config.override(balancing="none")
        if plan == "dense, all":
            config = config.override(z_loss_weight=0.0)
        code = corpus_of("code", n_bytes=n_bytes)
        tuned = ad.fine_tune(start, code, config, plan=plan if plan in ad.PLANS else "all")
        row = {
            "code before": evaluate(start, held("code")),
            "code after": evaluate(tuned, held("code")),
            "base before": base_bits(start),
            "base after": base_bits(tuned),
            "trained text after": evaluate(tuned, code.train_N[: HELD + 1]),
        }
        if plan != "dense, all":
            windows = {kind: held(*kinds).view(-1, WINDOW) for kind, kinds in KINDS.items()}
            for kind, windows_BL in windows.items():
                row[f"moved on {kind}"] = ad.routing_drift(start, tuned, windows_BL).tolist()
            row["effective experts on code"] = effective(tuned, windows["code"])
            row["effective experts on code before"] = effective(start, windows["code"])
        return row

    names = ["dense, all", *plans, "all, no balancing loss"]
    jobs = [
        {"seed": seed, "n_bytes": n, "plan": plan}
        for seed in SEEDS
        for n in (6_000, 200_000)
        for plan in names
    ]
    return jobs, measure, {"steps": 100, "lr": 1e-3, "base steps": BASE_STEPS, "batch": 16, "length": WINDOW}


KINDS = {"base": ("English", "names"), "code": ("code",)}


@torch.no_grad()
def effective(model, windows_BL):
    """Effective number of experts of each layer."""
    n_experts = model.config.n_experts
    loads = [tokens_per_expert(r.topk_ids_TK, n_experts) for r in model(windows_BL).routings]
    return [effective_experts(load).item() for load in loads]


def starts():
    """An upcycled model before any training: the loss, and the gradient that reaches its router."""
    kinds = {
        "copies": {},
        "copies, 1 % noise": {"noise": 0.01},
        "copies, 10 % noise": {"noise": 0.1},
        "copies, not renormalised": {"gate": "softmax_topk"},
        "slices, shared rows": {"granularity": 2},
        "slices, shared rows, no factor": {"granularity": 2},
        "slices, a row each": {"granularity": 2, "router": "free"},
    }

    def measure(seed, kind):
        model, generator = dense(seed), torch.Generator().manual_seed(100 + seed)
        made = ad.upcycle(model, 8, generator=generator, **kinds[kind])
        if kind.endswith("no factor"):
            made = ad.with_weights(replace(made.config, routed_scale=1.0), made.state_dict())
        tokens_BL = CALIBRATION_BL[:16]
        loss = made(tokens_BL[:, :-1], tokens_BL[:, 1:]).loss
        loss.backward()
        gradient = max(layer.router.weight.grad.abs().max().item() for layer in made.moe_layers)
        flat = [layer.experts.down_proj.grad.flatten(1) for layer in made.moe_layers]
        alike = [torch.cosine_similarity(one[0], one[-1], dim=0).item() for one in flat]
        return {
            "dense": base_bits(model),
            "bits": base_bits(made),
            "largest router gradient": gradient,
            "cosine of two experts' gradients": alike,
        }

    jobs = [{"seed": seed, "kind": kind} for seed in SEEDS for kind in kinds]
    return jobs, measure, {"n_experts": 8, "top_k": 2, "batch": 16}


def upcycling():
    """So many more steps: the dense model, what was made of it, and a model from scratch."""
    fine = {"granularity": 2, "top_k": 2}

    def measure(seed, kind, steps):
        generator = torch.Generator().manual_seed(100 + seed)
        config = AFTER.override(steps=steps, seed=50 + seed)
        if kind == "dense, continued":
            start, config = dense(seed), config.override(balancing="none", z_loss_weight=0.0)
        elif kind == "8 copies, twice the work":
            start = ad.upcycle(dense(seed), 8, generator=generator)
        elif kind == "4 copies in 2 slices, equal work":
            start = ad.upcycle(dense(seed), 8, generator=generator, **fine)
        else:
            config = config.override(learning_rate=3e-3)
            start = MoETransformer(SMALL.model, generator=torch.Generator().manual_seed(50 + seed))
        tuned = ad.fine_tune(start, BASE, config)
        return {"before": base_bits(start), "after": base_bits(tuned)}

    kinds = (
        "dense, continued",
        "8 copies, twice the work",
        "4 copies in 2 slices, equal work",
        "from scratch, equal work",
    )
    jobs = [
        {"seed": s, "kind": kind, "steps": steps} for s in SEEDS for steps in (100, 300) for kind in kinds
    ]
    jobs += [{"seed": s, "kind": kinds[-1], "steps": n} for n in (600, 900) for s in SEEDS]
    return jobs, measure, {"lr": 2e-3, "lr from scratch": 3e-3, "base steps": BASE_STEPS}


def pruning():
    """Fewer of the eight experts, chosen in three ways, with and without training on."""
    models = {"from scratch": moe, "upcycled": upcycled}

    def measure(seed, model, keep, by):
        whole = models[model](seed)
        before = base_bits(whole)
        draws = range(5 if by == "random" else 1)
        pruned = [
            ad.prune(
                whole, keep, by=by, tokens_BL=CALIBRATION_BL, generator=torch.Generator().manual_seed(draw)
            )
            for draw in draws
        ]
        lost = [base_bits(one) - before for one in pruned]
        config = AFTER.override(steps=50, learning_rate=1e-3, warmup_steps=5, seed=seed)
        again = ad.fine_tune(pruned[0], BASE, config)
        row = {"whole": before, "lost": sum(lost) / len(lost), "lost, trained on": base_bits(again) - before}
        if by == "random":
            row["lost by draw"] = lost
            row["lost, of the draw trained on"] = lost[0]
        return row

    jobs = [
        {"seed": seed, "model": model, "keep": keep, "by": by}
        for seed in SEEDS
        for model, keeps in (("from scratch", (6, 4, 2)), ("upcycled", (4, 2)))
        for keep in keeps
        for by in ("frequency", "reap", "random")
    ]
    return jobs, measure, {"trained on, steps": 50, "trained on, lr": 1e-3, "calibration bytes": 2 * HELD}


def pruning_fine():
    """The committed model of 32 experts: the same three ways, and calibrated on one kind of text only."""
    texts = {kind: text[:8192].view(-1, 128) for kind, text in held_out().items()}
    tested = {kind: text[8192:12289] for kind, text in held_out().items()}
    mixed = torch.cat(list(texts.values()))
    model = load_fine32()
    whole = {}

    def bits(of):
        return {kind: evaluate(of, text) for kind, text in tested.items()}

    def measure(keep, by, calibrated):
        if not whole:
            whole.update(bits(model))
        tokens_BL = mixed if calibrated == "all" else texts[calibrated]
        draws = range(3 if by == "random" else 1)
        lost = []
        for draw in draws:
            generator = torch.Generator().manual_seed(draw)
            pruned = bits(ad.prune(model, keep, by=by, tokens_BL=tokens_BL, generator=generator))
            lost.append({kind: pruned[kind] - whole[kind] for kind in whole})
        mean = {kind: sum(one[kind] for one in lost) / len(lost) for kind in whole}
        return {"lost": mean, **({"lost by draw": lost} if by == "random" else {})}

    jobs = [
        {"keep": keep, "by": by, "calibrated": "all"}
        for keep in (28, 24, 16, 8)
        for by in ("frequency", "reap", "random")
    ]
    jobs += [{"keep": 24, "by": by, "calibrated": kind} for by in ("frequency", "reap") for kind in texts]
    return (
        jobs,
        measure,
        {"model": "fine32", "calibration bytes": len(mixed.flatten()), "tested bytes": 3 * 4096},
    )


def merging():
    """The same experts merged into as many groups, their units in three orders."""
    models = {"from scratch": moe, "upcycled": upcycled}

    def measure(seed, model, n_groups, alignment):
        whole = models[model](seed)
        alike_LEE = ad.likeness(whole, CALIBRATION_BL)
        groups = ad.grouped(alike_LEE, n_groups)
        loads_LE = ad.saliency(whole, CALIBRATION_BL, "frequency")
        merged = ad.merge(whole, groups, loads_LE, alignment=alignment, tokens_BL=CALIBRATION_BL)
        n_experts = whole.config.n_experts
        others = ~torch.eye(n_experts, dtype=torch.bool)
        weights = [
            torch.nn.functional.normalize(layer.experts.down_proj.detach().flatten(1), dim=1)
            for layer in whole.moe_layers
        ]
        return {
            "lost": base_bits(merged) - base_bits(whole),
            "cosine of answers": [one[others].mean().item() for one in alike_LEE],
            "cosine of weights": [(one @ one.T)[others].mean().item() for one in weights],
        }

    jobs = [
        {"seed": seed, "model": model, "n_groups": n, "alignment": alignment}
        for seed in SEEDS
        for model, groups in (("from scratch", (6, 4)), ("upcycled", (4, 2)))
        for n in groups
        for alignment in ad.ALIGNMENTS
    ]
    return jobs, measure, {"calibration bytes": 2 * HELD}


def distilling():
    """A dense student of a quarter of the experts' width: the teacher's weights, and its predictions."""

    def measure(seed, inherit, soft):
        teacher = moe(seed)
        generator = torch.Generator().manual_seed(70 + seed)
        with torch.random.fork_rng():
            torch.manual_seed(70 + seed)
            pupil = ad.student(teacher, 64, inherit=inherit, generator=generator)
        config = SMALL.override(steps=200, seed=70 + seed)
        ad.distil(pupil, teacher, BASE, config, soft=soft)
        return {"teacher": base_bits(teacher), "student": base_bits(pupil)}

    kinds = ((False, 0.0), (False, 0.75), (True, 0.0), (True, 0.25), (True, 0.75))
    jobs = [{"seed": seed, "inherit": inherit, "soft": soft} for seed in SEEDS for inherit, soft in kinds]
    return jobs, measure, {"steps": 200, "lr": 3e-3, "d_expert of the student": 64}


DEEP = SMALL.override(n_layers=8, d_model=32, n_heads=2, n_kv_heads=2, d_expert=32, n_experts=16, steps=100)
ENGLISH = corpus_of("English")


@torch.no_grad()
def compared(model, tokens_BL, dtype=torch.bfloat16):
    """Rollout in a narrow dtype against a training pass in fp32, with and without replay."""
    rollout, passed = ad.narrowed(model, dtype)(tokens_BL), model(tokens_BL)
    rolled = rollout.logits_BLV.float()
    row = {"no replay": ad.mismatch(rolled, passed.logits_BLV, tokens_BL)._asdict()}
    if model.config.n_experts == 1:
        return row
    for name, weights in (("ids", False), ("ids and weights", True)):
        with ad.replay(model, rollout.routings, weights=weights):
            again = model(tokens_BL)
        row[f"replay of {name}"] = ad.mismatch(rolled, again.logits_BLV, tokens_BL)._asdict()
    return {**row, **moved(passed.routings, rollout.routings)}


def moved(routings, others):
    changed_LT = ad.changed_sets(routings, others)
    return {
        "changed by layer": changed_LT.double().mean(1).tolist(),
        "changed in any": changed_LT.any(0).double().mean().item(),
    }


def replaying():
    """Eight layers after 100 steps, and a dense twin: bf16 samples, fp32 trains."""

    def measure(seed, model):
        config = DEEP.override(seed=seed)
        if model == "dense":
            config = config.override(d_expert=64, **DENSE)
        made = trained(f"deep-{model}-{seed}", config, ENGLISH)
        tokens_BL = held("English").view(-1, WINDOW)
        return {"bits": evaluate(made, held("English")), **compared(made, tokens_BL)}

    jobs = [{"seed": seed, "model": model} for seed in SEEDS for model in ("experts", "dense")]
    return jobs, measure, {"layers": 8, "d_model": 32, "n_experts": 16, "top_k": 2, "steps": 100}


def perturbing():
    """The committed model: the share of its bytes that get other experts, by the size of an error."""
    model = load_fine32()
    tokens_BL = torch.cat([text[:4096].view(-1, 128) for text in held_out().values()])

    def measure(error, seed):
        if error in ("bfloat16", "float16"):
            return compared(model, tokens_BL, getattr(torch, error))
        with torch.no_grad():
            right = model(tokens_BL)
            with ad.perturbed(model, float(error), generator=torch.Generator().manual_seed(seed)):
                other = model(tokens_BL)
        best_LTK = torch.stack([r.logits_TE.topk(model.config.top_k + 1).values for r in right.routings])
        margins = (best_LTK[..., -2] - best_LTK[..., -1]).median(1).values.tolist()
        kl = ad.mismatch(right.logits_BLV, other.logits_BLV, tokens_BL).kl
        return {**moved(right.routings, other.routings), "kl": kl, "median margin by layer": margins}

    sizes = ["0.0001", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1.0", "bfloat16", "float16"]
    jobs = [
        {"error": size, "seed": seed} for seed in SEEDS for size in sizes if seed == 0 or "float" not in size
    ]
    return jobs, measure, {"model": "fine32", "bytes": tokens_BL.numel()}


PARTS = {
    "finetuning": finetuning,
    "starts": starts,
    "upcycling": upcycling,
    "pruning": pruning,
    "pruning, 32 experts": pruning_fine,
    "merging": merging,
    "distilling": distilling,
    "replay": replaying,
    "perturbation": perturbing,
}


if __name__ == "__main__":
    command("adaptation", PARTS, lambda x: float(f"{x:.4g}"))()
