"""Grade valid submissions again and again, each time with other inputs: everyone gets exactly their points.

``python tests/hostile/valid.py --runs 20`` grades solutions, two other right answers to every exercise, and
notebooks that are half done, in all lessons, and prints one line.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

_here = Path(__file__).parent
sys.path[:0] = [str(_here.parent / "grade"), str(_here.parent / "exercises")]

import classroom  # noqa: E402

VALID = ("ada", "bela", "cleo", "dara", "elif", "gus", "hana")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("-j", type=int, default=2, help="runs side by side")
    options = parser.parse_args()
    learners = {name: one for name, one in classroom.make_class().items() if name in VALID}
    wrong = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        classroom.write_class(folder / "class", learners)
        for seed in range(1, options.runs + 1):
            out = folder / f"out-{seed}"
            command = [sys.executable, "-m", "moe_lessons", "grade", str(folder / "class"), "--out", str(out)]
            command += ["--seed", str(seed), "-j", str(options.j)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for one in json.loads((out / "results.json").read_text())["learners"]:
                passed = {e["exercise"] for e in one["exercises"] if e["status"] == "passed"}
                if passed != learners[one["learner"]].passes:
                    wrong.append(f"seed {seed}, {one['learner']}: {passed ^ learners[one['learner']].passes}")
            print(f"seed {seed}: {len(wrong)} wrong so far", flush=True)
    answers = sum(len(one.passes) for one in learners.values())
    print("\n".join(wrong))
    print(
        f"{options.runs} runs of {len(learners)} valid submissions over {len(classroom.LESSONS)} lessons, "
        f"{answers} right answers each: {len(wrong)} grades other than earned"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
