"""The result of a run as a small JSON file: how it was made, its curves, and what came out."""

import json
import platform
import subprocess
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from moe_lessons.config import PRESETS
from moe_lessons.data import MAX_EVALUATION_TOKENS
from moe_lessons.device import environment
from moe_lessons.model import parameter_counts
from moe_lessons.model.generation import generate
from moe_lessons.training.precision import resolve
from moe_lessons.training.trainer import TrainResult

MAX_LOAD_HISTORY = 40
SAMPLE_PROMPT = "The "
SAMPLE_TOKENS = 400
SAMPLE_TEMPERATURE = 0.6


def run_report(result: TrainResult) -> dict[str, Any]:
    """Collect a run's settings, environment, curves and a generated sample.

    Parameters
    ----------
    result : TrainResult

    Returns
    -------
    dict
        JSON can hold it; units are in the names. Neither host names nor paths are in it.
    """
    config, model, corpus, history = result.config, result.model, result.corpus, result.history
    total, active = parameter_counts(model)
    thinned = _thin(history, MAX_LOAD_HISTORY)
    evaluated = [record for record in history if record.validation_bits_per_byte is not None]
    return {
        "preset": config.name if PRESETS.get(config.name) == config else None,
        "config": {**config.to_dict(), "corpus": corpus.name, "tokenizer": corpus.tokenizer.name},
        "seed": config.seed,
        **environment(model.embedding.weight.device),
        "precision": resolve(config.precision, model.embedding.weight.device),
        "python": platform.python_version(),
        "commit": commit(),
        "corpus": {
            "name": corpus.name,
            "sha256": corpus.sha256,
            "train_bytes": corpus.train_bytes,
            "validation_bytes": corpus.validation_bytes,
        },
        "tokenizer": {
            "name": corpus.tokenizer.name,
            "vocabulary": corpus.tokenizer.vocab_size,
            "sha256": corpus.tokenizer.sha256,
            "bytes_per_token": round(corpus.bytes_per_token, 4),
        },
        "evaluated_tokens_at_most": MAX_EVALUATION_TOKENS,
        "parameters": {"total": total, "active": active},
        "epochs": round(config.steps * config.tokens_per_step / len(corpus.train_N), 3),
        "tokens_per_second": round(result.tokens_per_second),
        "seconds": round(result.seconds, 1),
        "unigram_bits_per_byte": round(result.unigram_bits_per_byte, 4),
        "bigram_bits_per_byte": round(result.bigram_bits_per_byte, 4),
        "validation_bits_per_byte": round(result.validation_bits_per_byte, 4),
        "train_curve": {
            "step": [record.step for record in history],
            "bits_per_byte": [round(record.train_bits_per_byte, 4) for record in history],
            "tokens_per_second": [round(record.tokens_per_second) for record in history],
            "model_flops_utilisation": [record.model_flops_utilisation for record in history],
            "elapsed_s": [round(record.elapsed_s, 2) for record in history],
        },
        "validation_curve": {
            "step": [record.step for record in evaluated],
            "bits_per_byte": [round(record.validation_bits_per_byte or 0.0, 4) for record in evaluated],
        },
        "router_history": {
            "step": [record.step for record in thinned],
            "load_shares_by_layer": _rounded([record.load_shares_by_layer for record in thinned]),
            "effective_experts_by_layer": _rounded([record.effective_experts_by_layer for record in thinned]),
            "router_entropy_nats_by_layer": _rounded([r.router_entropy_nats_by_layer for r in thinned]),
        },
        "sample": {
            "prompt": SAMPLE_PROMPT,
            "temperature": SAMPLE_TEMPERATURE,
            "seed": config.seed,
            "text": sample(result, SAMPLE_PROMPT),
        },
    }


def sample(result: TrainResult, prompt: str) -> str:
    """Continue a prompt with the run's model, the same way each time."""
    generator, tokenizer = torch.Generator().manual_seed(result.config.seed), result.corpus.tokenizer
    tokens = generate(
        result.model,
        tokenizer.encode(prompt.encode()),
        SAMPLE_TOKENS,
        temperature=SAMPLE_TEMPERATURE,
        generator=generator,
    )
    return tokenizer.decode(tokens).decode(errors="replace")


def write_report(result: TrainResult, path: str | Path) -> None:
    """Write `run_report` to a file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(run_report(result), separators=(",", ":"))
    Path(path).write_text(text + "\n", encoding="utf-8")


def load_report(name: str = "cpu_tiny") -> dict[str, Any]:
    """Read a result that comes with the package.

    Raises
    ------
    FileNotFoundError
        If there is none of that name.

    Examples
    --------
    >>> report = load_report("cpu_tiny")
    >>> report["validation_bits_per_byte"] < report["bigram_bits_per_byte"]
    True
    """
    return json.loads((files("moe_lessons") / "results" / f"{name}.json").read_text(encoding="utf-8"))


def commit() -> str | None:
    """Return the commit of the code, marked if it was changed since; None outside a repository."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _thin(items: Sequence[Any], at_most: int) -> list[Any]:
    stride = -(-len(items) // at_most) or 1
    # Counted from the end, so that the last state is always there.
    return list(items)[::-1][::stride][::-1]


def _rounded(values: Any) -> Any:
    return [_rounded(value) for value in values] if isinstance(values, list) else round(values, 4)
