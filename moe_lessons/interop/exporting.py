"""From a run or a model to a folder that Hugging Face loads as Mixtral."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from moe_lessons.config import ModelConfig
from moe_lessons.interop.card import model_card, training_facts
from moe_lessons.interop.folders import InteropError, new_folder, write_json
from moe_lessons.interop.mixtral import check_exportable, to_mixtral
from moe_lessons.interop.names import pieces, skeleton
from moe_lessons.interop.stored import DTYPES, Spec, write_safetensors
from moe_lessons.interop.tokenizer import write_tokenizer
from moe_lessons.model import MoETransformer
from moe_lessons.training.checkpoint import latest_checkpoint, read_state

EXPORTED = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES.values()}


def export_model(model: MoETransformer, folder: str | Path, *, dtype: str = "float32") -> Path:
    """Write a model in memory as a Mixtral folder: `config.json`, weights, tokenizer, model card.

    Parameters
    ----------
    model : MoETransformer
    folder : path
        Must not exist yet, or be empty.
    dtype : str
        Of the stored weights: a key of `EXPORTED`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InteropError
        If Mixtral has no place for something in the model, or the folder cannot be written.
    """
    state = model.state_dict()

    def part(name: str, where: tuple[Any, ...]) -> Tensor:
        return state[name][where]

    return _write(model.config, part, Path(folder), dtype=dtype, training={})


def export_checkpoint(run: str | Path, folder: str | Path, *, dtype: str = "float32") -> Path:
    """Write a run's last checkpoint, or the one given, as a Mixtral folder; see `export_model`.

    Weights go from file to file, one tensor at a time.

    Raises
    ------
    InteropError
        As `export_model`.
    CheckpointError
        If there is no checkpoint, or it is damaged.
    """
    checkpoint = latest_checkpoint(Path(run))
    state = read_state(checkpoint)
    config = ModelConfig(**state["config"]["model"])
    check_exportable(config)
    facts = training_facts(state, checkpoint.parent / "log.jsonl")
    alpha = state["config"]["alpha"] if state["config"]["balancing"] == "aux_loss" else 0.0
    with safe_open(checkpoint / "model.safetensors", framework="pt") as stored:

        def part(name: str, where: tuple[Any, ...]) -> Tensor:
            return stored.get_slice(name)[where or ...]  # one expert is read, not the whole bank

        return _write(
            config,
            part,
            Path(folder),
            dtype=dtype,
            training=facts,
            alpha=alpha,
            tokenizer=checkpoint.parent,
        )


def _write(
    config: ModelConfig,
    part: Callable[[str, tuple[Any, ...]], Tensor],
    target: Path,
    *,
    dtype: str,
    training: dict[str, Any],
    alpha: float = 0.0,
    tokenizer: Path | None = None,
) -> Path:
    if dtype not in EXPORTED:
        raise InteropError(f"dtype is {dtype!r}: choose one of {', '.join(EXPORTED)}")
    theirs = to_mixtral(config, dtype=dtype, alpha=alpha)
    shapes = skeleton(config).state_dict()
    home = {piece.key: (name, piece.where) for name, parts in pieces(config).items() for piece in parts}
    specs = {
        key: Spec(EXPORTED[dtype], tuple(shapes[name][where].shape)) for key, (name, where) in home.items()
    }

    with new_folder(target) as folder:
        write_json(folder / "config.json", theirs)
        write_safetensors(folder / "model.safetensors", specs, lambda key: part(*home[key]))
        write_tokenizer(
            folder, run=tokenizer, vocab_size=config.vocab_size, context_length=config.context_length
        )
        (folder / "README.md").write_text(
            model_card(config, dtype=dtype, training=training), encoding="utf-8"
        )
    return target
