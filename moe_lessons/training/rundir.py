"""A run's folder: which checkpoints it holds, which is the last and which the best, and how one goes.

A run's directory holds `step-000100/` and so on, and `best-000100/`, the one that was best on held-out text.
"""

import os
import shutil
from pathlib import Path


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, of another model, or cannot be written."""


class SaveError(CheckpointError):
    """A checkpoint, or the log, cannot be written."""

    exit_code = 5


def clean_up(run_dir: Path) -> None:
    """Remove what a killed or failed save left behind."""
    for unfinished in run_dir.glob(".unfinished-*"):
        shutil.rmtree(unfinished, ignore_errors=True)


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Return a run's complete checkpoints, oldest first."""
    return sorted(path.parent for path in run_dir.glob("step-*/state.json"))


def latest_checkpoint(path: Path) -> Path:
    """Resolve a run's directory to its last checkpoint; a checkpoint is returned as it is.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    if (path / "state.json").is_file():
        return path
    checkpoints = list_checkpoints(path)
    if not checkpoints and (path / "config.json").is_file():
        raise CheckpointError(
            f"{path} is in Hugging Face's format (it has a config.json), no run: bring it in with "
            f"moe-lessons import {path} --to runs/{path.resolve().name}"
        )
    if not checkpoints:
        what = "holds no checkpoint" if path.exists() else "does not exist"
        raise CheckpointError(f"{path} {what}: train first, with moe-lessons train --preset cpu-tiny")
    return checkpoints[-1]


def last_run(runs_dir: Path = Path("runs")) -> Path:
    """Return the run under a directory whose checkpoint is the most recent.

    Raises
    ------
    CheckpointError
        If no run has one.
    """
    states = sorted(runs_dir.glob("*/step-*/state.json"), key=lambda path: path.stat().st_mtime_ns)
    if not states:
        raise CheckpointError(
            f"no checkpoint under {runs_dir}: train first, with moe-lessons train --preset cpu-tiny"
        )
    return states[-1].parent.parent


def keep_best(checkpoint: Path) -> Path:
    """Keep a checkpoint as the run's best, beside it and under the name `best-STEP`; an earlier best goes.

    Its files are the same ones by another name where the disk can do that, so they take no room until the
    checkpoint itself goes.

    Raises
    ------
    SaveError
        If it cannot be written; the earlier best stays.
    """
    run_dir, step = checkpoint.parent, checkpoint.name.removeprefix("step-")
    final, unfinished = run_dir / f"best-{step}", run_dir / f".unfinished-new-best-{step}"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(checkpoint, unfinished, copy_function=_link)
        before = list(run_dir.glob("best-*"))
        if final.exists():
            discard(final)
        unfinished.rename(final)
        to_disk(run_dir)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SaveError(f"cannot keep {checkpoint} as the best: {reason}") from error
    for old in before:
        if old != final:
            discard(old)
    return final


def best_checkpoint(run_dir: Path) -> Path | None:
    """Return the checkpoint of a run that was best on held-out text, if one was kept."""
    found = sorted(path.parent for path in run_dir.glob("best-*/state.json"))
    return found[-1] if found else None


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)
        to_disk(Path(target))


def discard(checkpoint: Path) -> None:
    """Remove a checkpoint."""
    # Renamed first: killed half-way through the removal, it must not look like a checkpoint.
    doomed = checkpoint.with_name(f".unfinished-{checkpoint.name}")
    checkpoint.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows can't open a directory
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
