"""Taking turns: what slows the machine for a while slows everybody in the same round."""

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping

import torch


def take_turns(
    turns: Mapping[str, Callable[[int], None]],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    warm_up: int = 1,
    repeats: int = 1,
) -> dict[str, list[float]]:
    """Let everybody run once a round, in an order drawn each round, and return everybody's seconds.

    Parameters
    ----------
    turns : mapping
        Each is called with the number of the round, so that all can work on the same data.
    rounds : int
    clock : callable
        Returns seconds.
    warm_up : int
        Rounds before the first that counts, numbered from ``-warm_up``.
    repeats : int
        Calls in one turn; seconds are those of one call.

    Returns
    -------
    dict of list of float
        One number for each round.

    Examples
    --------
    >>> calls = []
    >>> seconds = take_turns({"a": calls.append, "b": calls.append}, rounds=2)
    >>> sorted(calls), len(seconds["a"])
    ([-1, -1, 0, 0, 1, 1], 2)
    """
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    order = list(turns)
    shuffle = random.Random(0).shuffle
    gc.collect()
    gc.disable()
    try:
        for number in range(-warm_up, rounds):
            shuffle(order)
            for name in order:
                _wait()
                begin = clock()
                for _ in range(repeats):
                    turns[name](number)
                _wait()
                if number >= 0:
                    seconds[name].append((clock() - begin) / repeats)
            gc.collect()
    finally:
        gc.enable()
    return seconds


def spread(samples: list[float], digits: int = 4) -> dict[str, float]:
    """Return median and quartiles.

    Examples
    --------
    >>> spread([4.0, 1.0, 3.0, 2.0, 5.0])
    {'median': 3.0, 'q1': 2.0, 'q3': 4.0}
    """
    first, middle, third = statistics.quantiles(samples, n=4, method="inclusive")
    return {"median": round(middle, digits), "q1": round(first, digits), "q3": round(third, digits)}


def ratios(mine: list[float], theirs: list[float]) -> dict[str, float]:
    """Divide round by round, and return median and quartiles.

    Examples
    --------
    >>> ratios([2.0, 40.0, 3.0], [1.0, 20.0, 3.0])
    {'median': 2.0, 'q1': 1.5, 'q3': 2.0}
    """
    return spread([a / b for a, b in zip(mine, theirs, strict=True)])


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
