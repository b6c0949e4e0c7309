"""A training run, from its settings to its last checkpoint. Importing this loads no torch; its names do.

`trainer` starts a `run`, which takes one step after the other: `objective` says what is minimised,
`schedule` how large the steps are, `accumulation` makes the step's gradient out of micro-batches, `precision`
and `distributed` say in which format and on how many devices, `wrapping` and `shards` who then holds which
weights. `runlog` and `meter` write down what happened, `kept`, `checkpoint` and `rundir` keep it, `resuming`
says what may change. `interrupt` and `failures` end it early and say why, `report` and `loggers` show it.
`baselines` is what a model must beat; `outlook` says before what a run will be, with the memory that
`footprint` predicts, and `utilisation` how much of a device it uses.
"""

from moe_lessons.config import PRESETS, TrainConfig, preset
from moe_lessons.lazy import lazy

_EXPORTS = {
    "CheckpointError": "rundir",
    "DoesNotFit": "outlook",
    "MicroBatchError": "accumulation",
    "RankLost": "distributed",
    "StepRecord": "runlog",
    "TrainResult": "trainer",
    "TrainingDiverged": "failures",
    "TrainingInterrupted": "failures",
    "evaluate": "objective",
    "load_model": "checkpoint",
    "train": "trainer",
}

__all__ = [
    "PRESETS",
    "CheckpointError",
    "DoesNotFit",
    "MicroBatchError",
    "RankLost",
    "StepRecord",
    "TrainConfig",
    "TrainResult",
    "TrainingDiverged",
    "TrainingInterrupted",
    "evaluate",
    "load_model",
    "preset",
    "train",
]

__getattr__, __dir__ = lazy(__name__, _EXPORTS)
