"""One training run: the state that a checkpoint holds, and the loop that advances it."""

import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from moe_lessons.checkpoint import (
    CheckpointError,
    clean_up,
    latest_checkpoint,
    list_checkpoints,
    read_state,
    restore_optimizer,
    restore_weights,
    save_checkpoint,
)
from moe_lessons.config import TrainConfig, difference
from moe_lessons.data import Corpus, training_batch
from moe_lessons.device import environment
from moe_lessons.distributed import Ranks, whole
from moe_lessons.model import MoETransformer
from moe_lessons.objective import (
    evaluate,
    learning_rate_at,
    make_optimizer,
    precision,
    router_losses,
    update_expert_bias,
)
from moe_lessons.runlog import IntervalMeter, RunLog, StepRecord, deferred_interrupt

# These may change at a resume: they don't touch the weights. The corpus is compared by its checksum.
FREE_SETTINGS = ("name", "corpus", "device", "parallel", "log_every", "evaluate_every", "checkpoint_every")


class TrainingInterrupted(KeyboardInterrupt):
    """The run was stopped by Ctrl-C; the message says where its last checkpoint is."""


class TrainingDiverged(ValueError):
    """The loss or its gradient is no longer a number; the weights are those of the step before."""


class Run:
    """The state of a run: what a checkpoint holds, and the loop that advances it."""

    def __init__(self, config: TrainConfig, corpus: Corpus, ranks: Ranks) -> None:
        self.config, self.corpus, self.ranks = config, corpus, ranks
        self.device = ranks.device
        generator = torch.Generator().manual_seed(config.seed)
        self.model = MoETransformer(config.model, generator=generator).to(self.device)
        self.forward = ranks.wrap(self.model, config.parallel)
        self.optimizer = make_optimizer(self.model, config)
        self.meter = IntervalMeter(config.model.n_moe_layers, config.model.n_experts, ranks)
        self.step = 0
        self.training_s = 0.0
        self.validation_bits_per_byte = math.nan
        self.checkpoint: Path | None = None
        self.run_dir: Path | None = None
        self.started = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Wall-clock seconds, those before a resume included."""
        return time.perf_counter() - self.started

    def open(self, out: str | Path | None, resume: str | Path | None) -> None:
        """Choose the directory, and restore a checkpoint if there is one to go on from."""
        self.run_dir = Path(out) if out is not None else None
        if resume is not None:
            self.restore(latest_checkpoint(Path(resume)))
        if self.run_dir is not None:
            if resume is None and list_checkpoints(self.run_dir):
                raise ValueError(
                    f"{self.run_dir} already holds a run: resume it (--resume {self.run_dir}) "
                    "or choose another directory (--out)"
                )
            if self.ranks.first:
                clean_up(self.run_dir)
        self.log = RunLog(self.run_dir if self.ranks.first else None, keep_until_step=self.step)

    def loop(self, on_step: Callable[[StepRecord], None] | None) -> None:
        """Train to the last step, reporting, evaluating and saving when due."""
        config = self.config
        self.model.train()
        with deferred_interrupt() as interrupt:
            while self.step < config.steps:
                self.advance()
                last = self.step == config.steps
                due = last or self.step % config.evaluate_every == 0
                validation = evaluate(self.model, self.corpus.validation_M, ranks=self.ranks) if due else None
                if due or self.step % config.log_every == 0:
                    record = self.record(validation)
                    if on_step is not None and self.ranks.first:
                        on_step(record)
                stop = self.ranks.any(interrupt.requested)
                if last or stop or self.step % config.checkpoint_every == 0:
                    self.save()
                if stop and not last:
                    self.ranks.wait()  # for the first to write: whoever ends early can bring down the others
                    raise TrainingInterrupted(
                        f"stopped at step {self.step} of {config.steps}; {self.whereabouts()}"
                    )
        if math.isnan(self.validation_bits_per_byte):
            self.validation_bits_per_byte = evaluate(
                self.model, self.corpus.validation_M, ranks=self.ranks
            )

    def advance(self) -> None:
        """Do one step of the optimizer."""
        started = time.perf_counter()
        config = self.config
        inputs_BL, targets_BL = training_batch(
            self.corpus.train_N,
            batch_size=config.batch_size,
            context_length=config.model.context_length,
            seed=config.seed,
            step=self.step,
        )
        inputs_BL, targets_BL = self.ranks.rows(inputs_BL), self.ranks.rows(targets_BL)
        try:
            with precision(self.device):
                output = self.forward(inputs_BL.to(self.device), targets_BL.to(self.device))
        except ValueError as error:  # a router that meets NaN says so before the loss can
            raise self.diverged(str(error)) from error
        losses = router_losses(output.routings, config.model.gate, scope=config.balancing_scope)
        alpha = config.alpha if config.balancing == "aux_loss" else 0.0
        loss = output.loss + alpha * losses.load_balancing + config.z_loss_weight * losses.z
        loss.backward()
        gradient_norm = whole(torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.grad_clip))
        if not math.isfinite(gradient_norm.item()):
            raise self.diverged(f"loss {output.loss.item():.4g}, gradient norm {gradient_norm.item():.4g}")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(config, self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        update_expert_bias(self.model, output.routings, config)
        self.step += 1
        seconds = time.perf_counter() - started
        self.training_s += seconds
        self.meter.add(output, losses, gradient_norm, seconds)

    def record(self, validation: float | None) -> StepRecord:
        """Close the interval and write it down."""
        if validation is not None:
            self.validation_bits_per_byte = validation
        record = self.meter.record(
            step=self.step,
            tokens=self.step * self.config.tokens_per_step,
            learning_rate=learning_rate_at(self.config, self.step - 1),
            validation=validation,
            elapsed_s=self.elapsed_s,
            expert_biases=[moe.router.expert_bias_E for moe in self.model.moe_layers],
        )
        try:
            self.log.append(record)
        except OSError as error:
            raise CheckpointError(f"cannot write the log: {error.strerror}; {self.whereabouts()}") from error
        return record

    def save(self) -> None:
        """Write a checkpoint, if the run has a directory."""
        if self.run_dir is None:
            return
        state = {
            "config": self.config.to_dict(),
            "corpus_sha256": self.corpus.sha256,
            "environment": self.environment(),
            "training_s": self.training_s,
            "elapsed_s": self.elapsed_s,
        }
        try:
            self.checkpoint = save_checkpoint(self.run_dir, self.step, self.model, self.optimizer, state, self.ranks.first)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; {self.whereabouts()}") from error

    def restore(self, checkpoint: Path) -> None:
        """Take over a checkpoint of the same run."""
        state = read_state(checkpoint)
        ours = json.loads(json.dumps(self.config.to_dict()))
        # A checkpoint from before a setting existed had its default.
        defaults = json.loads(json.dumps(TrainConfig().to_dict()))
        theirs = {**defaults, **state["config"]}
        theirs["model"] = {**defaults["model"], **theirs["model"]}
        for name in FREE_SETTINGS:
            theirs.pop(name, None)
            ours.pop(name)
        theirs["corpus_sha256"], ours["corpus_sha256"] = state["corpus_sha256"], self.corpus.sha256
        if changes := difference(ours, theirs):
            raise CheckpointError(
                f"{checkpoint} belongs to another run; there -> here: {', '.join(changes)}; "
                "resume without these changes or start a new run"
            )
        changes = difference(self.environment(), {"ranks": 1, **state["environment"]})
        if changes and self.ranks.first:
            warnings.warn(
                f"resuming elsewhere, so not bit for bit; there -> here: {', '.join(changes)}", stacklevel=4
            )
        restore_weights(checkpoint, self.model)
        restore_optimizer(checkpoint, self.optimizer)
        self.step, self.training_s = state["step"], state["training_s"]
        self.started -= state["elapsed_s"]
        self.checkpoint = checkpoint
        self.run_dir = self.run_dir or checkpoint.parent

    def environment(self) -> dict[str, Any]:
        """Collect what must be equal for two runs to agree bit for bit."""
        return {**environment(self.device), "ranks": self.ranks.size}

    def diverged(self, what: str) -> TrainingDiverged:
        """Build the error for a step whose numbers are not finite."""
        return TrainingDiverged(
            f"training diverged in step {self.step + 1}: {what}; try a smaller learning rate; "
            f"{self.whereabouts()}"
        )

    def whereabouts(self) -> str:
        """Say where the last checkpoint is and how to go on from it."""
        if self.checkpoint is None:
            return "nothing is saved yet" if self.run_dir else "nothing is saved: no directory was given"
        resume = f"moe-lessons train --resume {self.checkpoint.parent}"
        return f"last checkpoint: {self.checkpoint}; go on with: {resume}"
