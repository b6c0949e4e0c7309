"""From a Mixtral folder to a run's folder, as training would have left it."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from moe_lessons.config import ModelConfig, TrainConfig
from moe_lessons.data.byte_level import N_BYTES
from moe_lessons.interop.folders import InteropError, new_folder, read_json, write_json
from moe_lessons.interop.mixtral import alpha_of, from_mixtral
from moe_lessons.interop.names import Piece, pieces, skeleton
from moe_lessons.interop.stored import Spec, StoredWeights, write_safetensors
from moe_lessons.interop.tokenizer import FILES
from moe_lessons.training.checkpoint import FORMAT


def import_folder(folder: str | Path, run: str | Path) -> Path:
    """Write a Mixtral folder as a run whose only checkpoint, of step 0, `load_model` reads.

    Weights go from file to file, one tensor of ours at a time, and keep their dtype.

    Parameters
    ----------
    folder : path
        With `config.json` and safetensors, in one file or with an index; experts each for themselves, as on
        the Hugging Face Hub, or fused, as transformers 5 has them in memory.
    run : path
        Must not exist yet, or be empty.

    Returns
    -------
    Path
        The run's folder.

    Raises
    ------
    InteropError
        If the folder is no Mixtral checkpoint that `MoETransformer` computes, with the first key that is
        missing, unknown or of the wrong shape; or if the run cannot be written.
    """
    folder, run = Path(folder), Path(run)
    if not folder.is_dir():
        raise InteropError(f"{folder} is not a folder: give one with config.json and safetensors")
    theirs = read_json(folder / "config.json")
    weights = read_weights(folder)
    config = weights.config
    settings = TrainConfig(
        name="imported",
        model=config,
        tokenizer="bytes" if config.vocab_size == N_BYTES else "tokenizer.json",
        balancing="aux_loss",
        alpha=alpha_of(theirs, config),
    )

    with new_folder(run) as unfinished:
        checkpoint = unfinished / "step-000000"
        checkpoint.mkdir()
        write_safetensors(checkpoint / "model.safetensors", weights.specs, weights.read)
        with open(checkpoint / "model.safetensors", "rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        state = {
            "format": FORMAT,
            "step": 0,
            "config": settings.to_dict(),
            "corpus_sha256": None,
            "imported_from": folder.resolve().name,
            "sha256": {"model.safetensors": checksum},
        }
        write_json(checkpoint / "state.json", state)
        for name in FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, unfinished / name)
    return run


@dataclass(frozen=True)
class FolderWeights:
    """The weights of a Mixtral folder under our names, read when asked for.

    Attributes
    ----------
    config : ModelConfig
    specs : dict of str to Spec
        Dtype and shape of each.
    """

    config: ModelConfig
    specs: dict[str, Spec]
    stored: StoredWeights
    layout: dict[str, list[Piece]]

    @property
    def names(self) -> set[str]:
        """What there is."""
        return set(self.specs)

    def read(self, name: str) -> Tensor:
        """Put one tensor together."""
        spec = self.specs[name]
        whole = torch.empty(spec.shape, dtype=spec.dtype)
        for piece in self.layout[name]:
            whole[piece.where] = self.stored.read(piece.key)
        return whole


def read_weights(folder: str | Path) -> FolderWeights:
    """Open a Mixtral folder, and check names and shapes before anything is read.

    Raises
    ------
    InteropError
        As `import_folder`.
    """
    folder = Path(folder)
    config = from_mixtral(read_json(folder / "config.json"))
    stored = StoredWeights(folder)
    _check_counts(config, stored)
    layout = pieces(config, fused_layers=_fused_layers(config, stored))
    return FolderWeights(config, _check(config, stored, layout), stored, layout)


def _check_counts(config: ModelConfig, stored: StoredWeights) -> None:
    """Refuse more layers or experts than there are tensors, before all their names are made."""
    n_tensors = len(stored.keys)
    fused = any(key.endswith("experts.gate_up_proj") for key in stored.keys)
    n_experts = 0 if fused else config.n_experts
    for name, count in (("num_hidden_layers", config.n_layers), ("num_local_experts", n_experts)):
        if count > n_tensors:
            raise InteropError(f"{name} is {count}: {stored.folder} holds {n_tensors} tensors only")


def _fused_layers(config: ModelConfig, stored: StoredWeights) -> frozenset[int]:
    key = "model.layers.{}.block_sparse_moe.experts.gate_up_proj"
    return frozenset(layer for layer in range(config.n_layers) if key.format(layer) in stored.keys)


def _check(config: ModelConfig, stored: StoredWeights, layout: dict[str, list[Piece]]) -> dict[str, Spec]:
    """Compare names and shapes, and return what our tensors will be."""
    wanted = {piece.key for parts in layout.values() for piece in parts}
    for what, keys in (("lacks", wanted - stored.keys), ("has unknown", _unknown(config, stored, wanted))):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise InteropError(f"{stored.folder} {what} {min(keys)}{more}: config.json is of another model")
    shapes = skeleton(config).state_dict()
    specs = {}
    for name, parts in layout.items():
        for piece in parts:
            expected, found = tuple(shapes[name][piece.where].shape), stored.spec(piece.key).shape
            if found != expected:
                raise InteropError(f"{piece.key} has shape {found}: config.json says {expected}")
        specs[name] = Spec(stored.spec(parts[0].key).dtype, tuple(shapes[name].shape))
    return specs


def _unknown(config: ModelConfig, stored: StoredWeights, wanted: set[str]) -> set[str]:
    unknown = stored.keys - wanted
    head, embedding = "lm_head.weight", "model.embed_tokens.weight"
    if config.tie_embeddings and head in unknown and {embedding} <= stored.keys:
        if not torch.equal(stored.read(head), stored.read(embedding)):
            raise InteropError(f"{head} differs from {embedding}, though tie_word_embeddings is true")
        unknown.discard(head)  # some write the same tensor twice
    return unknown
