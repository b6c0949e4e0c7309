"""A run's records for TensorBoard, if it is installed: the numbers of `log.csv`, as curves by step."""

from pathlib import Path
from types import TracebackType
from typing import Any

from moe_lessons.training.runlog import StepRecord, flat


class TensorBoard:
    """Writes each `StepRecord` into the run's folder: pass it to `train` as `on_step`, inside a `with`.

    Lists are grouped by what follows the first dot of their name in `flat`: ``z_loss`` stays as it is, and
    ``load_shares_by_layer.0.3`` becomes ``load_shares_by_layer/0.3``.

    Parameters
    ----------
    run_dir : Path
        Look at it with ``tensorboard --logdir`` and this folder.

    Raises
    ------
    ValueError
        If TensorBoard is not installed.
    """

    def __init__(self, run_dir: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ValueError(
                "tensorboard is not installed: pip install tensorboard, or leave --tensorboard out; "
                "log.csv holds the same numbers"
            ) from None
        self.writer: Any = SummaryWriter(str(run_dir / "tensorboard"))

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()

    def __call__(self, record: StepRecord) -> None:
        """Write one record."""
        for name, number in flat(record).items():
            if number is not None and name != "step":
                self.writer.add_scalar(name.replace(".", "/", 1), number, record.step)
