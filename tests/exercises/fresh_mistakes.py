"""How many fresh wrong answers get a right name: an estimate of what learners will meet.

    python tests/exercises/fresh_mistakes.py [--seeds 3]

Prints what is not named rightly, and the figures; exits with 1 if an answer passes or gets another's name.
"""

import sys
from collections import Counter
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent))


@click.command()
@click.option("--seeds", default=1, show_default=True)
def main(seeds: int) -> None:
    """Judge all fresh answers."""
    from fresh import FRESH

    from moe_lessons.exercises import registry
    from moe_lessons.exercises.judge import judge, local

    found: Counter[str] = Counter()
    for id, answers in FRESH.items():
        exercise = registry.exercise(id)
        for what, answer, right in answers:
            for seed in range(seeds):
                report = judge(exercise, local(answer), seed=seed)
                name = report.misconception.id if report.misconception else ""
                if report.status == "passed":
                    verdict = "passed"
                elif name:
                    verdict = "named rightly" if name in right else "misnamed"
                else:
                    verdict = "something said" if getattr(report, "observation", "") else "nothing said"
                found[verdict] += 1
                if verdict != "named rightly":
                    said = getattr(report, "observation", "")
                    print(f"{id} ({what}), seed {seed}: {verdict} {name} {said}")
    print(f"{found.total()} verdicts: {dict(found)}")
    sys.exit(1 if found["passed"] or found["misnamed"] else 0)


if __name__ == "__main__":
    main()
