"""Answers to 17.defend: the right one, and what comes of each mistake."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from moe_lessons.exercises.capstone.buying import RESOURCES, gains_of

Answer = tuple[str, float]


def reference(*given: Any) -> Answer:
    """The best loss with twice as much of each, chosen anew; the largest fall."""
    return largest(gains_of(*given))


def largest(gains: dict[str, float]) -> Answer:
    """The resource that buys most."""
    name = max(gains, key=gains.__getitem__)
    return name, gains[name]


def but(**how: Any) -> Callable[..., Answer]:
    """The answer with something changed in `gains_of`."""
    return lambda *given: largest(gains_of(*given, **how))


def fits_now(given: Sequence[Any]) -> Tensor:
    """Which designs fit today, bool [N]."""
    _, _, _, memory_N, seconds_N, memory, seconds = given
    return (memory_N <= memory) & (seconds_N <= seconds)


def best_now(given: Sequence[Any]) -> int:
    """The place of today's design."""
    return int(torch.where(fits_now(given), given[0], torch.inf).argmin())


def falls_of(at: int, given: Sequence[Any], now: float) -> dict[str, float]:
    """Compute and text: by how much one design's loss is then below that of now."""
    return {name: now - float(given[i][at]) for i, name in enumerate(RESOURCES[:2], 1)}


def kept(*given: Any) -> Answer:
    """The old design with all four."""
    at = best_now(given)
    return largest({**falls_of(at, given, float(given[0][at])), "memory": 0.0, "time": 0.0})


def kept_for_training(*given: Any) -> Answer:
    """Memory and time with a new choice, compute and text with the old design."""
    at = best_now(given)
    return largest({**gains_of(*given), **falls_of(at, given, float(given[0][at]))})


def falls(pick: Callable[[torch.Tensor], torch.Tensor], *, limits: bool = True) -> Callable[..., Answer]:
    """Compute and text: of the falls of single designs the largest, say, for the fall of the best loss."""

    def wrong(*given: Any) -> Answer:
        fits_N = fits_now(given) | (not limits)
        fell = {name: float(pick((given[0] - given[i])[fits_N])) for i, name in enumerate(RESOURCES[:2], 1)}
        return largest({**gains_of(*given), **fell})

    return wrong


def training_without_limits(*given: Any) -> Answer:
    """With compute or text, the best of all designs."""
    now = float(given[0][best_now(given)])
    fell = {name: now - float(given[i].min()) for i, name in enumerate(RESOURCES[:2], 1)}
    return largest({**gains_of(*given), **fell})


def today_without_limits(*given: Any) -> Answer:
    """Today's loss is that of the best of all designs."""
    name, gain = reference(*given)
    return name, gain - float(given[0][best_now(given)] - given[0].min())


def fullest(*given: Any) -> Answer:
    """The resource that is used up most."""
    at, gains = best_now(given), gains_of(*given)
    shares = {"memory": float(given[3][at]) / given[5], "time": float(given[4][at]) / given[6]}
    name = max(shares, key=shares.__getitem__)
    return name, gains[name]


def smallest(*given: Any) -> Answer:
    """The resource that buys least."""
    gains = gains_of(*given)
    name = min(gains, key=gains.__getitem__)
    return name, gains[name]


def always(resource: str) -> Callable[..., Answer]:
    """One resource for every budget."""
    return lambda *given: (resource, gains_of(*given)[resource])


def number(change: Callable[[float, float], float]) -> Callable[..., Answer]:
    """The right resource, with another number beside it."""

    def wrong(*given: Any) -> Answer:
        name, gain = reference(*given)
        now = float(given[0][best_now(given)])
        return name, change(gain, now)

    return wrong


def smallest_of_other_sign(*given: Any) -> Answer:
    """The differences the other way round, and the largest of them: whose loss falls least."""
    name, gain = smallest(*given)
    return name, -gain


def misplaced(losses_N: Tensor, fits_N: Tensor) -> float:
    """The place of the lowest among those that fit, looked up among all."""
    return float(losses_N[int(losses_N[fits_N].argmin())])


def misplaced_then(*given: Any) -> Answer:
    """Today's loss is right, those of then are misplaced."""
    loss_N, fits_N = given[0], fits_now(given)
    shift = float(loss_N[fits_N].min()) - misplaced(loss_N, fits_N)
    off = gains_of(*given, best=misplaced)
    return largest({name: fall + shift for name, fall in off.items()})


def misplaced_today(*, anew: bool, right_now: bool) -> Callable[..., Answer]:
    """Today's design at its place among those that fit: kept for compute and text, or for all four."""

    def wrong(*given: Any) -> Answer:
        loss_N, fits_N = given[0], fits_now(given)
        at, gains = int(loss_N[fits_N].argmin()), gains_of(*given)
        now = float(loss_N[fits_N].min() if right_now else loss_N[at])
        shift = now - float(loss_N[fits_N].min())
        chosen = {name: gains[name] + shift if anew else 0.0 for name in ("memory", "time")}
        return largest({**falls_of(at, given, now), **chosen})

    return wrong


def constant(resource: str, *, today: bool = False) -> Callable[..., Answer]:
    """A resource and 0, or the whole loss of today: what a loss of 0 for all that does not fit leads to."""
    return lambda *given: (resource, float(given[0][best_now(given)]) if today else 0.0)


def exchanged(one: str, other: str) -> Callable[..., Answer]:
    """The right number, with two resources in each other's place."""
    instead = {one: other, other: one}

    def wrong(*given: Any) -> Answer:
        name, gain = reference(*given)
        return instead.get(name, name), gain

    return wrong


def backwards(*given: Any) -> Answer:
    """The highest loss of then, taken from today's lowest: how much is lost at most."""
    loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds = given
    small_N, fast_N = memory_N <= memory, seconds_N <= seconds
    now = float(loss_N[small_N & fast_N].min())
    then = {
        "compute": loss_compute_N[small_N & fast_N],
        "text": loss_text_N[small_N & fast_N],
        "memory": loss_N[(memory_N <= 2 * memory) & fast_N],
        "time": loss_N[small_N & (seconds_N <= 2 * seconds)],
    }
    return largest({name: now - float(losses.max()) for name, losses in then.items()})


def rounded(digits: int) -> Callable[..., Answer]:
    """The right resource, and its fall to a few digits."""
    return number(lambda gain, now: round(gain, digits))


def all_doubled(*given: Any) -> Answer:
    """Memory and time are doubled for compute and text as well."""
    loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds = given
    fits_N = (memory_N <= 2 * memory) & (seconds_N <= 2 * seconds)
    now = float(loss_N[best_now(given)])
    columns = (loss_compute_N, loss_text_N, loss_N, loss_N)
    return largest({name: now - float(z[fits_N].min()) for name, z in zip(RESOURCES, columns, strict=True)})
