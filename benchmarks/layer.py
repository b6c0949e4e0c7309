"""Our MoE layer against its peers and against dense products of the same work.

    python benchmarks/layer.py [--device cpu] [--quick] [--json] ...

The same as `moe-lessons bench`; a full run without --out writes `moe_lessons/results/layer_DEVICE.json`,
which the lessons show.
"""

import sys
from pathlib import Path

from moe_lessons.commands.bench import bench
from moe_lessons.commands.cli import main as command_line
from moe_lessons.device import pick_device

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results"
PARTIAL = {
    "--quick",
    "--shapes",
    "--dtype",
    "--rounds",
    "--threads",
    "--clock",
    "--out",
    "--list",
    "--help",
    "-h",
}


def main(arguments: list[str]) -> None:
    given = {argument.partition("=")[0] for argument in arguments}
    if not given & PARTIAL:
        parsed = bench.make_context("bench", list(arguments)).params
        device = pick_device(parsed["device"]).type
        arguments = [*arguments, "--out", str(RESULTS / f"layer_{device}.json")]
    command_line(["bench", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
