"""What a run is made of: the sizes of a model, the settings of its training, and ready presets.

Imports no torch, so that the command line can list and check them at once.
"""

from moe_lessons.config.files import read_toml, to_toml
from moe_lessons.config.model import ModelConfig
from moe_lessons.config.presets import EXPECTED, PRESETS, preset
from moe_lessons.config.training import (
    BALANCING,
    BALANCING_SCOPES,
    BPE_VOCABULARY,
    PARALLEL,
    PRECISIONS,
    REPEATS,
    SCHEDULES,
    TOKENIZERS,
    TrainConfig,
)
from moe_lessons.config.wording import difference, nearest

__all__ = [
    "BALANCING",
    "BALANCING_SCOPES",
    "BPE_VOCABULARY",
    "EXPECTED",
    "PARALLEL",
    "PRECISIONS",
    "PRESETS",
    "REPEATS",
    "SCHEDULES",
    "TOKENIZERS",
    "ModelConfig",
    "TrainConfig",
    "difference",
    "nearest",
    "preset",
    "read_toml",
    "to_toml",
]
