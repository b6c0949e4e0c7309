"""Runs that are ready to start, by name."""

from moe_lessons.config.model import ModelConfig
from moe_lessons.config.training import TrainConfig
from moe_lessons.config.wording import nearest

PRESETS: dict[str, TrainConfig] = {
    "cpu-tiny": TrainConfig(name="cpu-tiny"),
    "lesson": TrainConfig(name="lesson", steps=500, learning_rate=2e-3, evaluate_every=100),
    "smoke": TrainConfig(
        name="smoke",
        model=ModelConfig(n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_expert=32, context_length=32),
        steps=20,
        batch_size=4,
        warmup_steps=5,
        log_every=5,
        evaluate_every=20,
        checkpoint_every=10,
    ),
}


def preset(name: str) -> TrainConfig:
    """Look up a preset by name.

    Raises
    ------
    ValueError
        If there is none of that name; the message suggests the nearest.

    Examples
    --------
    >>> preset("cpu-tinny")
    Traceback (most recent call last):
        ...
    ValueError: unknown preset 'cpu-tinny': did you mean 'cpu-tiny'?
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: {nearest(name, list(PRESETS))}")
    return PRESETS[name]
