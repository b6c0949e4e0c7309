"""Run answers in grading notebooks, several side by side; one that breaks costs no one but itself."""

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from moe_lessons.grade import guard, nbval_run, notebook
from moe_lessons.grade.nbval_run import Key
from moe_lessons.grade.notebook import Answer
from moe_lessons.grade.records import Isolation, Limits, Verdict

BATCH = 25
"""Learners that share one grading notebook, at most; their answers do not share a process.

Each notebook starts a kernel and a warm parent, and asks references and mistakes for their replies: some ten
seconds of the processor. A run that is stopped keeps what these have judged; one that is killed loses it.
"""

Progress = Callable[[int, int], None]
"""Told how many of how many answers are judged."""
Tick = Callable[[int], bool]
"""Told how many answers of a notebook are judged; false where the run is to stop, with what it has."""


def run(
    answers: list[Answer], seed: int, limits: Limits, isolation: Isolation, tick: Tick
) -> dict[Key, Verdict]:
    """Run one grading notebook with these answers."""
    with guard.workplace() as folder:
        path = notebook.write(folder, answers, seed, limits, sandboxed=isolation.sandboxed)
        return nbval_run.run(path, limits, tick)


def judge(
    answers: list[list[Answer]],
    run: Callable[[list[Answer], Tick], dict[Key, Verdict]],
    keep: Callable[[Sequence[Answer], dict[Key, Verdict]], None],
    progress: Progress,
    jobs: int,
    batch: int,
) -> dict[Key, Verdict]:
    """Verdicts on everyone's answers. What a shared run leaves open is run again, each learner alone.

    Parameters
    ----------
    answers : list of lists of Answer
        Those of each learner.
    run : callable
        Runs some answers in one grading notebook.
    keep : callable
        Told what came of a notebook as soon as it is through.
    progress : callable
    jobs : int
        Notebooks side by side.
    batch : int
        Learners in a notebook, at most.
    """
    total = sum(map(len, answers))
    verdicts: dict[Key, Verdict] = {}
    counts: dict[int, int] = {}
    lock, stop = threading.Lock(), threading.Event()

    def one(number: int, group: list[Answer]) -> None:
        def tick(judged: int) -> bool:
            with lock:
                counts[number] = judged
                progress(min(sum(counts.values()), total), total)
            return not stop.is_set()  # another part of the run has failed, or the user has stopped it

        found = run(group, tick)
        with lock:
            verdicts.update(found)
            keep(group, found)

    def side_by_side(first: int, groups: list[list[Answer]]) -> None:
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            try:
                for each in [pool.submit(one, first + n, group) for n, group in enumerate(groups)]:
                    each.result()
            except BaseException:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    # Everyone is busy to the end, and a learner's answers stay together.
    rounds = math.ceil(len(answers) / (jobs * batch))
    size = max(1, math.ceil(len(answers) / (jobs * max(1, rounds))))
    grouped = [answers[i : i + size] for i in range(0, len(answers), size)]
    side_by_side(0, [[answer for mine in group for answer in mine] for group in grouped])
    again = [[a for a in mine if (a.learner, a.exercise) not in verdicts] for mine in answers]
    side_by_side(len(grouped), [mine for mine in again if mine])
    return verdicts
