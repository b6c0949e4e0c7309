"""Where a run may start from: a run of ours, an imported one, or a Mixtral folder of Hugging Face's."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from moe_lessons.config import ModelConfig
from moe_lessons.data.byte_level import N_BYTES
from moe_lessons.data.saved import saved_tokenizer
from moe_lessons.data.tokenizer import BYTES
from moe_lessons.interop.folders import InteropError, read_json
from moe_lessons.interop.importing import read_weights
from moe_lessons.interop.mixtral import from_mixtral
from moe_lessons.model import MoETransformer
from moe_lessons.training.checkpoint import read_state, restore_weights
from moe_lessons.training.rundir import latest_checkpoint


@dataclass(frozen=True)
class Start:
    """Weights to begin with.

    Attributes
    ----------
    model : ModelConfig
        What they are of.
    tokenizer : str
        "bytes", or the path of the `tokenizer.json` that they were trained with.
    origin : str
        For the record: the folder's name.
    fill : callable
        Puts them into a fresh model of that configuration, or of one with a shorter context.
    """

    model: ModelConfig
    tokenizer: str
    origin: str
    fill: Callable[[MoETransformer], None]


def starting_point(folder: str | Path) -> Start:
    """Find out what lies in a folder, and how to begin with it.

    Parameters
    ----------
    folder : path
        A run's, one of its checkpoints, or one with Mixtral's `config.json` and safetensors, such as
        `export` writes or transformers' `save_pretrained`.

    Raises
    ------
    InteropError
        If it is not there, or is no Mixtral that `MoETransformer` computes.
    CheckpointError
        If it is a run without a whole checkpoint.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InteropError(f"{folder} is not a folder: give a run, or one with config.json and safetensors")
    if (folder / "config.json").is_file():
        model = from_mixtral(read_json(folder / "config.json"))
        weights = read_weights(folder)

        def fill(fresh: MoETransformer) -> None:
            with torch.no_grad():
                for name, tensor in fresh.state_dict().items():
                    if name in weights.names:
                        tensor.copy_(weights.read(name))

        return Start(model, _tokenizer(folder, model.vocab_size), folder.resolve().name, fill)
    checkpoint = latest_checkpoint(folder)
    state = read_state(checkpoint)
    model = ModelConfig(**state["config"]["model"])
    run = checkpoint.parent.resolve().name
    return Start(
        model,
        _tokenizer(checkpoint.parent, model.vocab_size, state.get("tokenizer_sha256")),
        f"{run}/{checkpoint.name}",
        lambda fresh: restore_weights(checkpoint, fresh),
    )


def _tokenizer(folder: Path, vocab_size: int, sha256: str | None = None) -> str:
    if not (folder / "tokenizer.json").is_file() and vocab_size != N_BYTES:
        raise InteropError(
            f"{folder} has no tokenizer.json, and its {vocab_size:,} tokens are not the 256 bytes: "
            "put the tokenizer's file there, or say which text they are of with --tokenizer"
        )
    found = saved_tokenizer(folder, vocab_size=vocab_size, sha256=sha256)
    return "bytes" if found is BYTES else str((folder / "tokenizer.json").absolute())
