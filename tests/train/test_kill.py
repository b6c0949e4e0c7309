"""The short form of kill.py: one run, killed three times, in fp16 with micro-batches."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill.py")
OPTIONS = "--kills 3 --preset smoke --checkpoint-every 3 --evaluate-every 1000 --precision fp16"
CUT = "--accumulation-steps 2 --balancing-scope global_batch"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_run_ends_as_if_it_had_been_left_alone():
    command = [sys.executable, str(SCRIPT), *OPTIONS.split(), *CUT.split()]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("killed: ") == 3
    assert "3 kills in 20 steps" in done.stdout
    assert done.stdout.endswith("the same bit for bit\n")


def test_a_difference_would_be_seen(tmp_path):
    """Another seed: the comparison itself must be able to fail."""
    code = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
from pathlib import Path
from kill import differences
from moe_lessons.config import preset
from moe_lessons.train import train
for seed in (0, 1):
    train(preset("smoke").override(steps=2, seed=seed), out=f"{tmp_path}/{{seed}}")
one, other = Path("{tmp_path}/0"), Path("{tmp_path}/1")
print(differences(one, one), differences(one, other))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = "['model.safetensors', 'optimizer.safetensors', 'the logged losses']"
    assert done.stdout.strip() == f"[] {found}"
