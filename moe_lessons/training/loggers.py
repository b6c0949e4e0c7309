"""Other places that a run's records can go to, if they are installed: one class each, all used alike.

A logger is opened in a `with`, and called with each `StepRecord`. The names are those of `log.csv`.
"""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from moe_lessons.config import TrainConfig
from moe_lessons.training.runlog import StepRecord, flat


class Logger:
    """What `train` calls: pass one as `on_step`, inside a `with`. This one keeps nothing."""

    def __enter__(self) -> "Logger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, record: StepRecord) -> None:
        """Write one record."""
        self.write(numbers(record), record.step)

    def write(self, values: dict[str, float], step: int) -> None:
        """Keep the numbers of one record."""

    def close(self) -> None:
        """Write what is left."""


def numbers(record: StepRecord) -> dict[str, float]:
    """Return a record's numbers, grouped by what comes before a slash.

    ``z_loss`` stays as it is, and ``load_shares_by_layer.0.3`` becomes ``load_shares_by_layer/0.3``.

    Examples
    --------
    >>> record = StepRecord(1, 2, 0.1, 8.0, None, 1.0, 1.0, 1.0, [[0.5, 0.5]], [2.0], [0.7], 9.0, 1.0)
    >>> [name for name in numbers(record) if "load" in name]
    ['load_balancing_loss', 'load_shares_by_layer/0.0', 'load_shares_by_layer/0.1']
    """
    return {
        name.replace(".", "/", 1): number
        for name, number in flat(record).items()
        if number is not None and name != "step"
    }


class TensorBoard(Logger):
    """Curves by step in the run's folder; look at them with ``tensorboard --logdir`` and this folder.

    Parameters
    ----------
    run_dir : Path
    config : TrainConfig, optional
        Not needed: the run's folder has it.

    Raises
    ------
    ValueError
        If TensorBoard is not installed.
    """

    def __init__(self, run_dir: Path, config: TrainConfig | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ValueError(
                "tensorboard is not installed: pip install tensorboard, or leave --tensorboard out; "
                "log.csv holds the same numbers"
            ) from None
        self.writer: Any = SummaryWriter(str(run_dir / "tensorboard"))

    def write(self, values: dict[str, float], step: int) -> None:
        """Keep the numbers of one record."""
        for name, number in values.items():
            self.writer.add_scalar(name, number, step)

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


class WeightsAndBiases(Logger):
    """A run of the project "moe-lessons" at Weights & Biases; its own variables say where and whether online.

    Parameters
    ----------
    run_dir : Path
        Its name is the run's.
    config : TrainConfig

    Raises
    ------
    ValueError
        If wandb is not installed, or cannot begin.
    """

    def __init__(self, run_dir: Path, config: TrainConfig) -> None:
        try:
            import wandb
        except ImportError:
            raise ValueError(
                "wandb is not installed: pip install wandb, or leave --log-to wandb out; "
                "log.csv holds the same numbers"
            ) from None
        try:
            self.run: Any = wandb.init(
                project="moe-lessons", name=run_dir.name, dir=str(run_dir), config=config.to_dict()
            )
        except Exception as error:  # not logged in, no network: its own errors have no common ground
            raise ValueError(
                f"wandb does not begin ({str(error).splitlines()[0]}): log in, or leave it out"
            ) from error

    def write(self, values: dict[str, float], step: int) -> None:
        """Keep the numbers of one record."""
        self.run.log(values, step=step)

    def close(self) -> None:
        """Write what is left."""
        self.run.finish()


LOGGERS: dict[str, type[Any]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def open_loggers(names: Iterable[str], run_dir: Path, config: TrainConfig) -> list[Logger]:
    """Begin with each logger that is asked for.

    Parameters
    ----------
    names : iterable of str
        Keys of `LOGGERS`.
    run_dir : Path
    config : TrainConfig

    Raises
    ------
    ValueError
        If one is not installed; those before it are closed again.
    """
    opened: list[Logger] = []
    try:
        for name in names:
            opened.append(LOGGERS[name](run_dir, config))
    except ValueError:
        for logger in opened:
            logger.close()
        raise
    return opened
