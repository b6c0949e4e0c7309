"""What a run keeps on the disk: where, in which order, and how it takes it up again."""

import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from moe_lessons.config import TrainConfig, difference, to_toml
from moe_lessons.data import Corpus, write_tokenizer
from moe_lessons.device import environment
from moe_lessons.model import MoETransformer
from moe_lessons.training.checkpoint import read_state, restore_optimizer, restore_weights, save_checkpoint
from moe_lessons.training.distributed import Ranks
from moe_lessons.training.precision import LossScaler
from moe_lessons.training.rundir import (
    CheckpointError,
    best_checkpoint,
    clean_up,
    keep_best,
    latest_checkpoint,
    list_checkpoints,
)
from moe_lessons.training.runlog import RunLog


class KeptRun:
    """The half of `Run` that deals with its folder."""

    config: TrainConfig
    corpus: Corpus
    ranks: Ranks
    device: torch.device
    model: MoETransformer
    optimizer: torch.optim.Optimizer
    scaler: LossScaler
    say: Callable[[str], None]
    evaluate: Callable[[], float]

    def __init__(self) -> None:
        self.step = 0
        self.training_s = 0.0
        self.initial_bits_per_byte = math.nan
        self.best: dict[str, Any] = {"step": None, "bits_per_byte": math.inf}
        self.origin: str | None = None  # where the first weights came from, if not from the seed
        self.changes: list[str] = []  # what resumes have changed
        self.checkpoint: Path | None = None
        self.run_dir: Path | None = None
        self.started = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Wall-clock seconds, those before a resume included."""
        return time.perf_counter() - self.started

    def open(
        self,
        out: str | Path | None,
        resume: Path | None = None,
        *,
        changes: list[str] | None = None,
        origin: str | None = None,
    ) -> None:
        """Choose the directory, and restore a checkpoint if there is one to go on from.

        Parameters
        ----------
        out, resume : path, optional
        changes : list of str, optional
            What the resume changes, for the record.
        origin : str, optional
            Where the weights of a new run came from.
        """
        self.run_dir = Path(out) if out is not None else None
        if resume is not None:
            self.restore(latest_checkpoint(resume))
        self.changes += changes or []
        if self.run_dir is not None:
            if resume is None and list_checkpoints(self.run_dir):
                raise ValueError(
                    f"{self.run_dir} already holds a run: resume it (--resume {self.run_dir}) "
                    "or choose another directory (--out)"
                )
            if self.ranks.first:
                clean_up(self.run_dir)
                write_tokenizer(self.run_dir / "tokenizer.json", self.corpus.tokenizer)
        self.log = RunLog(self.run_dir if self.ranks.first else None, keep_until_step=self.step)
        if self.run_dir is not None and self.ranks.first:
            (self.run_dir / "run.toml").write_text(to_toml(self.config), encoding="utf-8")
        if origin is not None:
            self.origin, self.initial_bits_per_byte = origin, self.evaluate()
            before = f"{self.initial_bits_per_byte:.3f}"
            self.say(f"weights from {origin}; held-out bits per byte before training: {before}")

    def save(self, *, best: bool = False) -> None:
        """Write a checkpoint, if the run has a directory, and keep it beside the others if it is the best."""
        if self.run_dir is None:
            return
        state = {
            "config": self.config.to_dict(),
            "corpus_sha256": self.corpus.sha256,
            "tokenizer_sha256": self.corpus.tokenizer.sha256,
            "environment": self.environment(),
            "training_s": self.training_s,
            "elapsed_s": self.elapsed_s,
            "loss_scaler": self.scaler.state_dict(),
            "best": self.best if self.best["step"] is not None else None,
            "weights_from": self.origin,
            "changes": self.changes,
        }
        try:
            self.checkpoint = save_checkpoint(
                self.run_dir,
                self.step,
                self.model,
                self.optimizer,
                state,
                self.ranks.first,
                self.config.keep,
            )
            if best and self.ranks.first:
                keep_best(self.checkpoint)
        except CheckpointError as error:
            raise type(error)(f"{error}; {self.whereabouts()}") from error

    def restore(self, checkpoint: Path) -> None:
        """Take over a checkpoint of the same run."""
        state = read_state(checkpoint)
        changes = difference(self.environment(), {"ranks": 1, **state["environment"]})
        if changes and self.ranks.first:
            warnings.warn(
                f"resuming elsewhere, so not bit for bit; there -> here: {', '.join(changes)}", stacklevel=4
            )
        restore_weights(checkpoint, self.model)
        restore_optimizer(checkpoint, self.optimizer)
        self.scaler.load_state_dict(state.get("loss_scaler", {}))
        self.step, self.training_s = state["step"], state["training_s"]
        self.started -= state["elapsed_s"]
        self.origin, self.changes = state.get("weights_from"), list(state.get("changes", ()))
        self.checkpoint = checkpoint
        self.run_dir = self.run_dir or checkpoint.parent
        kept = best_checkpoint(self.run_dir)
        # One of a later step belongs to what will be trained again: the next evaluation replaces it.
        if state.get("best") and kept is not None and kept.name == f"best-{state['best']['step']:06d}":
            self.best = state["best"]

    def environment(self) -> dict[str, Any]:
        """Collect what must be equal for two runs to agree bit for bit."""
        return {**environment(self.device), "ranks": self.ranks.size}

    def whereabouts(self) -> str:
        """Say where the last checkpoint is and how to go on from it."""
        if self.checkpoint is None:
            return "nothing is saved yet" if self.run_dir else "nothing is saved: no directory was given"
        resume = f"moe-lessons train --resume {self.checkpoint.parent}"
        return f"last checkpoint: {self.checkpoint}; go on with: {resume}"
