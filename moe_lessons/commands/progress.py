"""How training shows itself in a terminal: a bar where there is one, plain lines elsewhere."""

import math
import os
import sys
import warnings
from types import TracebackType
from typing import Any, TextIO

from moe_lessons.config import TrainConfig
from moe_lessons.data import MAX_EVALUATION_TOKENS
from moe_lessons.model import parameter_counts
from moe_lessons.training import TrainResult
from moe_lessons.training.rundir import best_checkpoint
from moe_lessons.training.runlog import StepRecord


class Progress:
    """Shows each `StepRecord`: pass it to `train` as `on_step`, inside a `with`, and `say` as `on_note`.

    If nobody reads any more, as when the pipe it goes to is closed, it falls silent and the run goes on.

    Parameters
    ----------
    config : TrainConfig
    stream : text stream, optional
        Standard output unless given.
    """

    def __init__(self, config: TrainConfig, stream: TextIO | None = None) -> None:
        self.config = config
        self.stream = stream or sys.stdout
        self.bar: Any = None
        self.validation: float | None = None
        self.first_step: int | None = None

    def __enter__(self) -> "Progress":
        self._showwarning, warnings.showwarning = warnings.showwarning, self._note
        if self.stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
            )
            self.bar = Bar(*columns, console=Console(file=self.stream))
            self.task = self.bar.add_task("starting", total=self.config.steps)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        warnings.showwarning = self._showwarning
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, record: StepRecord) -> None:
        """Show one record."""
        if record.validation_bits_per_byte is not None:
            self.validation = record.validation_bits_per_byte
        is_first, self.first_step = self.first_step is None, self.first_step or record.step
        if self.bar is not None:
            self.bar.start()
            parts = [f"{record.train_bits_per_byte:.3f} bits per byte"]
            if self.validation is not None:
                parts.append(f"held-out {self.validation:.3f}")
            parts.append(_speed(record))
            self.bar.update(self.task, completed=record.step, description=", ".join(parts))
        elif is_first or record.validation_bits_per_byte is not None:
            fullest = max(share for layer in record.load_shares_by_layer for share in layer)
            held_out = f"  held-out {self.validation:.3f}" if self.validation is not None else ""
            goes_on = is_first and record.step < self.config.steps
            left = f"  about {_left(record, self.config)} left" if goes_on else ""
            self.say(
                f"step {record.step}/{self.config.steps}  train {record.train_bits_per_byte:.3f}{held_out} "
                f"bits per byte  {_speed(record)}  fullest expert {fullest:.0%}{_skipped(record)}{left}"
            )

    def say(self, text: str) -> None:
        """Show lines."""
        try:
            if self.bar is not None:
                self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, file=self.stream, flush=True)
        except OSError:  # nobody reads: the pipe is closed, or the terminal is
            _silence(self.stream)

    def _note(self, message: Any, *_: Any, **__: Any) -> None:
        try:
            print(f"note: {message}", file=sys.stderr, flush=True)
        except OSError:
            _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    """Let what is still written to a stream go nowhere."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # it is no file
        pass


def _left(record: StepRecord, config: TrainConfig) -> str:
    """Say how long the steps to come will take, without evaluations.

    Examples
    --------
    >>> record = StepRecord(1, 1, 0.1, 8.0, None, 1.0, 1.0, 1.0, [[1.0]], [1.0], [0.7], 1024.0, 1.0)
    >>> _left(record, TrainConfig(steps=21)), _left(record, TrainConfig(steps=7201))
    ('20 s', '2.0 hours')
    """
    seconds = (config.steps - record.step) * config.tokens_per_step / max(record.tokens_per_second, 1e-9)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def _speed(record: StepRecord) -> str:
    share = record.model_flops_utilisation
    of_peak = "" if share is None else f" ({share:.0%} of the peak)"
    return f"{record.tokens_per_second:,.0f} tokens/s{of_peak}"


def _skipped(record: StepRecord) -> str:
    return f"  skipped {record.skipped_steps} for overflow" if record.skipped_steps else ""


def _best_place(result: TrainResult) -> str:
    place = best_checkpoint(result.checkpoint.parent) if result.checkpoint else None
    return f", kept as {place}" if place else ""


def summary(result: TrainResult) -> str:
    """Say how a run ended: held-out bits per byte beside the baselines, speed, and where it lies."""
    total, active = parameter_counts(result.model)
    corpus, unit = result.corpus, result.corpus.tokenizer.unit
    share = min(1.0, MAX_EVALUATION_TOKENS / len(corpus.validation_M))
    scored = "" if share == 1 else f"; the model on {share:.0%} of them"
    epochs = result.config.steps * result.config.tokens_per_step / len(corpus.train_N)
    lines = [
        f"held-out bits per byte on {corpus.name} ({corpus.validation_bytes:,} bytes{scored})",
        f"  {f'unigram, {unit} frequencies':<27}{result.unigram_bits_per_byte:.3f}",
        f"  {f'bigram, {unit} pairs':<27}{result.bigram_bits_per_byte:.3f}",
        f"  {'this model':<27}{result.validation_bits_per_byte:.3f}",
        f"{total:,} parameters, {active:,} active per token; {epochs:.1f} epochs; "
        f"{result.tokens_per_second:,.0f} tokens/s; {result.seconds:.0f} s",
    ]
    if not math.isnan(result.initial_bits_per_byte):
        before = f"{result.initial_bits_per_byte:.3f}"
        lines.insert(4, f"  {'before, with its first weights':<31}{before}")
    if result.best is not None and result.best[1] < result.config.steps:
        lines.append(f"best: {result.best[0]:.3f} at step {result.best[1]}" + _best_place(result))
    if result.checkpoint is not None:
        lines.append(f"checkpoint: {result.checkpoint}")
        lines.append(f'next: moe-lessons generate --checkpoint {result.checkpoint.parent} --prompt "The "')
    return "\n".join(lines)
