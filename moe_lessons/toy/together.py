"""Several toy runs at the same time: where each sits on one core, the others need not stand idle."""

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from moe_lessons.steps import each
from moe_lessons.toy.run import ToyRun

MOST = 4
"""More threads would wait for Python's lock: a step is a hundred small operations."""


def advance_all(runs: Collection[ToyRun], steps: int) -> None:
    """Train each of some runs for some more steps, a few at a time; none sees anything of another.

    What comes out is what one run after the other would give, to the bit: each has its own generator, and
    PyTorch lets go of Python's lock while it computes. For runs whose rules and losses are the package's own:
    a function that draws from the global generator, or prints, would be called in no particular order.

    Parameters
    ----------
    runs : collection of ToyRun
        Different ones.
    steps : int
        Steps for each.

    Examples
    --------
    >>> from moe_lessons.toy import TopK, Toy
    >>> runs = [ToyRun(Toy(n_seeds=2, mu=mu), TopK(1)) for mu in (0.0, 4.0)]
    >>> advance_all(runs, 3)
    >>> [len(run.error_NS) for run in runs]
    [3, 3]
    """
    with ThreadPoolExecutor(max(1, min(MOST, os.cpu_count() or 1))) as pool:
        training = [pool.submit(run.advance, steps) for run in runs]
        try:
            for run in each(training, "run"):
                run.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # those that have not begun
            raise
