"""The commands as they are typed: training whose rank is killed, a resume into another layout, ep-check."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from together import quiet_environment, torchrun
from torch import distributed

from moe_lessons.commands.cli import main
from moe_lessons.data import load_corpus
from moe_lessons.parallel import launch
from moe_lessons.training.checkpoint import read_state
from moe_lessons.training.rundir import list_checkpoints

pytestmark = pytest.mark.skipif(
    not distributed.is_available() or not distributed.is_gloo_available(), reason="torch without gloo"
)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_killed_rank_ends_all_and_one_process_goes_on(tmp_path):
    (tmp_path / "text").write_bytes(bytes(load_corpus("language-reference").train_N[:40_000].tolist()))
    out = tmp_path / "run"
    options = ("--preset", "smoke", "--steps", 100_000, "--checkpoint-every", 5, "--evaluate-every", 100_000)
    where = ("--corpus", tmp_path / "text", "--out", out, "--parallel", "ep")
    running = torchrun(2, "-m", "moe_lessons", "train", *options, *where)
    try:
        deadline = time.monotonic() + 600
        while not (out.exists() and len(list_checkpoints(out)) == 2):
            assert time.monotonic() < deadline
            assert running.poll() is None
            time.sleep(0.05)
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        (second,) = (
            int(pid) for pid in children if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes()
        )
        os.kill(second, signal.SIGKILL)
        killed_at = time.monotonic()
        _, said = running.communicate(timeout=300)
    finally:
        running.kill()
    assert running.returncode != 0
    assert time.monotonic() - killed_at < 120
    lines = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(lines) <= 1  # the first rank's; torchrun may end it before it has spoken
    for line in lines:
        assert line.startswith(("error: rank 0 of 2 stopped: it lost another", "error: stopped at step"))
    kept = list_checkpoints(out)
    step = [read_state(path)["step"] for path in kept][-1]  # every file's checksum is right
    again = [sys.executable, "-m", "moe_lessons", "train", "--resume", kept[-1], "--out", tmp_path / "on"]
    more = ["--steps", step + 3, "--extend", "floor", "--log-every", 1]
    done = subprocess.run(
        list(map(str, [*again, *more])), env=quiet_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list_checkpoints(tmp_path / "on")[-1].name == f"step-{step + 3:06d}"


FOUND = {
    "ranks": 2,
    "device": "cpu, gloo",
    "layouts": [
        {
            "replicas": 1,
            "ep": 2,
            "checks": [
                {"what": "float32, even", "error": 2e-7, "limit": 1e-5, "ok": True},
                {"what": "a planted mistake is found", "error": 0.9, "limit": 0.1, "ok": True},
            ],
            "network": {"latency_us": 120.0, "gigabytes_per_s": 2.0, "worst": 0.2},
        }
    ],
}


def test_ep_check_says_what_was_compared(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(launch, "run_ranks", lambda *_, **__: FOUND)
    done = CliRunner().invoke(main, ["ep-check"])
    assert "ok       2.0e-07 < 1e-05  float32, even" in done.output
    assert "exchange: 120 us + bytes / 2.00 GB/s" in done.output
    assert done.output.endswith("all is well\n")
    assert done.exit_code == 0


def test_ep_check_fails_where_a_check_does(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    wrong = {**FOUND, "layouts": [{**FOUND["layouts"][0], "network": {}}]}
    wrong["layouts"][0]["checks"] = [{"what": "float32, even", "error": 0.5, "limit": 1e-5, "ok": False}]
    monkeypatch.setattr(launch, "run_ranks", lambda *_, **__: wrong)
    done = CliRunner().invoke(main, ["ep-check"])
    assert "FAILED   5.0e-01 < 1e-05  float32, even" in done.output
    assert "1 checks failed" in done.output
    assert done.exit_code == 1


@pytest.mark.slow
def test_ep_check_on_four_processes(monkeypatch):
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    done = subprocess.run(
        [sys.executable, "-m", "moe_lessons", "ep-check", "--nproc", "4"],
        env=quiet_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 x 4 (replicas" in done.stdout
    assert "2 x 2 (replicas" in done.stdout
    assert "FAILED" not in done.stdout
