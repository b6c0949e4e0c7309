"""Measure what explorable *Slip* shows: router margins of one batch, and what errors of ten sizes do there.

    OMP_NUM_THREADS=1 python benchmarks/slip.py

Trains the model of eight layers of lesson 13, as the lesson does, and passes 256 bytes through it that it was
not trained on. Of every byte and layer it keeps the margin, which is the second logit's distance from the
third, and the size from which one draw of normal noise, added to the logits, changes the set of two experts
(the layer's input stays as it is: errors do not add up). Then whole passes, in which they do: with the same
noise times ten sizes in every router, and in bf16 with routers in fp32. Of each pass: which bytes had another
set in which layer, and the absolute log ratio of every byte's probability in the clean pass and in this one,
with the clean pass's own experts and with those of the other pass replayed.
Writes moe_lessons/explore/slip/batch.json; it takes about ten seconds of CPU.
"""

import json
from collections import Counter
from pathlib import Path

import torch

from moe_lessons import adaptation as ad
from moe_lessons.data import Corpus, as_tokens, language_reference
from moe_lessons.device import environment
from moe_lessons.inspect.learning import SMALL, WINDOW, train_and_keep

FILE = Path(__file__).resolve().parents[1] / "moe_lessons" / "explore" / "slip" / "batch.json"
STEPS = 30
DEEP = SMALL.override(n_layers=8, d_model=32, n_heads=2, n_kv_heads=2, d_expert=32, n_experts=16, steps=STEPS)
TRAINED, HELD = 200_000, 4_096  # bytes, as in lesson 13
N_WINDOWS = 4
SIZES = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
LARGEST = 1.0  # what only a larger size would change counts as changed by none
SEED = 0  # of the noise


def trained():
    """Lesson 13's model, and bytes that it was not trained on, in windows."""
    text = language_reference()
    held_N = as_tokens(text[TRAINED:][:HELD])
    corpus = Corpus("English", as_tokens(text[:TRAINED]), held_N, sha256="")
    return train_and_keep(DEEP, corpus, (STEPS,))[STEPS], held_N.view(-1, WINDOW).long()[:N_WINDOWS]


def generator():
    return torch.Generator().manual_seed(SEED)


def short(values, digits=3, largest=float("inf")):
    """Numbers with so many digits; None for what is larger."""
    return [float(f"{value:.{digits}g}") if value <= largest else None for value in values.tolist()]


def digits_of(is_so_T):
    return "".join("01"[is_so] for is_so in is_so_T.tolist())


def log_ratios(one_BLV, other_BLV, tokens_BL):
    """How far apart two passes are about the bytes that came: absolute log ratios, window after window."""
    one_BLV, other_BLV = (logits[:, :-1].double().log_softmax(dim=-1) for logits in (one_BLV, other_BLV))
    return (one_BLV - other_BLV).gather(-1, tokens_BL[:, 1:, None]).flatten().abs()


def compared(model, clean, rollout, tokens_BL):
    """One pass with errors against the clean one."""
    with ad.replay(model, rollout.routings):
        replayed = model(tokens_BL)
    slipped_LT = ad.changed_sets(clean.routings, rollout.routings)
    return {
        "changed by layer": short(slipped_LT.double().mean(dim=1)),
        "slipped": digits_of(slipped_LT.any(dim=0)),
        "own": short(log_ratios(clean.logits_BLV, rollout.logits_BLV, tokens_BL), 2),
        "replayed": short(log_ratios(replayed.logits_BLV, rollout.logits_BLV, tokens_BL), 2),
    }


@torch.no_grad()
def measure(model, tokens_BL):
    """Everything that the picture shows, of one batch."""
    top_k = model.config.top_k
    clean = model(tokens_BL)
    logits_LTE = [routing.logits_TE.double() for routing in clean.routings]
    drawing = generator()
    noise_LTE = [torch.randn(logits_TE.shape, generator=drawing).double() for logits_TE in logits_LTE]
    best_LTK = [logits_TE.topk(top_k + 1).values for logits_TE in logits_LTE]
    found = {
        "margins": [short(best_TK[:, -2] - best_TK[:, -1]) for best_TK in best_LTK],
        "slips from": [
            short(ad.slip_sizes(logits_TE, noise_TE, top_k), largest=LARGEST)
            for logits_TE, noise_TE in zip(logits_LTE, noise_LTE, strict=True)
        ],
        "passes": [],
    }
    for size in SIZES:
        with ad.perturbed(model, size, generator=generator()):
            rollout = model(tokens_BL)
        found["passes"].append({"size": size, **compared(model, clean, rollout, tokens_BL)})
    rollout = ad.narrowed(model)(tokens_BL)
    pairs = list(zip(clean.routings, rollout.routings, strict=True))
    errors_L = torch.stack([(a.logits_TE - b.logits_TE).pow(2).mean().sqrt() for a, b in pairs])
    found["bf16"] = {
        "error": short(errors_L),
        "slipped by layer": [digits_of(layer) for layer in ad.changed_sets(*zip(*pairs, strict=True))],
        **compared(model, clean, rollout, tokens_BL),
    }
    return found


def main():
    """Measure and write."""
    torch.set_num_threads(1)
    model, tokens_BL = trained()
    settings = {key: getattr(model.config, key) for key in ("n_layers", "d_model", "n_experts", "top_k")}
    about = {"script": "benchmarks/slip.py", **environment(torch.device("cpu"))}
    letters = bytes(tokens_BL.flatten().tolist()).decode("ascii")
    seen = Counter(language_reference()[:TRAINED].decode("utf-8", errors="replace"))
    found = {
        "about": about,
        "settings": {**settings, "steps": STEPS, "window": WINDOW, "noise seed": SEED},
        "text": letters,
        "seen": {letter: seen[letter] for letter in sorted(set(letters))},
        **measure(model, tokens_BL),
    }
    lines = ",\n".join(
        f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in found.items()
    )
    FILE.write_text("{" + lines + "}\n", encoding="utf-8")
    print(f"{FILE.name}: {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
