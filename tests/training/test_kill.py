"""The short form of kill.py: one run, killed three times, in fp16 with micro-batches."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moe_lessons.config import preset
from moe_lessons.training import train

SCRIPT = Path(__file__).with_name("kill.py")
OPTIONS = "--kills 3 --preset smoke --checkpoint-every 3 --evaluate-every 1000 --precision fp16"
CUT = "--accumulation-steps 2 --balancing-scope global_batch"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_run_ends_as_if_it_had_been_left_alone():
    command = [sys.executable, str(SCRIPT), *OPTIONS.split(), *CUT.split()]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("killed: ") == 3
    assert "3 kills in 20 steps" in done.stdout
    assert done.stdout.endswith("the same bit for bit\n")


def test_a_difference_would_be_seen(corpus, tmp_path):
    """The comparison itself must be able to fail."""
    spec = importlib.util.spec_from_file_location("kill", SCRIPT)
    kill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kill)
    runs = [tmp_path / "0", tmp_path / "1"]
    for seed, out in enumerate(runs):
        train(preset("smoke").override(steps=2, seed=seed), corpus=corpus, out=out)
    assert kill.differences(runs[0], runs[0]) == []
    assert kill.differences(*runs) == ["model.safetensors", "optimizer.safetensors", "the logged losses"]
