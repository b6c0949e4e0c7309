"""What a run says about itself: one record per interval, and the two files that keep them."""

import csv
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
    drop_rate_by_layer : list of float
        Share of routed rows that found no place: 0 as long as experts have no capacity, as here.
    model_flops_utilisation : float or None
        Share of the device's peak, see `moe_lessons.training.utilisation`; None where the peak is not known.
    skipped_steps : int
        How many of the interval's steps changed no weight because gradients overflowed; fp16 only.
    loss_scale : float or None
        After the last step; None except in fp16.
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
    drop_rate_by_layer: list[float] = field(default_factory=list)
    model_flops_utilisation: float | None = None
    skipped_steps: int = 0
    loss_scale: float | None = None


def flat(record: StepRecord) -> dict[str, Any]:
    """Give each number of a record a name of its own: lists become ``name.layer`` or ``name.layer.expert``.

    Examples
    --------
    >>> list(_flatten("load", [[0.25, 0.75]]))
    [('load.0.0', 0.25), ('load.0.1', 0.75)]
    """
    return dict(pair for name, value in dataclasses.asdict(record).items() for pair in _flatten(name, value))


def _flatten(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, list):
        yield name, value
        return
    for position, item in enumerate(value):
        yield from _flatten(f"{name}.{position}", item)


class RunLog:
    """The records of a run, in memory and, given a directory, in `log.jsonl` and `log.csv`.

    A record is a line of both: `log.jsonl` keeps its structure, `log.csv` has the columns of `flat`.

    Parameters
    ----------
    run_dir : Path or None
    keep_until_step : int
        Where a resumed run goes on; later lines are of steps that will be done again.
    """

    def __init__(self, run_dir: Path | None, *, keep_until_step: int = 0) -> None:
        self.path = run_dir / "log.jsonl" if run_dir else None
        self.records: list[StepRecord] = []
        self.columns: list[str] = []
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if keep_until_step and self.path.exists():
            self.records = [r for r in read_log(self.path) if r.step <= keep_until_step]
        # Beside it, then in its place: killed half-way, the run must not lose the records it had.
        beside = self.path.with_suffix(".new")
        beside.write_text("".join(_line(record) for record in self.records), encoding="utf-8")
        beside.replace(self.path)
        self.path.with_suffix(".csv").unlink(missing_ok=True)
        if self.records:
            self._write_table()

    def append(self, record: StepRecord) -> None:
        """Keep a record; on disk at once, so that a killed run has its log."""
        self.records.append(record)
        if self.path is None:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(record))
        row = flat(record)
        if set(row) <= set(self.columns):
            with self.path.with_suffix(".csv").open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self.columns).writerow(row)
        else:
            self._write_table()

    def _write_table(self) -> None:
        # Anew where a column comes for the first time: records of an earlier version lack some.
        assert self.path is not None
        rows = [flat(record) for record in self.records]
        self.columns = list(dict.fromkeys(name for row in rows for name in row))
        with self.path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)


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
