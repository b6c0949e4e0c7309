"""The GPU day's runner: stages that raise, hang, die or are started again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import gpu_day
import pytest
from click.testing import CliRunner
from gpu_day import Ended, table
from gpu_stages import machine, process, reuse
from gpu_stages.stage import read

from moe_lessons.build import paths

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs process groups")


STAGES_ARE_IN = paths.ROOT / "benchmarks" / "gpu_stages"


TOYS = {
    "good": 'stage.add({"name": "one", "ok": True})',
    "raises": 'stage.have(name="first") or stage.add({"name": "first"})\nraise ValueError("no such luck")',
    "hangs": (
        "import subprocess, time\n"
        'child = subprocess.Popen(["sleep", "60"])\n'
        'stage.add({"name": "child", "pid": child.pid})\ntime.sleep(60)'
    ),
    "dies": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "wrong": 'stage.add({"check": "two is one", "ok": False, "why": "2 != 1"})',
    "poisoned": (
        "for number in range(3):\n"
        '    if stage.have(name=number):\n        continue\n    stage.add({"name": number})\n'
        '    if number < 2:\n        raise RuntimeError("CUDA error: an illegal memory access")'
    ),
}


@pytest.fixture
def day(tmp_path, monkeypatch):
    """Call the command with toy stages instead of its own; "unwritten" is one whose module is missing."""
    package = tmp_path / "toys" / "gpu_stages"
    package.mkdir(parents=True)
    for name in ("__init__", "__main__", "stage"):
        shutil.copy(paths.ROOT / "benchmarks" / "gpu_stages" / f"{name}.py", package)
    for name, body in TOYS.items():
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        (package / f"{name}.py").write_text(f"def run(stage):\n{lines}\n")
    about = {"device": "a toy", "dry": True, "torch": "1"}
    monkeypatch.setattr(
        gpu_day, "environment", lambda device: {**os.environ, "PYTHONPATH": str(package.parent)}
    )
    monkeypatch.setattr(machine, "ask", lambda device, env: dict(about))
    monkeypatch.setattr(reuse, "code", lambda root, stage: "abc")
    out = tmp_path / "out"

    def call(*stages, seconds=600, least=1.0, options=()):
        monkeypatch.setattr(gpu_day, "STAGES", stages)
        monkeypatch.setattr(gpu_day, "LEAST_S", {"cpu": least})
        monkeypatch.setattr(gpu_day, "BEGIN_S", 0.1)
        arguments = ["--device", "cpu", "--minutes", str(seconds / 60), "--out", str(out), *options]
        return CliRunner().invoke(gpu_day.main, arguments)

    call.out, call.about = out, about
    call.rows = lambda stage: read(out / f"{stage}.json")["rows"]
    call.runs = lambda stage: read(out / f"{stage}.json")["runs"]
    return call


@pytest.fixture(autouse=True)
def signals_stay_as_they_are():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def alive(pid):
    """Whether a process runs; one that is dead and not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_all_well(day):
    result = day("good")
    assert result.exit_code == 0, result.output
    assert day.rows("good") == [{"name": "one", "ok": True}]
    assert read(day.out / "good.json")["about"] == {**day.about, "stage": "good", "code": "abc"}


def test_a_fault_does_not_stop_the_next(day):
    result = day("raises", "dies", "unwritten", "good")
    assert result.exit_code == 1
    how = {stage: day.runs(stage)[-1]["how"] for stage in ("raises", "dies", "unwritten", "good")}
    assert how == {
        "raises": "failed: ValueError: no such luck",
        "dies": "failed: killed by SIGKILL",
        "unwritten": "failed: ModuleNotFoundError: No module named 'gpu_stages.unwritten'",
        "good": "done",
    }
    assert day.rows("raises") == [{"name": "first"}]


def test_a_hanging_stage_is_killed_with_all_it_started(day):
    began = time.monotonic()
    result = day("hangs", "good", seconds=4)
    assert time.monotonic() - began < 30  # it would sleep for 60
    assert result.exit_code == 1
    assert day.runs("hangs")[-1]["how"] == "stopped at its limit of 2 s"
    assert not alive(day.rows("hangs")[0]["pid"])
    assert day.runs("good")[-1]["how"] == "done"


def test_the_runner_leaves_nothing_behind_when_it_is_stopped(day, tmp_path):
    """A stage, and what it started, ends with the runner's own SIGTERM."""

    def stop(*_):
        raise SystemExit(143)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(SystemExit):
            process.run(["sh", "-c", "sleep 60 & echo $!; wait"], 60, tmp_path / "log", os.environ, title="x")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not alive((tmp_path / "log").read_text().split()[-1])


def test_a_failed_check_is_told_and_changes_the_exit_code(day):
    result = day("wrong", "good")
    assert result.exit_code == 1
    assert "FAILED wrong: two is one: 2 != 1" in result.output
    assert day.runs("wrong")[-1]["how"] == "done"


def test_after_a_crash_with_new_rows_a_fresh_process_goes_on(day):
    result = day("poisoned")
    assert result.exit_code == 0, result.output
    assert [row["name"] for row in day.rows("poisoned")] == [0, 1, 2]


