"""The model card: what a run's own files say about the model, and nothing else."""

import json
from pathlib import Path
from typing import Any

import moe_lessons
from moe_lessons.config import ModelConfig
from moe_lessons.interop.names import skeleton
from moe_lessons.model import parameter_counts

USE = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this one
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
prompt = tokenizer("The ", return_tensors="pt")
written = model.generate(**prompt, max_new_tokens=60, do_sample=False)
print(tokenizer.decode(written[0]))
```"""


def model_card(config: ModelConfig, *, dtype: str, training: dict[str, Any]) -> str:
    """Return a README for an exported model.

    Parameters
    ----------
    config : ModelConfig
    dtype : str
        Of the stored weights.
    training : dict
        From `training_facts`; empty where nothing is known.

    Examples
    --------
    >>> print(model_card(ModelConfig(), dtype="float32", training={}).splitlines()[-1])
    How it was trained is not recorded.
    """
    total, active = parameter_counts(skeleton(config))
    sizes = {
        "parameters": f"{total:,}, of which a token meets {active:,}",
        "layers": config.n_layers,
        "width": config.d_model,
        "experts": f"{config.n_experts} in each layer, {config.top_k} for each token, {config.d_expert} wide",
        "attention": f"{config.n_heads} heads, {config.n_kv_heads} for keys and values, {config.d_head} wide",
        "vocabulary": f"{config.vocab_size:,} tokens" + (": the bytes" if config.vocab_size == 256 else ""),
        "context": f"{config.context_length} tokens",
        "weights": dtype,
    }
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags: [mixture-of-experts, mixtral]",
        "---",
        "",
        "# A Mixture-of-Experts language model",
        "",
        "Made in a course, to learn how such models work. It has Mixtral's structure and was exported",
        f"by moe-lessons {moe_lessons.__version__}. No token ends a text: say how many tokens to generate.",
        "",
        *_table(sizes),
        "",
        USE,
        "",
        "## Training",
        "",
        *(_table(training) if training else ["How it was trained is not recorded."]),
    ]
    return "\n".join(lines) + "\n"


def training_facts(state: dict[str, Any], log: Path) -> dict[str, Any]:
    """Collect what a checkpoint's `state.json` and its run's log tell about training.

    Parameters
    ----------
    state : dict
    log : Path
        `log.jsonl` of the run; it need not exist.
    """
    if "imported_from" in state:
        return {"imported from": state["imported_from"]}
    config, step = state["config"], state["step"]
    given = config["corpus"]
    names = ", ".join(Path(path).name for path in ([given] if isinstance(given, str) else given))
    facts = {
        "corpus": f"{names} (SHA-256 {state['corpus_sha256'][:16]}...)",
        **({"tokenizer": Path(config["tokenizer"]).name} if "tokenizer" in config else {}),
        "steps": step,
        "training tokens": f"{step * config['batch_size'] * config['model']['context_length']:,}",
        "balancing": config["balancing"],
        "seed": config["seed"],
        "torch": state["environment"]["torch"],
        "device": state["environment"]["device"],
    }
    if state.get("weights_from"):
        facts["first weights"] = state["weights_from"]
    if state.get("changes"):
        facts["changed on the way"] = "; ".join(state["changes"])
    if found := _last_validation(log, step):
        facts["held-out bits per byte"] = (
            f"{found['validation_bits_per_byte']:.3f} after step {found['step']}"
        )
    return facts


def _last_validation(log: Path, step: int) -> dict[str, Any] | None:
    if not log.is_file():
        return None
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    evaluated = [r for r in records if r.get("validation_bits_per_byte") is not None and r["step"] <= step]
    return evaluated[-1] if evaluated else None


def _table(rows: dict[str, Any]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
