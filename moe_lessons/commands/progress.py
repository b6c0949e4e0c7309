"""How training shows itself in a terminal: a bar where there is one, plain lines elsewhere."""

import sys
import warnings
from types import TracebackType
from typing import Any, TextIO

from moe_lessons.config import TrainConfig
from moe_lessons.data import MAX_EVALUATION_TOKENS
from moe_lessons.model import parameter_counts
from moe_lessons.training import TrainResult
from moe_lessons.training.runlog import StepRecord


class Progress:
    """Shows each `StepRecord`: pass it to `train` as `on_step`, inside a `with`.

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
            self.bar.start()
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
        if self.bar is not None:
            parts = [f"{record.train_bits_per_byte:.3f} bits per byte"]
            if self.validation is not None:
                parts.append(f"held-out {self.validation:.3f}")
            parts.append(_speed(record))
            self.bar.update(self.task, completed=record.step, description=", ".join(parts))
        elif record.validation_bits_per_byte is not None or record.step == self.config.log_every:
            fullest = max(share for layer in record.load_shares_by_layer for share in layer)
            held_out = f"  held-out {self.validation:.3f}" if self.validation is not None else ""
            print(
                f"step {record.step}/{self.config.steps}  train {record.train_bits_per_byte:.3f}{held_out} "
                f"bits per byte  {_speed(record)}  fullest expert {fullest:.0%}{_skipped(record)}",
                file=self.stream,
                flush=True,
            )

    def _note(self, message: Any, *_: Any, **__: Any) -> None:
        print(f"note: {message}", file=sys.stderr)


def _speed(record: StepRecord) -> str:
    share = record.model_flops_utilisation
    of_peak = "" if share is None else f" ({share:.0%} of the peak)"
    return f"{record.tokens_per_second:,.0f} tokens/s{of_peak}"


def _skipped(record: StepRecord) -> str:
    return f"  skipped {record.skipped_steps} for overflow" if record.skipped_steps else ""


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
    if result.checkpoint is not None:
        lines.append(f"checkpoint: {result.checkpoint}")
        lines.append(f'next: moe-lessons generate --checkpoint {result.checkpoint.parent} --prompt "The "')
    return "\n".join(lines)
