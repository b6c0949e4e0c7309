"""How often chance spoils a verdict: every planted and every right answer, on many seeds.

    python tests/exercises/many_seeds.py [--seeds 200] [--first 0] [--only 06] [--kernels]

A class is graded on inputs that are drawn anew, so that three seeds in the test suite do not show a rare
draw on which a mistake passes, gets another's name, or a right answer fails. This prints each such draw,
and exits with 1 if there is one. `--kernels` takes lesson 09's exercises, in Triton's interpreter, instead.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent))


def verdicts(exercise, planted, seed: int) -> Iterator[str]:
    """What went wrong on one seed, a line each."""
    from moe_lessons.exercises.judge import judge, local

    answers = {"solution": exercise.reference}
    answers |= {f"right answer {i}": right for i, right in enumerate(planted.RIGHT[exercise.id])}
    for name, answer in answers.items():
        status = judge(exercise, local(answer), seed=seed).status
        if status != "passed":
            yield f"{name}: {status}"
    for mistake, answer in planted.WRONG[exercise.id].items():
        report = judge(exercise, local(answer), seed=seed)
        name = report.misconception.id if report.misconception else "no name"
        if report.status != "failed" or name != mistake.split(":")[0]:
            yield f"{mistake}: {report.status}, {name}"


@click.command()
@click.option("--seeds", default=200, show_default=True)
@click.option("--first", default=0, show_default=True)
@click.option("--only", default="", help="Exercises whose id starts so.")
@click.option("--kernels", is_flag=True, help="Lesson 09's kernel exercises and no others.")
def main(seeds: int, first: int, only: str, kernels: bool) -> None:
    """Judge all known answers on many seeds."""
    if kernels:
        os.environ["TRITON_INTERPRET"] = "1"
    from moe_lessons.exercises import registry

    found = Counter()
    judged = 0
    for exercise in (e for lesson in registry.lessons() for e in lesson.exercises):
        if not exercise.id.startswith(only) or (exercise.driver == "kernel") != kernels:
            continue
        planted = import_module(f"planted.{registry.module(exercise.lesson)}")
        judged += seeds * (1 + len(planted.RIGHT[exercise.id]) + len(planted.WRONG[exercise.id]))
        for seed in range(first, first + seeds):
            for line in verdicts(exercise, planted, seed):
                found[exercise.id] += 1
                print(f"{exercise.id} seed {seed}: {line}", flush=True)
    print(f"{judged} verdicts, {found.total()} not as they should be: {dict(found)}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
