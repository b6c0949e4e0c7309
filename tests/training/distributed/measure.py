"""Compares the loss curves of several processes with that of one, under torchrun.

    python tests/training/distributed/measure.py       2 and 4 processes, all layouts, 50 steps of smoke
    python tests/training/distributed/measure.py --preset cpu-tiny

Prints one line for each, with the largest difference of any step's loss (nats per byte), and the same with
loads counted on each rank alone, which must differ. Exit code 1 if the first is 1e-5 or more, or the second
is not ten times as much. Not part of `make test`, which compares two processes only.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from together import apart, curve, torchrun

from moe_lessons.config import PRESETS, TrainConfig, preset

TOLERANCE = 1e-5


def several(config: TrainConfig, n_ranks: int, folder: Path) -> list[list[float]]:
    """The curve that the first of several processes records."""
    asked, found = folder / "config.json", folder / "curve.json"
    asked.write_text(json.dumps(config.to_dict()), encoding="utf-8")
    running = torchrun(n_ranks, __file__, "--as-rank", asked, found)
    said = running.communicate(timeout=1800)
    if running.returncode:
        sys.exit("\n".join(said))
    return json.loads(found.read_text(encoding="utf-8"))


def as_rank(asked: str, found: str) -> None:
    steps = curve(TrainConfig.from_dict(json.loads(Path(asked).read_text(encoding="utf-8"))))
    if os.environ["RANK"] == "0":
        Path(found).write_text(json.dumps(steps), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="smoke", choices=PRESETS)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--parallel", nargs="+", default=["ddp", "fsdp", "ep", "ep_fsdp"])
    parser.add_argument("--as-rank", nargs=2, metavar=("CONFIG", "CURVE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_rank:
        as_rank(*options.as_rank)
        return 0
    # The learning rate of the preset's own first steps, without its many steps.
    config = preset(options.preset).override(steps=options.steps, log_every=1, evaluate_every=10**6)
    alone, failed = curve(config), 0
    print(f"{options.preset}, {options.steps} steps; largest difference from one process, nats per byte")
    with tempfile.TemporaryDirectory() as folder:
        for n_ranks in options.ranks:
            for parallel in options.parallel:
                ours = config.override(parallel=parallel)
                same = apart(alone, several(ours, n_ranks, Path(folder)))
                other = apart(
                    alone, several(ours.override(balancing_scope="micro_batch"), n_ranks, Path(folder))
                )
                failed += not (same < TOLERANCE and other > 10 * TOLERANCE)
                print(f"{n_ranks} x {parallel}: global_batch {same:.2g}, micro_batch {other:.2g}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
