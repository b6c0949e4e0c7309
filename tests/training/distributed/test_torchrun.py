"""The command as it is typed."""

import signal
import time

import pytest
from together import torchrun
from torch import distributed

from moe_lessons.config import TrainConfig
from moe_lessons.data import load_corpus
from moe_lessons.training import train
from moe_lessons.training.checkpoint import read_state
from moe_lessons.training.runlog import read_log

pytestmark = pytest.mark.skipif(
    not distributed.is_available() or not distributed.is_gloo_available(), reason="torch without gloo"
)


class Stop(Exception):
    pass


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_sigterm_saves_the_step_that_one_process_then_goes_on_from(tmp_path):
    (tmp_path / "text").write_bytes(bytes(load_corpus("language-reference").train_N[:40_000].tolist()))
    out, steps = tmp_path / "run", 100_000
    options = ("--preset", "smoke", "--steps", steps, "--corpus", tmp_path / "text", "--out", out)
    running = torchrun(2, "-m", "moe_lessons", "train", *options)
    try:
        wait_for(lambda: (out / "log.jsonl").is_file() and len(read_log(out / "log.jsonl")) > 2, seconds=900)
        running.send_signal(signal.SIGTERM)
        printed, said = running.communicate(timeout=900)
    finally:
        running.kill()
    assert running.returncode != 0
    (line,) = (line for line in said.splitlines() if line.startswith("error:"))
    done = int(line.split()[4])
    checkpoint = out / f"step-{done:06d}"
    assert line.startswith(
        f"error: stopped at step {done} of {steps}; last checkpoint: {checkpoint}; go on with"
    )
    assert printed.count("step 5/") == 1  # only the first rank speaks

    seen = []

    def stop(record):
        seen.append(record.step)
        raise Stop

    config = TrainConfig.from_dict(read_state(checkpoint)["config"])
    with pytest.warns(UserWarning, match="ranks: 2 -> 1"), pytest.raises(Stop):
        train(config, resume=checkpoint, out=tmp_path / "alone", on_step=stop)
    assert done < seen[0] <= done + config.log_every
