"""Checkpoints that are whole or not there: a directory per step, renamed into place when complete.

A run's directory holds `step-000100/` and so on, each with `model.safetensors`, `optimizer.safetensors`
and `state.json` (step, configuration, checksums, what the run needs to continue bit for bit).
"""

import hashlib
import json
import operator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from moe_lessons.config import ModelConfig, TrainConfig
from moe_lessons.model import MoETransformer
from moe_lessons.training.rundir import (
    CheckpointError,
    SaveError,
    clean_up,
    discard,
    last_run,
    latest_checkpoint,
    list_checkpoints,
    to_disk,
)
from moe_lessons.training.shards import share, whole

__all__ = [
    "CheckpointError",
    "SaveError",
    "last_run",
    "latest_checkpoint",
    "list_checkpoints",
    "load_model",
    "read_state",
    "save_checkpoint",
]

KEEP = 2
FORMAT = 1


def save_checkpoint(
    run_dir: Path,
    step: int,
    model: MoETransformer,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    write: bool = True,
    keep: int = KEEP,
) -> Path:
    """Write the checkpoint of one step; older ones go only when it is complete, and the last few stay.

    Parameters
    ----------
    run_dir : Path
        Created if need be.
    step : int
        Finished steps.
    model : MoETransformer
    optimizer : torch.optim.Optimizer
    state : dict
        What else to record; JSON must be able to hold it.
    write : bool
        False on all ranks but the first, which only help to gather what is cut into shards.
    keep : int
        How many stay, this one among them.

    Returns
    -------
    Path
        The checkpoint's directory.

    Raises
    ------
    SaveError
        If it cannot be written, for instance because the disk is full; earlier ones stay as they were.
    """
    final = run_dir / f"step-{step:06d}"
    files = {"model.safetensors": _weights(model), "optimizer.safetensors": _optimizer_tensors(optimizer)}
    for tensors in files.values():
        tensors |= {name: whole(tensor, keep=write) for name, tensor in tensors.items()}
    if not write:
        return final
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        unfinished = run_dir / f".unfinished-{step:06d}"
        unfinished.mkdir()
        checksums = {}
        for name, tensors in files.items():
            save_file(tensors, unfinished / name)
            to_disk(unfinished / name)
            checksums[name] = _sha256(unfinished / name)
        state = {"format": FORMAT, "step": step, **state, "sha256": checksums}
        (unfinished / "state.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        to_disk(unfinished / "state.json")
        for name in files:  # safetensors lets nobody but the owner read them
            (unfinished / name).chmod((unfinished / "state.json").stat().st_mode)
        # The same weights again after a resume that went nowhere: nothing is lost by replacing them.
        if final.exists():
            discard(final)
        unfinished.rename(final)
        to_disk(run_dir)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SaveError(f"cannot write the checkpoint of step {step} to {run_dir}: {reason}") from error
    finally:
        clean_up(run_dir)
    for old in list_checkpoints(run_dir)[:-keep]:
        discard(old)
    return final


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read `state.json` and compare the checksums of the files that it lists.

    Raises
    ------
    CheckpointError
        If something is missing or damaged.
    """
    try:
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        known = state["format"]
        if known != FORMAT:
            raise CheckpointError(f"{checkpoint} has format {known}: this version reads format {FORMAT}")
        TrainConfig.from_dict(state["config"])
        operator.index(state["step"])
        for name, expected in state["sha256"].items():
            if _sha256(checkpoint / name) != expected:
                raise CheckpointError(
                    f"{checkpoint} is damaged: {name} does not match its checksum{_other(checkpoint)}"
                )
    except PermissionError as error:
        raise CheckpointError(
            f"{error.filename}: {error.strerror}: ask its owner to let you read it"
        ) from error
    except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(f"{checkpoint} is damaged: {reason}{_other(checkpoint)}") from error
    return state


def check_resumable(checkpoint: Path) -> None:
    """Refuse a checkpoint that was never trained here: there is no run to go on with.

    Raises
    ------
    CheckpointError
        If its weights were imported.
    """
    try:
        origin = json.loads((checkpoint / "state.json").read_text(encoding="utf-8")).get("imported_from")
    except (OSError, ValueError, AttributeError):
        return  # `read_state` says what is wrong
    if origin is not None:
        run_dir = checkpoint.parent
        raise CheckpointError(
            f"{checkpoint} holds weights imported from {origin}, without optimizer state, so there is no "
            f"training to go on with: train its weights on (moe-lessons train --init-from {run_dir}), let it "
            f"write (moe-lessons generate --checkpoint {run_dir}), or export it "
            f"(moe-lessons export {run_dir} --to FOLDER)"
        )


def load_model(
    checkpoint: Path | str, *, device: torch.device | str = "cpu"
) -> tuple[MoETransformer, dict[str, Any]]:
    """Build the model of a checkpoint and fill in its weights.

    Parameters
    ----------
    checkpoint : Path or str
        A checkpoint's directory, or a run's for the last one.
    device : torch.device or str

    Returns
    -------
    model : MoETransformer
        In evaluation mode.
    state : dict
        What `state.json` holds.

    Raises
    ------
    CheckpointError
        If it is missing or damaged.
    """
    checkpoint = latest_checkpoint(Path(checkpoint))
    state = read_state(checkpoint)
    model = MoETransformer(ModelConfig(**state["config"]["model"])).to(device)
    restore_weights(checkpoint, model)
    return model.eval(), state


def restore_weights(checkpoint: Path, model: MoETransformer) -> None:
    """Copy a checkpoint's weights into a model of the same shape.

    Raises
    ------
    CheckpointError
        If names or shapes differ; the message shows the first difference.
    """
    stored = load_file(checkpoint / "model.safetensors")
    expected = _weights(model)
    for name in sorted({*stored, *expected}):
        theirs = tuple(stored[name].shape) if name in stored else "missing"
        ours = tuple(expected[name].shape) if name in expected else "missing"
        if theirs != ours:
            raise CheckpointError(
                f"{checkpoint} is of another model: {name} is {theirs} there, {ours} in this model"
            )
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(share(stored[name], like=tensor))


def restore_optimizer(checkpoint: Path, optimizer: torch.optim.Optimizer) -> None:
    """Copy a checkpoint's optimizer state and random number generators back."""
    stored = load_file(checkpoint / "optimizer.safetensors")
    torch.set_rng_state(stored.pop("rng.cpu"))
    if "rng.cuda" in stored and torch.cuda.is_available():
        torch.cuda.set_rng_state(stored["rng.cuda"])
    stored.pop("rng.cuda", None)
    per_parameter: dict[int, dict[str, Tensor]] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    index_of = {number: index for index, number in enumerate(_numbers(optimizer))}
    for key, tensor in stored.items():
        number, name = key.split(".")
        index = index_of[int(number)]
        parameter = parameters[index]
        of_parameter = tensor.shape == parameter.shape  # a moment; AdamW's step is one number
        per_parameter.setdefault(index, {})[name] = share(tensor, parameter) if of_parameter else tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": per_parameter, "param_groups": groups})


def _weights(model: MoETransformer) -> dict[str, Tensor]:
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    if model.config.tie_embeddings:
        del weights["head.weight"]  # the same memory as the embedding: safetensors refuses it twice
    return weights


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    numbers = _numbers(optimizer)
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"{numbers[index]}.{name}": tensor for name, tensor in values.items()}
    return tensors


def _numbers(optimizer: torch.optim.Optimizer) -> list[int]:
    """Number the parameters as in one process, whose optimizer has fewer groups than one with shards."""
    groups = optimizer.param_groups
    if all("numbers" in group for group in groups):
        return [number for group in groups for number in group["numbers"]]
    return list(range(sum(len(group["params"]) for group in groups)))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _other(checkpoint: Path) -> str:
    others = [path for path in list_checkpoints(checkpoint.parent) if path != checkpoint]
    return f"; try {others[-1]}" if others else ""
