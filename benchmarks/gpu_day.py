"""A day with a GPU: everything that only a GPU can show, in order of worth, within the minutes given.

    python benchmarks/gpu_day.py [--device cuda] [--minutes 13] [--out DIR] [--only STAGE]... [--again]

Stages (`benchmarks/gpu_stages/`): `right` whether kernels and layer are right, `tiles` which tiles are fast,
`layer` the layer's benchmark, `training` the preset gpu-small, `lessons` lessons 08 to 10. Each runs in a
process of its own with a time limit of its own and writes DIR/STAGE.json row by row; `DIR/log.txt` has what
they said. It may be cut off at any moment and started again: rows of the same code on the same machine are
not measured twice, others are put aside. `--device cpu` is a dry run: kernels in Triton's interpreter, tiny
sizes, and nothing that counts as a measurement.

Exit codes: 0 all went well, as far as the minutes reached; 1 a check failed, a stage crashed or had to be
stopped; 2 nothing could begin.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
from gpu_stages import machine, process, reuse
from gpu_stages.stage import read, write

STAGES = ("right", "tiles", "layer", "training", "lessons")
ROOT = Path(__file__).resolve().parents[1]
RESULTS = {"cuda": ROOT / "benchmarks" / "results" / "gpu_day", "cpu": ROOT / "build" / "gpu_day_dry"}
LEAST_S = {"cuda": 20.0, "cpu": 120.0}  # a share is no smaller, as long as so much is left
BEGIN_S = 5.0  # with less, nothing is begun
STARTS = 3  # a stage that crashed after new rows goes on where it was, in a fresh process


class Ended(NamedTuple):
    """How a stage went: `how` is "done", "not begun: ...", "stopped ..." or "failed: ..."."""

    stage: str
    how: str
    seconds: float = 0.0
    rows: int = 0
    failed: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """Whether it ended by itself and no check failed."""
        return not self.failed and self.how.startswith(("done", "not begun"))


def share_out(
    weights: Mapping[str, float],
    seconds: float,
    start: Callable[[str, float], Ended],
    *,
    least_s: float = LEAST_S["cuda"],
    clock: Callable[[], float] = time.monotonic,
) -> list[Ended]:
    """Start one stage after the other; each gets its share of what is left, so what one spares others get."""
    end, ended = clock() + seconds, []
    waiting = list(weights)
    while waiting:
        left = end - clock()
        share = left * weights[waiting[0]] / sum(weights[name] for name in waiting)
        name = waiting.pop(0)
        if left < BEGIN_S:
            ended.append(Ended(name, "not begun: no time was left"))
        else:
            ended.append(start(name, min(left, max(share, least_s))))
    return ended


def run_stage(
    name: str,
    limit_s: float,
    out: Path,
    device: str,
    about: dict[str, Any],
    *,
    again: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Ended:
    """Run a stage's process to its end or its limit, and write into its file how it ended."""
    file, log = out / f"{name}.json", out / "log.txt"
    reuse.prepare(file, {**about, "stage": name, "code": reuse.code(ROOT, name)}, again=again)
    began, limit = clock(), f"its limit of {limit_s:.0f} s"
    for _ in range(STARTS):
        before, left = len(read(file)["rows"]), limit_s - (clock() - began)
        command = [sys.executable, "-m", "gpu_stages", name, device, f"{left:.1f}", str(file)]
        how = process.run(command, left, log, environment(device), title=name)
        if how == process.STOPPED:
            how = f"stopped at {limit}"
        new = len(read(file)["rows"]) > before
        if not (how.startswith("failed") and new and limit_s - (clock() - began) > BEGIN_S):
            break
    seconds, stored = clock() - began, read(file)
    runs = [*stored.get("runs", []), {"how": how, "seconds": round(seconds, 1), "limit_s": round(limit_s, 1)}]
    write(file, {**stored, "runs": runs})
    failed = tuple(title(row) for row in stored["rows"] if row.get("ok") is False)
    return Ended(name, how, seconds, len(stored["rows"]), failed)


def environment(device: str) -> dict[str, str]:
    """Return a stage's environment: the package is found whether or not it is installed."""
    paths = [str(ROOT), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        **hidden,
    }


def title(row: dict[str, Any]) -> str:
    """Say in a line which check a row is of, and why it failed."""
    key = next(
        (str(row[name]) for name in ("check", "name", "lesson", "shape", "kernel", "run") if name in row), "?"
    )
    why = str(row.get("why", row.get("error", "")))
    return f"{key}: {why.splitlines()[0][:200]}" if why else key


def table(ended: list[Ended]) -> str:
    """Lay out what happened: stage, rows, failed checks, seconds, how it ended; then each failed check."""
    lines = [("stage", "rows", "failed", "seconds", "how it ended")]
    lines += [(e.stage, str(e.rows), str(len(e.failed)), f"{e.seconds:.0f}", e.how) for e in ended]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    failed = [f"  FAILED {e.stage}: {one}" for e in ended for one in e.failed]
    return "\n".join([*text, *failed])


@click.command()
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=13.0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the results.")
@click.option("--only", type=click.Choice(STAGES), multiple=True, help="Only this stage; may be repeated.")
@click.option("--again", is_flag=True, help="Measure anew what is stored already; that is put aside.")
def main(device: str, minutes: float, out: Path | None, only: tuple[str, ...], again: bool) -> None:
    """Do everything that only a GPU can show, in order of worth, within the minutes given."""
    end = time.monotonic() + 60 * minutes
    out = (out or RESULTS[device]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    try:
        about = machine.ask(device, environment(device))
    except machine.NotHere as reason:
        click.echo(f"gpu_day: {reason}", err=True)
        sys.exit(2)
    click.echo(f"{about['device']}; {minutes:g} minutes; results in {out}")
    ended: list[Ended] = []

    def start(name: str, limit_s: float) -> Ended:
        click.echo(f"{name}: at most {limit_s:.0f} s ...")
        ended.append(Ended(name, "interrupted"))  # what it is, until it ends
        ended[-1] = one = run_stage(name, limit_s, out, device, about, again=again)
        click.echo(f"{name}: {one.how}, {one.rows} rows, {one.seconds:.0f} s")
        return one

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = [name for name in STAGES if not only or name in only]
    weights = {name: 1.0 if device == "cpu" else process.limit_of(name) for name in chosen}
    try:
        ended = share_out(weights, end - time.monotonic(), start, least_s=LEAST_S[device])
    finally:
        click.echo("\n" + table(ended))
    sys.exit(0 if all(one.well for one in ended) else 1)


if __name__ == "__main__":
    main()
