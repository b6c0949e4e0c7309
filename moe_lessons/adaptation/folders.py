"""What becomes of a folder: where it comes from, and how a new one is written, whole or not at all."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import moe_lessons
from moe_lessons.data.batches import derived_seed
from moe_lessons.interop.exporting import export_checkpoint
from moe_lessons.interop.folders import InteropError, new_folder, write_json
from moe_lessons.interop.stored import Spec, write_safetensors

WEIGHTS, CONFIG = "model.safetensors", "config.json"
COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
)
Maker = Callable[[], Tensor]


class Made(NamedTuple):
    """What a folder holds now.

    Attributes
    ----------
    folder : Path
    before, after, active : int
        Parameters of the source, of what was made of it, and those of them that a token meets.
    """

    folder: Path
    before: int
    after: int
    active: int


@contextmanager
def as_folder(source: str | Path) -> Iterator[Path]:
    """Give a Hugging Face folder: the source itself, or a run of ours exported to a place that is not kept.

    Raises
    ------
    InteropError
        If there is nothing at `source`, or it is neither.
    CheckpointError
        If it is a run without a whole checkpoint.
    """
    source = Path(source).expanduser()
    if not source.is_dir():
        raise InteropError(f"{source} is not a folder: give a run, or one with config.json and safetensors")
    if (source / CONFIG).is_file():
        yield source
        return
    with tempfile.TemporaryDirectory() as somewhere:
        yield export_checkpoint(source, Path(somewhere) / source.resolve().name)


def check_target(target: Path) -> None:
    """Say that a target is taken before anything slow is done."""
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise InteropError(f"{target} already holds something: choose another folder")


def write_folder(
    source: Path,
    target: Path,
    config: dict[str, Any],
    specs: dict[str, Spec],
    makers: dict[str, Maker],
    story: str,
) -> None:
    """Write `config.json`, weights, what `source` has of a tokenizer, and a README that says what it is.

    Raises
    ------
    InteropError
        If the target holds something already, or the disk refuses.
    """
    with new_folder(target) as folder:
        write_json(folder / CONFIG, config)
        write_safetensors(folder / WEIGHTS, specs, lambda key: makers[key]())
        for name in COPIED:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        (folder / "README.md").write_text(
            f"# A Mixtral made of another model\n\n{story}. Made by moe-lessons {moe_lessons.__version__}; "
            "nothing was trained.\n",
            encoding="utf-8",
        )


def counted(specs: dict[str, Spec]) -> int:
    """How many parameters these tensors have.

    Examples
    --------
    >>> counted({"a": Spec(torch.float32, (2, 3)), "b": Spec(torch.float32, (4,))})
    10
    """
    return sum(prod(spec.shape) for spec in specs.values())


def active_of(specs: dict[str, Spec], n_experts: int, top_k: int) -> int:
    """How many of them a token meets: all but those of the E - K experts of each layer that it passes by.

    Examples
    --------
    >>> one = Spec(torch.float32, (3,))
    >>> active_of({"gate": one, "x.experts.0.w1": one, "x.experts.1.w1": one}, 2, 1)
    6
    """
    of_experts = counted({key: spec for key, spec in specs.items() if ".experts." in key})
    return counted(specs) - of_experts * (n_experts - top_k) // n_experts


def seeded(*parts: int | str) -> torch.Generator:
    """A generator that a seed and a name determine, whatever was drawn before."""
    return torch.Generator().manual_seed(derived_seed(*parts))
