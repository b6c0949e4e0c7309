"""Train the model that the lessons on serving read, and pack it into the package.

    OMP_NUM_THREADS=1 python benchmarks/fine32.py [--out runs/fine32]

Trains a small model of fine-grained experts (32 in each of 4 layers, 4 for each byte) on three kinds of text,
then writes moe_lessons/results/fine32.safetensors (experts in int8 with a scale for each 32 inputs, the rest
in bf16) and moe_lessons/results/fine32.json: held-out bits per byte as trained and as packed, by kind of
text, and how long it took. A run that was stopped goes on from its last checkpoint.
"""

import hashlib
import json
import platform
import time
import unicodedata
from pathlib import Path

import click
import torch

from moe_lessons.config import preset
from moe_lessons.device import environment
from moe_lessons.inspect.learning import three_kinds
from moe_lessons.serving.fine32 import HELD_OUT, TEXT_BYTES, checked, pack, unpack
from moe_lessons.training import evaluate
from moe_lessons.training.report import commit
from moe_lessons.training.trainer import train

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results"
UNICODE = "14.0.0"  # whose names of characters the third kind of text consists of
CONFIG = preset("cpu-tiny").override(
    name="fine32",
    d_model=128,
    n_layers=4,
    d_expert=64,
    n_experts=32,
    top_k=4,
    steps=1700,
    seed=0,
    log_every=100,
    evaluate_every=425,
    checkpoint_every=100,
    device="cpu",
)


def bits_by_kind(model, probe):
    """Held-out bits per byte of each kind of text."""
    parts = probe.windows_WL.flatten().view(len(probe.names), -1)
    return {kind: round(evaluate(model, part), 4) for kind, part in zip(probe.names, parts, strict=True)}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/fine32"))
def main(out: Path) -> None:
    """Train, pack, measure, write."""
    knows = unicodedata.unidata_version
    if knows != UNICODE:
        raise click.ClickException(
            f"this Python knows the characters of Unicode {knows}: the model is trained on the names of "
            f"Unicode {UNICODE}, which Python 3.11 has"
        )
    torch.set_num_threads(1)
    probe = three_kinds(TEXT_BYTES - HELD_OUT, HELD_OUT)
    began = time.process_time()
    result = train(
        CONFIG,
        corpus=probe.corpus,
        out=out,
        resume=out if any(out.glob("step-*")) else None,
        on_step=lambda r: print(r.step, round(r.train_bits_per_byte, 3), round(r.elapsed_s), "s", flush=True),
        check_memory=False,
    )
    spent = out / "cpu_s"  # of the processes before this one
    cpu_s = time.process_time() - began + (float(spent.read_text()) if spent.exists() else 0)
    spent.write_text(str(cpu_s))
    names = probe.windows_WL.flatten()[-HELD_OUT:]
    raw = pack(result.model, names)
    sha256 = hashlib.sha256(raw).hexdigest()
    packed = unpack(checked(raw, sha256), CONFIG.model)
    record = {
        "about": {
            "script": "benchmarks/fine32.py",
            "commit": commit(),
            "python": platform.python_version(),
            **environment(torch.device("cpu")),
            "wall_s": round(result.seconds),
            "cpu_s": round(cpu_s),
        },
        "config": CONFIG.to_dict(),
        "texts": {
            "kinds": probe.names,
            "train bytes": TEXT_BYTES - HELD_OUT,
            "held-out bytes": HELD_OUT,
            "unicode": UNICODE,
        },
        "sha256": sha256,
        "bytes": len(raw),
        "bits per byte": round(result.validation_bits_per_byte, 4),
        "bits per byte by kind": {"trained": bits_by_kind(result.model, probe)},
    }
    record["bits per byte by kind"]["packed"] = bits_by_kind(packed, probe)
    (RESULTS / "fine32.safetensors").write_bytes(raw)
    (RESULTS / "fine32.json").write_text(json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1), flush=True)


if __name__ == "__main__":
    main()
