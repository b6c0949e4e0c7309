"""The learning rate of each step, and what becomes of it when a run is made longer."""

import dataclasses
import math

from moe_lessons.config import TrainConfig

EXTENSIONS = ("floor", "rewarm")
# What a resume may change if it is asked to: how large the steps are, not what they are steps towards.
SCHEDULE_SETTINGS = (
    "learning_rate",
    "schedule",
    "min_learning_rate_ratio",
    "warmup_steps",
    "schedule_start",
    "schedule_steps",
    "weight_decay",
    "betas",
    "adam_eps",
    "grad_clip",
)


def learning_rate_at(config: TrainConfig, step: int) -> float:
    """Linear warm-up to the peak, then down to its `min_learning_rate_ratio`, and no further.

    Down by half a cosine, by a line, or with "constant" not at all. The schedule begins at
    `schedule_start`. If that is not 0, a run warms up again, and then from the floor rather than from 0.

    Parameters
    ----------
    config : TrainConfig
    step : int
        Counted from 0.

    References
    ----------
    Loshchilov and Hutter, "SGDR", arXiv:1608.03983, equation 5.

    Examples
    --------
    >>> config = TrainConfig(learning_rate=1.0, warmup_steps=2, steps=12, min_learning_rate_ratio=0.0)
    >>> [round(learning_rate_at(config, step), 2) for step in (0, 1, 2, 7, 12, 17)]
    [0.5, 1.0, 1.0, 0.5, 0.0, 0.0]
    """
    floor = config.min_learning_rate_ratio
    done, end = step - config.schedule_start, (config.schedule_steps or config.steps) - config.schedule_start
    if done < config.warmup_steps:
        if config.schedule_start == 0:
            return config.learning_rate * (step + 1) / config.warmup_steps
        risen = (done + 1) / config.warmup_steps
        return config.learning_rate * (floor + (1 - floor) * risen)
    progress = min(1.0, (done - config.warmup_steps) / max(1, end - config.warmup_steps))
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "linear":
        return config.learning_rate * (floor + (1 - floor) * (1 - progress))
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def extended(config: TrainConfig, step: int, steps: int, how: str = "floor") -> tuple[TrainConfig, str]:
    """Give a run another number of steps, and say what the learning rate does.

    Parameters
    ----------
    config : TrainConfig
        Of the run as it is.
    step : int
        Where it goes on.
    steps : int
        How many it is to have in all.
    how : str
        "floor": the schedule stays what it was, and at its end the rate stays where it ended. "rewarm": it
        begins again here, and ends with the new last step.

    Returns
    -------
    config : TrainConfig
    rule : str
        A line to print.

    Raises
    ------
    ValueError
        If so many steps are done already.

    Examples
    --------
    >>> longer, rule = extended(TrainConfig(steps=300), step=300, steps=500)
    >>> rule
    'steps 300 -> 500: the schedule ended with step 300, the learning rate stays at 0.00014'
    >>> learning_rate_at(longer, 250) == learning_rate_at(TrainConfig(steps=300), 250)
    True
    """
    if how not in EXTENSIONS:
        raise ValueError(f"extend={how!r}: choose one of {', '.join(EXTENSIONS)}")
    if steps <= step:
        raise ValueError(f"steps={steps}: the run is at step {step} already; choose more")
    old_end = config.schedule_steps or config.steps
    what = f"steps {config.steps} -> {steps}"
    if how == "rewarm":
        made = dataclasses.replace(config, steps=steps, schedule_start=step, schedule_steps=0)
        warm, peak = (
            min(config.warmup_steps, steps - step),
            learning_rate_at(made, step + config.warmup_steps),
        )
        last = learning_rate_at(made, steps - 1)
        return made, (
            f"{what}: the learning rate warms up again from step {step} for {warm} steps to {peak:.4g}, "
            f"then {config.schedule} down to {last:.4g} at step {steps}"
        )
    made = dataclasses.replace(config, steps=steps, schedule_steps=old_end)
    if steps <= old_end:
        return made, f"{what}: the schedule stays what it was, and would end with step {old_end}"
    last = learning_rate_at(made, old_end)
    verb = "ended" if step >= old_end else "ends"
    return made, f"{what}: the schedule {verb} with step {old_end}, the learning rate stays at {last:.4g}"
