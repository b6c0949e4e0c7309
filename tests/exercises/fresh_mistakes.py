"""How many fresh wrong answers get a right name: an estimate of what learners will meet.

    python tests/exercises/fresh_mistakes.py [--set second] [--seeds 3] [--only 05] [--kernels]

Prints what is not named rightly, and the figures by lesson; exits with 1 if an answer passes or gets
another's name. `--kernels` takes lesson 09's exercises, in Triton's interpreter, instead.
"""

import os
import sys
from collections import Counter
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent))
import fresh

VERDICTS = ("named rightly", "something said", "nothing said", "misnamed", "passed")


@click.command()
@click.option("--set", "sets", type=click.Choice(fresh.SETS), multiple=True, help="all sets if not given")
@click.option("--seeds", default=1, show_default=True)
@click.option("--only", default="", help="exercises whose id starts so, as in many_seeds.py")
@click.option("--kernels", is_flag=True, help="Lesson 09's kernel exercises and no others.")
def main(sets: tuple[str, ...], seeds: int, only: str, kernels: bool) -> None:
    """Judge all fresh answers."""
    if kernels:
        os.environ["TRITON_INTERPRET"] = "1"  # Triton asks once, when it is imported
    from moe_lessons.exercises import registry
    from moe_lessons.exercises.judge import judge, local

    wrong = 0
    for name in sets or fresh.SETS:
        found: dict[str, Counter[str]] = {}
        for id, answers in fresh.fresh(name).items():
            exercise = registry.exercise(id)
            if not id.startswith(only) or (exercise.driver == "kernel") != kernels:
                continue
            for what, answer, right in answers:
                for seed in range(seeds):
                    report = judge(exercise, local(answer), seed=seed)
                    verdict, said = verdict_on(report, right)
                    found.setdefault(id[:2], Counter())[verdict] += 1
                    if verdict != "named rightly":
                        print(f"{name} {id} ({what}), seed {seed}: {verdict} {said}", flush=True)
        for lesson, counts in found.items():
            print(f"{name} set, lesson {lesson}: {figures(counts)}")
        if not found:
            continue  # none of its answers is to one of these exercises
        total = sum(found.values(), Counter())
        print(f"{name} set: {figures(total)}")
        wrong += total["passed"] + total["misnamed"]
    sys.exit(1 if wrong else 0)


def verdict_on(report, right: set[str]) -> tuple[str, str]:
    """Return one of VERDICTS and what the learner is told."""
    name = report.misconception.id if report.misconception else ""
    observation = getattr(report, "observation", "") or ""
    if report.status == "passed":
        return "passed", ""
    if name:
        return "named rightly" if name in right else "misnamed", name
    return ("something said", observation) if observation else ("nothing said", "")


def figures(counts: Counter[str]) -> str:
    """Return the counts of every verdict and their share."""
    total = counts.total()
    return f"{total} verdicts: " + ", ".join(f"{v} {counts[v]} ({counts[v] / total:.0%})" for v in VERDICTS)


if __name__ == "__main__":
    main()
