"""What goes wrong without each part of the model and of its training; lesson 10 reads the result.

    python benchmarks/opened_box.py

A small model is trained for a short while, whole and with one part left out or exchanged, from several seeds.
Writes moe_lessons/results/opened_box.json.
"""

import json
import math
import sys
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from moe_lessons.bench.dense import variants
from moe_lessons.config import preset
from moe_lessons.data import load_corpus
from moe_lessons.device import environment
from moe_lessons.training import run as run_module
from moe_lessons.training import train
from moe_lessons.training.failures import TrainingDiverged
from moe_lessons.training.report import commit

RESULT = Path(__file__).parents[1] / "moe_lessons" / "results" / "opened_box.json"
SEEDS = range(3)
BASE = preset("smoke").override(
    d_model=64,
    d_expert=64,
    steps=120,
    batch_size=8,
    log_every=1,
    evaluate_every=120,
    warmup_steps=20,
    device="cpu",
)
HIGH = 10 * BASE.learning_rate


def as_it_is(model):
    pass


def without_norms(model):
    for block in model.blocks:
        block.attention_norm = block.moe_norm = nn.Identity()
    model.final_norm = nn.Identity()


def without_rotation(model):
    model.cos_LP.fill_(1)
    model.sin_LP.fill_(0)


def times_five(model):
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)


def by_fan_in(model):
    """The down projection's deviation as if its fan-in, not D, stood in SmallInit's formula."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("down_proj"):
                parameter.mul_(math.sqrt(model.config.d_model / parameter.shape[-1]))


def sgd(model, config):
    return torch.optim.SGD(model.parameters(), lr=config.learning_rate)


@contextmanager
def optimizer(make):
    before = run_module.make_optimizer
    run_module.make_optimizer = make or before
    try:
        yield
    finally:
        run_module.make_optimizer = before


ROWS = {
    "as it is": (BASE, as_it_is, None),
    "no rotary positions": (BASE, without_rotation, None),
    "no norms": (BASE, without_norms, None),
    "initial weights 5 times larger": (BASE, times_five, None),
    "plain gradient descent, rate 0.1": (BASE.override(learning_rate=0.1), as_it_is, sgd),
    "plain gradient descent, rate 1": (BASE.override(learning_rate=1.0), as_it_is, sgd),
    "no warm-up": (BASE.override(warmup_steps=0), as_it_is, None),
    "no clipping": (BASE.override(grad_clip=1e9), as_it_is, None),
    "rate 10 times higher": (BASE.override(learning_rate=HIGH), as_it_is, None),
    "rate 10 times higher, no warm-up": (BASE.override(learning_rate=HIGH, warmup_steps=0), as_it_is, None),
    "rate 10 times higher, no clipping": (BASE.override(learning_rate=HIGH, grad_clip=1e9), as_it_is, None),
}
WIDE = variants(BASE)["dense_equal_total"]
DOWN = {
    "down projection as it is": (WIDE, as_it_is, None),
    "down projection by its fan-in": (WIDE, by_fan_in, None),
}


def measured(name, config, change, make, corpus):
    first, last, clipped, diverged = [], [], [], 0
    for seed in SEEDS:
        with optimizer(make):
            try:
                done = train(config.override(seed=seed), corpus=corpus, weights=change)
            except TrainingDiverged:
                diverged += 1
                continue
        norms = [record.gradient_norm for record in done.history]
        first.append(round(done.initial_bits_per_byte, 4))
        last.append(round(done.validation_bits_per_byte, 4))
        clipped.append(round(sum(norm > 1 for norm in norms) / len(norms), 3))
    print(name, first, last, clipped, diverged, flush=True)
    return {
        "first_bits_per_byte": first,
        "bits_per_byte": last,
        "share_of_steps_with_gradient_norm_above_1": clipped,
        "diverged": diverged,
    }


def main():
    """Measure what is not in the result yet; given names of rows, those alone."""
    corpus = load_corpus(BASE.corpus, context_length=BASE.model.context_length)
    every = {**ROWS, **DOWN}
    for name in sys.argv[1:] or every:
        found = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"rows": {}}
        if name in found["rows"]:
            continue
        row = measured(name, *every[name], corpus)
        # Read again: another process may have measured other rows meanwhile.
        found = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"rows": {}}
        write({**found["rows"], name: row})


def write(rows):
    about = {"script": "benchmarks/opened_box.py", "commit": commit(), **environment(torch.device("cpu"))}
    about |= {"steps": BASE.steps, "learning_rate": BASE.learning_rate, "warmup_steps": BASE.warmup_steps}
    about |= {"seeds": list(SEEDS), "wide": WIDE.model.d_expert * WIDE.model.n_experts, "d_model": 64}
    text = json.dumps({"about": about, "model": BASE.to_dict()["model"], "rows": rows}, indent=1)
    RESULT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
