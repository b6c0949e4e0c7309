"""What a run says about itself: one record per interval, and the file that keeps them."""

import dataclasses
import json
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import torch

from moe_lessons.metrics import LoadRecorder, routing_entropy
from moe_lessons.model import ModelOutput
from moe_lessons.objective import RouterLosses, bits_per_byte


@dataclass(frozen=True)
class StepRecord:
    """Means over the steps since the record before, unless said otherwise.

    Attributes
    ----------
    step : int
        Finished steps.
    tokens : int
        Tokens trained on so far.
    learning_rate : float
        Of the last step.
    train_bits_per_byte : float
    validation_bits_per_byte : float or None
        On all held-out bytes, at this step; None where it was not due.
    load_balancing_loss, z_loss : float
        Per layer, without their weights.
    gradient_norm : float
        Before clipping.
    load_shares_by_layer : list of list of float
        ``[layer][expert]``; each layer sums to 1.
    effective_experts_by_layer : list of float
        Exponential of the entropy of those shares.
    router_entropy_nats_by_layer : list of float
        Mean entropy of one token's softmax over experts, in the last step.
    tokens_per_second : float
        Without evaluation and checkpoints.
    elapsed_s : float
        Wall-clock seconds since the run began, with them.
    max_violation_by_layer : list of float
        MaxVio of those shares: the fullest expert over the mean, less 1.
    batch_max_violation_by_layer : list of float
        MaxVio of each step's own shares, averaged: it shows a load that swings from step to step.
    dead_experts_by_layer : list of int
        Experts that received no token.
    expert_bias_by_layer : list of list of float
        ``[layer][expert]``, as it stands after the last step; empty where the model has none.
    """

    step: int
    tokens: int
    learning_rate: float
    train_bits_per_byte: float
    validation_bits_per_byte: float | None
    load_balancing_loss: float
    z_loss: float
    gradient_norm: float
    load_shares_by_layer: list[list[float]]
    effective_experts_by_layer: list[float]
    router_entropy_nats_by_layer: list[float]
    tokens_per_second: float
    elapsed_s: float
    # Younger than the first logs, which lack them.
    max_violation_by_layer: list[float] = field(default_factory=list)
    batch_max_violation_by_layer: list[float] = field(default_factory=list)
    dead_experts_by_layer: list[int] = field(default_factory=list)
    expert_bias_by_layer: list[list[float]] = field(default_factory=list)


class IntervalMeter:
    """Collects steps and turns them into a `StepRecord`; tensors stay on the device until then."""

    def __init__(self, n_layers: int, n_experts: int) -> None:
        self.load = LoadRecorder(n_layers, n_experts)
        self.reset()

    def reset(self) -> None:
        """Start a new interval."""
        self.n_steps, self.n_tokens, self.seconds = 0, 0, 0.0
        self.sums_4: torch.Tensor | float = 0.0
        self.load.reset()
        self.output: ModelOutput | None = None

    @torch.no_grad()
    def add(
        self, output: ModelOutput, losses: RouterLosses, gradient_norm: torch.Tensor, seconds: float
    ) -> None:
        """Count one training step."""
        assert output.loss is not None
        n_layers = len(output.routings)
        self.sums_4 = self.sums_4 + torch.stack(
            [output.loss, losses.load_balancing / n_layers, losses.z / n_layers, gradient_norm]
        )
        self.load.add([routing.topk_ids_TK for routing in output.routings])
        self.n_steps += 1
        self.n_tokens += len(output.routings[0].topk_ids_TK)
        self.seconds += seconds
        self.output = output

    @torch.no_grad()
    def record(
        self,
        *,
        step: int,
        tokens: int,
        learning_rate: float,
        validation: float | None,
        elapsed_s: float,
        expert_biases: Sequence[torch.Tensor | None] = (),
    ) -> StepRecord:
        """Return the interval's record and start the next one."""
        assert isinstance(self.sums_4, torch.Tensor)
        assert self.output is not None
        loss, load_balancing, z, gradient_norm = (self.sums_4 / self.n_steps).tolist()
        load = self.load.record()
        record = StepRecord(
            step=step,
            tokens=tokens,
            learning_rate=learning_rate,
            train_bits_per_byte=bits_per_byte(loss),
            validation_bits_per_byte=validation,
            load_balancing_loss=load_balancing,
            z_loss=z,
            gradient_norm=gradient_norm,
            load_shares_by_layer=load["load_shares_by_layer"],
            effective_experts_by_layer=load["effective_experts_by_layer"],
            router_entropy_nats_by_layer=[
                routing_entropy(routing.logits_TE).item() for routing in self.output.routings
            ],
            tokens_per_second=self.n_tokens / max(self.seconds, 1e-9),
            elapsed_s=elapsed_s,
            max_violation_by_layer=load["max_violation_by_layer"],
            batch_max_violation_by_layer=load["batch_max_violation_by_layer"],
            dead_experts_by_layer=load["dead_experts_by_layer"],
            expert_bias_by_layer=[bias_E.tolist() for bias_E in expert_biases if bias_E is not None],
        )
        self.reset()
        return record


class RunLog:
    """The records of a run, in memory and, given a directory, as lines of `log.jsonl`.

    Parameters
    ----------
    run_dir : Path or None
    keep_until_step : int
        Where a resumed run goes on; later lines are of steps that will be done again.
    """

    def __init__(self, run_dir: Path | None, *, keep_until_step: int = 0) -> None:
        self.path = run_dir / "log.jsonl" if run_dir else None
        self.records: list[StepRecord] = []
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if keep_until_step and self.path.exists():
            self.records = [r for r in read_log(self.path) if r.step <= keep_until_step]
        self.path.write_text("".join(_line(record) for record in self.records), encoding="utf-8")

    def append(self, record: StepRecord) -> None:
        """Keep a record; on disk at once, so that a killed run has its log."""
        self.records.append(record)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(record))


def read_log(path: Path) -> list[StepRecord]:
    """Read a `log.jsonl`, leaving out a last line that a killed run did not finish."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(StepRecord(**json.loads(line)))
        except (json.JSONDecodeError, TypeError):
            break
    return records


def _line(record: StepRecord) -> str:
    return json.dumps(dataclasses.asdict(record)) + "\n"


class Interrupt:
    """Whether Ctrl-C was pressed."""

    requested = False


@contextmanager
def deferred_interrupt() -> Iterator[Interrupt]:
    """Turn the first Ctrl-C into a flag, so that a step ends whole; the second one stops at once."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def note(signum: int, frame: FrameType | None) -> None:
        interrupt.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
