"""A Mixtral becomes one with fewer experts, a tensor at a time."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moe_lessons.adaptation.calibration import CRITERIA, saliency
from moe_lessons.adaptation.folders import (
    CONFIG,
    Made,
    Maker,
    active_of,
    as_folder,
    check_target,
    counted,
    seeded,
    write_folder,
)
from moe_lessons.adaptation.pruning import best, check_kept
from moe_lessons.data.saved import saved_tokenizer
from moe_lessons.interop.folders import read_json
from moe_lessons.interop.importing import FolderWeights, read_weights
from moe_lessons.interop.names import pieces
from moe_lessons.interop.stored import Spec
from moe_lessons.model import MoETransformer

CALIBRATION_TOKENS = 8192


def prune_folder(
    source: str | Path,
    target: str | Path,
    keep: int,
    *,
    by: str = "frequency",
    text: bytes = b"",
    n_tokens: int = CALIBRATION_TOKENS,
    seed: int = 0,
) -> Made:
    """Write a Mixtral with fewer experts in each layer, and without their rows of the router.

    Weights keep their dtype, and the tokenizer comes along. Nothing is trained.

    Parameters
    ----------
    source : path
        A Mixtral folder that `MoETransformer` computes, or a run of ours that Mixtral's structure holds.
    target : path
        Must not exist yet, or be empty.
    keep : int
        How many experts each layer keeps; at least K.
    by : str
        As in `moe_lessons.adaptation.saliency`. All but "random" run the model, in fp32 and in memory.
    text : bytes
        To calibrate on: it decides whose knowledge counts. "random" needs none.
    n_tokens : int
        How much of it is read, at most.
    seed : int
        For "random".

    Returns
    -------
    Made

    Raises
    ------
    InteropError
        If the source is missing or no such model, or the target holds something.
    ValueError
        If `keep` is more than there are or fewer than K, `by` is unknown, or the text is too short.

    Examples
    --------
    >>> import tempfile
    >>> from moe_lessons.interop.exporting import export_model
    >>> from moe_lessons.model import ModelConfig
    >>> config = ModelConfig(n_layers=1, d_model=8, n_heads=2, d_expert=8, n_experts=4, context_length=4)
    >>> place = Path(tempfile.mkdtemp())
    >>> whole = export_model(MoETransformer(config), place / "whole")
    >>> made = prune_folder(whole, place / "pruned", 3, text=b"some text to count on")
    >>> made.before - made.after == 3 * 8 * 8 + 8  # an expert and its row of the router
    True
    """
    target = Path(target)
    if by not in CRITERIA:
        raise ValueError(f"by is {by!r}: choose one of {', '.join(CRITERIA)}")
    check_target(target)
    with as_folder(source) as folder:
        weights = read_weights(folder)
        old = weights.config
        if keep < old.top_k:
            check_kept([range(max(0, keep))] * old.n_layers, old.n_layers, old.n_experts, old.top_k)
        if by == "random":
            scores_LE = torch.rand(old.n_layers, old.n_experts, generator=seeded(seed, "prune"))
        else:
            best(torch.zeros(1, old.n_experts), keep)  # more than there are: said before the model runs
            tokens_BL = calibration_tokens(folder, text, n_tokens, old.vocab_size, old.context_length)
            scores_LE = saliency(_loaded(weights), tokens_BL, by)
        specs, makers = _kept(weights, best(scores_LE, keep))
        config = {**read_json(folder / CONFIG), "num_local_experts": keep}
        story = (
            f"{folder.resolve().name} with {keep} of {old.n_experts} experts in each layer, chosen by {by}"
        )
        write_folder(folder, target, config, specs, makers, story)
    return Made(target, counted(weights.specs), counted(specs), active_of(specs, keep, old.top_k))


def calibration_tokens(folder: Path, text: bytes, n_tokens: int, vocab_size: int, length: int) -> Tensor:
    """Cut a text into windows of the model's context, with the tokenizer in its folder.

    Returns
    -------
    Tensor of shape (B, L), int64

    Raises
    ------
    ValueError
        If the text has not two tokens.
    """
    tokens_N = saved_tokenizer(folder, vocab_size=vocab_size).encode(text[: 32 * n_tokens])[:n_tokens].long()
    if len(tokens_N) < 2:
        raise ValueError(f"text is {len(tokens_N)} tokens long: give a longer one to calibrate on")
    length = min(length, len(tokens_N))
    return tokens_N[: len(tokens_N) // length * length].view(-1, length)


def _loaded(weights: FolderWeights) -> MoETransformer:
    model = MoETransformer(weights.config)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name in weights.names:
                tensor.copy_(weights.read(name))
    return model.eval()


def _kept(weights: FolderWeights, kept: Sequence[Sequence[int]]) -> tuple[dict[str, Spec], dict[str, Maker]]:
    """Say what each tensor of the new folder is and how to make it."""
    specs: dict[str, Spec] = {}
    makers: dict[str, Maker] = {}
    bank = lru_cache(maxsize=1)(weights.read)  # of all experts of a layer, where they are stored as one
    stored = {(name, str(p.where)): p.key for name, parts in weights.layout.items() for p in parts}
    shapes = {name: spec.shape for name, spec in weights.specs.items()}
    for name, parts in pieces(replace(weights.config, n_experts=len(kept[0]))).items():
        rows = list(kept[int(name.split(".")[1])]) if ".moe." in name else []
        for piece in parts:
            old = (rows[piece.where[0]], *piece.where[1:]) if piece.where else ()
            key = stored.get((name, str(old)))
            if not piece.where:
                part = rows if name.endswith("router.weight") else ...
                makers[piece.key] = _part(bank, name, part)
                shape = (len(rows), *shapes[name][1:]) if part is rows else shapes[name]
            else:
                makers[piece.key] = _part(bank, name, old) if key is None else _read(weights, key)
                shape = tuple(torch.empty(shapes[name], device="meta")[old].shape)
            specs[piece.key] = Spec(weights.specs[name].dtype, shape)
    return specs, makers


def _part(read: Any, name: str, where: Any) -> Maker:
    return lambda: read(name)[where]


def _read(weights: FolderWeights, key: str) -> Maker:
    return lambda: weights.stored.read(key)
