"""Kills a training run again and again, resumes it, and compares what comes out with a run left alone.

    python tests/training/kill.py --kills 20 --preset cpu-tiny

Whatever follows --kills, --seed and --folder goes to `moe-lessons train`, in its own process each time. Half
of the kills (SIGKILL, which nobody can catch) come at a random moment of a random step, the other half while
a checkpoint is being written. Exit code 1 if one bit of the weights, of the optimizer's state or of the log's
losses differs.
"""

import argparse
import itertools
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from moe_lessons.training.checkpoint import list_checkpoints, read_state

PATIENCE_S = 900.0
FILES = ("model.safetensors", "optimizer.safetensors")


def command(options, *where):
    """Every step is logged, so that one can see from outside where the run is."""
    return [sys.executable, "-m", "moe_lessons", "train", *options, "--log-every", "1", *map(str, where)]


def last_step(folder):
    """Return the last step in the log, 0 before the first."""
    try:
        with (folder / "log.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 2**18))
            lines = file.read().split(b"\n")[:-1]  # what follows the last newline is unfinished
    except OSError:
        return 0
    return json.loads(lines[-1])["step"] if lines else 0


def is_writing(folder):
    return any(folder.glob(".unfinished-*"))


def kill_once(options, folder, target, while_writing, rng):
    """Start or resume the run, kill it at a moment after the target step, and say what was found.

    None if it ended before.
    """
    checkpoints = list_checkpoints(folder)
    where = ("--resume", folder) if checkpoints else ("--out", folder)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command(options, *where), stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < deadline:
            if last_step(folder) >= target and (is_writing(folder) or not while_writing):
                break
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.002 if while_writing else 0.01))  # a write is soon over
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            output.seek(0)
            if process.returncode:
                raise SystemExit(output.read().decode())
            return None
    return {
        "from": int(checkpoints[-1].name.removeprefix("step-")) if checkpoints else 0,
        "at": last_step(folder),
        "half a checkpoint": is_writing(folder),
    }


def losses(folder):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [(json.loads(line)["step"], json.loads(line)["train_bits_per_byte"]) for line in lines]


def differences(whole, killed):
    """Compare two finished runs byte for byte."""
    ours, theirs = list_checkpoints(whole)[-1], list_checkpoints(killed)[-1]
    found = [] if ours.name == theirs.name else [f"the last checkpoints, {ours.name} and {theirs.name}"]
    found += [name for name in FILES if (ours / name).read_bytes() != (theirs / name).read_bytes()]
    return found + (["the logged losses"] if losses(whole) != losses(killed) else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="a new one, that stays")
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        whole, killed = folder / "whole", folder / "killed"
        started = time.monotonic()
        subprocess.run(command(options, "--out", whole), check=True, stdout=subprocess.DEVNULL)
        print(f"left alone: {time.monotonic() - started:.0f} s", flush=True)
        state = read_state(list_checkpoints(whole)[-1])
        steps, interval = state["step"], state["config"]["checkpoint_every"]
        rng = random.Random(arguments.seed)
        # The last write to be interrupted begins an interval before the end, or it might be missed.
        targets = sorted(rng.randint(1, steps - interval - 1) for _ in range(arguments.kills))
        counts = {True: 0, False: 0}
        for target, while_writing in zip(targets, itertools.cycle((False, True)), strict=False):
            found = kill_once(options, killed, target, while_writing, rng)
            if found is None:
                raise SystemExit(f"the run ended before it could be killed after step {target}")
            counts[found["half a checkpoint"]] += 1
            print(f"killed: {found}", flush=True)
        where = ("--resume", killed) if list_checkpoints(killed) else ("--out", killed)
        subprocess.run(command(options, *where), check=True, stdout=subprocess.DEVNULL)
        different = differences(whole, killed)
    what = f"{sum(counts.values())} kills in {steps} steps, {counts[True]} with half a checkpoint on disk"
    print(f"{what}: different: {', '.join(different)}" if different else f"{what}: the same bit for bit")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
