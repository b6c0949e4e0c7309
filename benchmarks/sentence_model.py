"""Train the small model of explorable 0, *your sentence through an MoE layer*, and store it in the package.

    OMP_NUM_THREADS=1 python benchmarks/sentence_model.py [RUN]

Given the folder of a finished run of the same settings, that run is stored instead of a new one. Writes
moe_lessons/explore/sentence/small.safetensors (float16) and small.json (sizes, merges, how it was made). Its
figures are of the stored, rounded weights.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from moe_lessons.config import preset
from moe_lessons.data import load_corpus
from moe_lessons.device import environment
from moe_lessons.explore.sentence.reader import FACTS, WEIGHTS
from moe_lessons.interop.stored import Spec, write_safetensors
from moe_lessons.model import parameter_counts
from moe_lessons.training import train
from moe_lessons.training.baselines import bigram_bits_per_byte, unigram_bits_per_byte
from moe_lessons.training.checkpoint import latest_checkpoint, load_model
from moe_lessons.training.objective import evaluate
from moe_lessons.training.report import commit

FOLDER = Path(__file__).parents[1] / "moe_lessons" / "explore" / "sentence"
CONFIG = preset("cpu-tiny").override(
    name="sentence",
    tokenizer="bpe",
    vocab_size=1536,
    tie_embeddings=True,
    n_layers=3,
    d_model=64,
    n_heads=4,
    n_kv_heads=2,
    d_expert=20,
    context_length=64,
    batch_size=16,
    steps=900,
    learning_rate=3e-3,
    weight_decay=0.2,
    alpha=0.02,
    evaluate_every=150,
    checkpoint_every=300,
    device="cpu",
)
FREE = {
    "name",
    "device",
    "evaluate_every",
    "checkpoint_every",
    "log_every",
    "keep",
}  # of no effect on weights


def shares(model, tokens_M):
    """Each expert's share of the choices in held-out text, layer by layer."""
    length = model.config.context_length
    windows_BL = tokens_M[: len(tokens_M) // length * length].long().view(-1, length)
    with torch.no_grad():
        routings = model(windows_BL).routings
    counts = [torch.bincount(r.topk_ids_TK.flatten(), minlength=model.config.n_experts) for r in routings]
    return [[round(n / c.sum().item(), 4) for n in c.tolist()] for c in counts]


def store(checkpoint):
    model, state = load_model(checkpoint)
    ran, wanted = state["config"], json.loads(json.dumps(CONFIG.to_dict()))
    if other := {key for key in wanted if key not in FREE and ran[key] != wanted[key]}:
        raise SystemExit(f"{checkpoint} was trained with other settings: {', '.join(sorted(other))}")
    tensors = {k: v.half() for k, v in model.state_dict().items() if k != "head.weight"}
    specs = {name: Spec(torch.float16, tuple(tensor.shape)) for name, tensor in tensors.items()}
    write_safetensors(FOLDER / WEIGHTS, specs, lambda name: tensors[name])
    with torch.no_grad():
        for name, tensor in tensors.items():
            model.get_parameter(name).copy_(tensor)
    corpus = load_corpus(CONFIG.corpus, context_length=64, tokenizer="bpe", vocab_size=1536)
    bytes_V = corpus.tokenizer.byte_lengths_V
    both = corpus.train_N, corpus.validation_M
    made = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/sentence_model.py",
        "commit": commit(),
        **environment(torch.device("cpu")),
        "corpus": corpus.name,
        "corpus_sha256": corpus.sha256,
        "tokenizer_sha256": corpus.tokenizer.sha256,
        "seed": CONFIG.seed,
        "steps": state["step"],
        "tokens_per_step": CONFIG.tokens_per_step,
        "parameters": parameter_counts(model)[0],
        "held_out_bits_per_byte": round(evaluate(model, both[1], byte_lengths_V=bytes_V), 4),
        "unigram_bits_per_byte": round(unigram_bits_per_byte(*both, byte_lengths_V=bytes_V), 4),
        "bigram_bits_per_byte": round(bigram_bits_per_byte(*both, byte_lengths_V=bytes_V), 4),
        "held_out_shares_LE": shares(model, both[1]),
        "training": {key: value for key, value in wanted.items() if key != "model"},
    }
    learned = corpus.tokenizer.contents["model"]
    merges = [" ".join(str(learned["vocab"][part]) for part in pair) for pair in learned["merges"]]
    facts = {"made": made, "model": asdict(model.config), "merges": merges}
    (FOLDER / FACTS).write_text(json.dumps(facts, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in made.items() if k != "training"}, indent=1))
    for name in (WEIGHTS, FACTS):
        print(f"{name}: {(FOLDER / name).stat().st_size:,} bytes")


def main():
    if len(sys.argv) > 1:
        store(latest_checkpoint(Path(sys.argv[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        train(CONFIG, out=folder, on_note=print)
        store(latest_checkpoint(Path(folder)))


if __name__ == "__main__":
    main()
