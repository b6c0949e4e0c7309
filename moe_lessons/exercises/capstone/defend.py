"""Exercise 17.defend: which resource binds, told by what twice as much of it would buy."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from moe_lessons.exercises.capstone.buying import RESOURCES, draw, gains_of
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Answer = tuple[str, float]


def reference(*given: Any) -> Answer:
    """The best loss with twice as much of each, chosen anew; the largest fall."""
    return _largest(gains_of(*given))


def _largest(gains: dict[str, float]) -> Answer:
    name = max(gains, key=gains.__getitem__)
    return name, gains[name]


def _but(**how: Any) -> Callable[..., Answer]:
    return lambda *given: _largest(gains_of(*given, **how))


def _best_now(given: Sequence[Any]) -> int:
    loss_N, _, _, memory_N, seconds_N, memory, seconds = given
    fits_N = (memory_N <= memory) & (seconds_N <= seconds)
    return int(torch.where(fits_N, loss_N, torch.inf).argmin())


def _kept(*given: Any) -> Answer:
    at = _best_now(given)
    fell = {name: float(given[0][at] - given[i][at]) for i, name in enumerate(RESOURCES[:2], 1)}
    return _largest({**fell, "memory": 0.0, "time": 0.0})


def _kept_for_training(*given: Any) -> Answer:
    """Memory and time with a new choice, compute and text with the old design."""
    at = _best_now(given)
    fell = {name: float(given[0][at] - given[i][at]) for i, name in enumerate(RESOURCES[:2], 1)}
    return _largest({**gains_of(*given), **fell})


def _falls(pick: Callable[[torch.Tensor], torch.Tensor], *, limits: bool = True) -> Callable[..., Answer]:
    """Compute and text: one of the falls of single designs, whichever of them is the best by then."""

    def wrong(*given: Any) -> Answer:
        loss_N, _, _, memory_N, seconds_N, memory, seconds = given
        fits_N = (memory_N <= memory) & (seconds_N <= seconds) | (not limits)
        fell = {name: float(pick((loss_N - given[i])[fits_N])) for i, name in enumerate(RESOURCES[:2], 1)}
        return _largest({**gains_of(*given), **fell})

    return wrong


def _training_without_limits(*given: Any) -> Answer:
    now = float(given[0][_best_now(given)])
    fell = {name: now - float(given[i].min()) for i, name in enumerate(RESOURCES[:2], 1)}
    return _largest({**gains_of(*given), **fell})


def _today_without_limits(*given: Any) -> Answer:
    name, gain = reference(*given)
    return name, gain - float(given[0][_best_now(given)] - given[0].min())


def _fullest(*given: Any) -> Answer:
    at, gains = _best_now(given), gains_of(*given)
    shares = {"memory": float(given[3][at]) / given[5], "time": float(given[4][at]) / given[6]}
    name = max(shares, key=shares.__getitem__)
    return name, gains[name]


def _smallest(*given: Any) -> Answer:
    gains = gains_of(*given)
    name = min(gains, key=gains.__getitem__)
    return name, gains[name]


def _always(resource: str) -> Callable[..., Answer]:
    return lambda *given: (resource, gains_of(*given)[resource])


def _number(change: Callable[[float, float], float]) -> Callable[..., Answer]:
    """The right resource, with another number beside it."""

    def wrong(*given: Any) -> Answer:
        name, gain = reference(*given)
        now = float(given[0][_best_now(given)])
        return name, change(gain, now)

    return wrong


def _known(case: Case, got: Outputs, want: Outputs) -> str | None:
    if got["resource"] not in RESOURCES:
        return f"resource is {got['resource']!r}; choose one of {', '.join(RESOURCES)}"
    return None


DEFEND = Exercise(
    id="17.defend",
    title="What would you buy?",
    task=(
        "N designs, and what the simulator says of each: `loss_N` as things are, `loss_compute_N` and "
        "`loss_text_N` with twice the compute or twice the text for training; `memory_N` bytes and "
        "`seconds_N` a step, of which `memory` and `seconds` are allowed. Somebody would pay for **twice as "
        "much of one resource**. Return which lowers the loss of the best design that fits most, choosing "
        "the design "
        'anew each time, `"compute"`, `"text"`, `"memory"` or `"time"`; and by how much the loss falls, in '
        "nats."
    ),
    entry="defend",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("resource", kind="text"), Output("gain", atol=1e-6, rtol=1e-3)),
    draw=draw,
    reference=reference,
    properties=(Property("one of the four resources", _known),),
    misconceptions=(
        Misconception(
            "design_kept",
            "The old design is kept. It cannot use more memory or time, so that neither seems worth "
            "anything: choose anew among all that fit then.",
            wrong=_kept,
            hint=1,
        ),
        Misconception(
            "kept_for_training",
            "With more compute or text today's design is kept. Another one that fits may be the best by "
            "then: choose anew for each of the four.",
            wrong=_kept_for_training,
            hint=1,
        ),
        Misconception(
            "fall_of_any",
            "With more compute or text it was asked how far *one* design's loss falls, whichever falls most. "
            "The largest falls are those of poor designs: compare the best loss of today with the best one "
            "of then.",
            wrong=_falls(torch.max),
            also=(_falls(torch.max, limits=False),),
            hint=3,
        ),
        Misconception(
            "fullest_bar",
            "The resource that is used up most is named. A design that leaves some room may be held back by "
            "the next larger one not fitting, and a full bar may cost nothing: compare what each would buy.",
            wrong=_fullest,
            hint=1,
        ),
        Misconception(
            "limits_ignored",
            "Designs that do not fit are in the comparison. The best of all is of no use where it does not "
            "run.",
            wrong=_but(look_at_memory=False, look_at_time=False),
            also=(_training_without_limits, _today_without_limits),
            hint=2,
        ),
        Misconception(
            "time_not_looked_at",
            "Only memory decides here what fits. A step has to be fast enough as well.",
            wrong=_but(look_at_time=False),
            hint=2,
        ),
        Misconception(
            "memory_not_looked_at",
            "Only time decides here what fits. A design has to be held as well.",
            wrong=_but(look_at_memory=False),
            hint=2,
        ),
        Misconception(
            "other_limit_dropped",
            "With more of one, the other limit was forgotten. Twice the memory makes no step faster.",
            wrong=_but(keep_other=False),
            hint=2,
        ),
        Misconception(
            "both_doubled",
            "Memory and time were doubled together. Only one of them is paid for.",
            wrong=_but(together=True),
            hint=2,
        ),
        Misconception(
            "ten_times",
            "Limits were raised by another factor than two.",
            wrong=_but(factor=10.0),
            also=(_but(factor=4.0), _but(factor=1.5)),
            hint=2,
        ),
        Misconception(
            "halved",
            "The limits were halved. What less of something costs is not what more of it buys.",
            wrong=_but(factor=0.5),
            hint=2,
        ),
        Misconception(
            "either_limit",
            "A design counts as fitting if it keeps *one* of the two limits. It has to keep both.",
            wrong=_but(either=True),
            hint=2,
        ),
        Misconception(
            "averaged",
            "The mean over the designs was compared. Nobody builds the average design: take the best one.",
            wrong=_but(best=lambda losses: float(losses.mean())),
            also=(_but(best=lambda losses: float(losses.median())), _falls(torch.mean), _falls(torch.median)),
            hint=3,
        ),
        Misconception(
            "least_of_all",
            "The resource that buys *least* is named.",
            wrong=_smallest,
            hint=3,
        ),
        Misconception(
            "always_compute",
            "Compute is named for every budget. Where there is little text, or little memory, it buys "
            "nothing.",
            wrong=_always("compute"),
            hint=1,
        ),
        Misconception(
            "always_memory",
            "Memory is named for every budget. It is what is complained about most; a design may be held "
            "back by something else.",
            wrong=_always("memory"),
            hint=1,
        ),
        Misconception(
            "loss_not_gain",
            "The loss that is reached is returned. Asked is by how much it falls.",
            wrong=_number(lambda gain, now: now - gain),
            hint=3,
        ),
        Misconception(
            "loss_of_today",
            "This is the loss without anything more. Asked is by how much it falls.",
            wrong=_number(lambda gain, now: now),
            hint=3,
        ),
        Misconception(
            "other_sign",
            "The fall has the other sign: a lower loss is a gain above 0.",
            wrong=_number(lambda gain, now: -gain),
            hint=3,
        ),
        Misconception(
            "relative_gain",
            "The fall was divided by the loss. Asked is the difference, in nats.",
            wrong=_number(lambda gain, now: gain / now),
            also=(
                _number(lambda gain, now: gain / (now - gain)),
                _number(lambda gain, now: 100 * gain / now),
            ),
            hint=3,
        ),
    ),
    hints=(
        "There are five situations: today, and twice as much of each of four. In each, which designs fit, "
        "and which of those is best?",
        "Compute and text change the losses and not what fits. Memory and time change what fits and not the "
        "losses; the other limit stays.",
        "`fits = (memory_N <= 2 * memory) & (seconds_N <= seconds)`, then `loss_N[fits].min()`.",
    ),
    notice=(
        "This is a shadow price: what a limit costs is seen when it moves and one chooses anew, never in a "
        "picture of how full the bars are."
    ),
)