def test_started_again_it_goes_on_where_it_was(day):
    day("good", "raises")
    again = day("good", "raises")
    assert again.exit_code == 1
    assert day.rows("raises") == [{"name": "first"}]  # measured once
    assert len(day.runs("raises")) == 2


@pytest.mark.parametrize("key", reuse.SAME)
def test_rows_of_something_else_are_put_aside(day, monkeypatch, key):
    day("good")
    if key == "code":
        monkeypatch.setattr(reuse, "code", lambda root, stage: "def")
    else:
        day.about[key] = "another"
    day("good")
    assert len(day.rows("good")) == 1
    assert read(day.out / "good.abc.json")["rows"] == [{"name": "one", "ok": True}]


def test_again_measures_anew_and_loses_nothing(day):
    for options in ((), ("--again",), ("--again",)):
        day("good", options=options)
    assert len(day.rows("good")) == 1
    assert {file.name for file in day.out.glob("good*.json")} == {
        "good.json",
        "good.abc.json",
        "good.abc-2.json",
    }


def test_a_broken_file_does_not_stop_the_day(day):
    day.out.mkdir()
    (day.out / "good.json").write_text("{")
    assert day("good").exit_code == 0


def test_the_log_has_what_each_said(day):
    day("raises", "good")
    log = (day.out / "log.txt").read_text()
    assert log.index("== raises") < log.index("ValueError: no such luck") < log.index("== good")


def test_the_table():
    ended = [
        Ended("right", "done", 12.3, 40, ("a kernel: relative error",)),
        Ended("tiles", "failed: killed by SIGKILL", 3.0, 2),
        Ended("layer", "not begun: no time was left"),
    ]
    assert table(ended).splitlines() == [
        "stage  rows  failed  seconds  how it ended",
        "right  40    1       12       done",
        "tiles  2     0       3        failed: killed by SIGKILL",
        "layer  0     0       0        not begun: no time was left",
        "  FAILED right: a kernel: relative error",
    ]
    assert [one.well for one in ended] == [False, False, True]


def test_what_the_code_is_decides_what_is_reused(tmp_path):
    for name in ("moe_lessons", "benchmarks/gpu_stages", "tests/kernels"):
        (tmp_path / name).mkdir(parents=True)
    stages = tmp_path / "benchmarks" / "gpu_stages"
    (stages / "layer.py").write_text("1")
    before = reuse.code(tmp_path, "layer"), reuse.code(tmp_path, "right")
    (tmp_path / "tests" / "kernels" / "kernel_cases.py").write_text("2")
    (stages / "training.py").write_text("3")
    after = reuse.code(tmp_path, "layer"), reuse.code(tmp_path, "right")
    assert before[0] == after[0]  # neither another stage nor the tests are of the layer's business
    assert before[1] != after[1]
    (tmp_path / "moe_lessons" / "tiles.py").write_text("4")
    assert reuse.code(tmp_path, "layer") != after[0]


def test_each_stage_says_its_limit():
    here = [name for name in gpu_day.STAGES if (STAGES_ARE_IN / f"{name}.py").exists()]
    assert {"right", "layer", "training", "lessons"} <= set(here)
    assert sum(map(process.limit_of, here)) <= 13 * 60
    assert process.limit_of("nothing of this name") == process.USUAL_S


SCRIPT = [sys.executable, str(paths.ROOT / "benchmarks" / "gpu_day.py")]


@pytest.mark.slow
def test_without_a_gpu_it_says_so(tmp_path):
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*SCRIPT, "--out", str(tmp_path)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "gpu_day: PyTorch sees no CUDA GPU here; --device cpu makes a dry run\n"


def test_what_is_missing_is_named(monkeypatch):
    said = json.dumps({"device": None, "missing": ["platformdirs"]})
    fake = subprocess.CompletedProcess([], 0, said + "\n", "")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: fake)
    with pytest.raises(machine.NotHere, match=r"install platformdirs first"):
        machine.ask("cuda", {})


@pytest.mark.slow
def test_a_dry_run_from_end_to_end(tmp_path):
    """Every stage, as `--device cpu` runs it, ends by itself and finds nothing wrong."""
    stages = [name for name in gpu_day.STAGES if (STAGES_ARE_IN / f"{name}.py").exists()]
    only = [word for name in stages for word in ("--only", name)]
    command = [*SCRIPT, "--device", "cpu", "--minutes", "10", "--out", str(tmp_path), *only]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + (tmp_path / "log.txt").read_text()[-8000:]
    files = {name: read(tmp_path / f"{name}.json") for name in stages}
    assert all(file["about"]["dry"] for file in files.values())
    assert all(file["runs"][-1]["how"] == "done" for file in files.values())
    checks = files["right"]["rows"]
    assert sum(row.get("ok") is True for row in checks) >= 8
    skipped = [row["skipped"] for row in checks if "skipped" in row]
    assert len(skipped) > 50
    assert all("GPU" in why for why in skipped)
