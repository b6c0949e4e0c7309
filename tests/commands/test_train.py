"""`train` and `generate` as one uses them: files, folders, signals, pipes, limits, and what goes wrong."""

import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from moe_lessons.commands.cli import main
from moe_lessons.commands.train_options import HELP, OF_ITS_OWN
from moe_lessons.config import PRESETS, ModelConfig, TrainConfig, preset, read_toml

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
FAST = ["train", "--preset", "smoke", "--steps", "6"]
COMMAND = [sys.executable, "-m", "moe_lessons"]


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def assert_one_line(result, *parts, code=2):
    assert result.exit_code == code, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    for part in ("error: ", *parts):
        assert part in lines[0]


def test_every_setting_has_an_option_with_its_default(call):
    text = "".join(call("train", "--help").output.split())
    defaults = {**PRESETS["cpu-tiny"].to_dict()["model"], **PRESETS["cpu-tiny"].to_dict()}
    for name in {*TrainConfig.__dataclass_fields__, *ModelConfig.__dataclass_fields__} - {*OF_ITS_OWN}:
        assert f"--{name.replace('_', '-')}" in text
        assert HELP[name]
        if type(defaults[name]) in (int, float):
            assert f"[{defaults[name]}]" in text
    for word in ("--betas", "[0.90.95]", "[cosine|linear|constant]", "143stoppedbySIGHUP"):
        assert word in text.replace("130,143", "143")


def test_a_preset_as_a_file_and_back(call, tmp_path):
    printed = call("train", "--preset", "lesson", "--print-config", "--d-model", 64, "--betas", 0.8, 0.99)
    (tmp_path / "run.toml").write_text(printed.stdout)
    assert read_toml("run.toml") == preset("lesson").override(d_model=64, betas=(0.8, 0.99))
    (tmp_path / "mine.txt").write_text("Some words of my own, over and over. " * 100)
    (tmp_path / "short.toml").write_text('preset = "smoke"\nsteps = 99\ncorpus = "mine.txt"\nkeep = 3\n')
    os.mkdir("elsewhere")
    os.chdir("elsewhere")
    done = call("train", "--config", "../short.toml", "--steps", 6, "--out", "run")
    assert done.exit_code == 0, done.output
    recorded = read_toml("run/run.toml")
    assert (recorded.steps, recorded.keep, recorded.corpus) == (6, 3, str(tmp_path / "mine.txt"))
    (tmp_path / "bad.toml").write_text("stepz = 3")
    assert_one_line(call("train", "--config", "../bad.toml"), "unknown setting 'stepz'", "'steps'")
    assert_one_line(
        call("train", "--config", "../short.toml", "--preset", "smoke"), "name the preset in the file"
    )
    assert_one_line(call("train", "--config", "nowhere.toml"), "'nowhere.toml' does not exist")


def test_a_run_of_ones_own_text_goes_on_from_anywhere(call, tmp_path):
    for name in ("one.txt", "two.txt", "other.txt"):
        (tmp_path / name).write_text(f"This is {name}, with words of its own. " * 60)
    files = ["--corpus", "one.txt", "--corpus", "two.txt"]
    done = call(*FAST, *files, "--out", "mine", "--held-out", "other.txt")
    assert done.exit_code == 0, done.output
    os.mkdir("elsewhere")
    os.chdir("elsewhere")
    longer = call("train", "--resume", "../mine", "--steps", 9)
    assert longer.exit_code == 0, longer.output
    assert "steps 6 -> 9: the schedule ended with step 6" in longer.stdout
    (tmp_path / "two.txt").write_text("something else " * 200)
    changed = call("train", "--resume", "../mine", "--steps", 12)
    assert_one_line(changed, "corpus_sha256", "the text has changed since", "--init-from")


def test_the_beginning_says_what_it_will_be(call):
    said = call(*FAST).stdout
    for part in (
        "smoke on cpu: 72,352 parameters, 35,488 active per token",
        "language-reference: 340,088 bytes to train on, 37,784 held out; 6 steps of 128 tokens: 768 tokens",
        "memory: about ",
        " left",
    ):
        assert part in said


def test_extending_and_changing(call):
    assert call(*FAST, "--out", "mine").exit_code == 0
    said = call("train", "--resume", "mine", "--steps", 10, "--extend", "rewarm").stdout
    assert "steps 6 -> 10: the learning rate warms up again from step 6" in said
    assert_one_line(call("train", "--resume", "mine", "--steps", 8), "steps=8: the run is at step 10 already")
    refused = call("train", "--resume", "mine", "--steps", 12, "--learning-rate", 1)
    assert_one_line(
        refused, "learning_rate: 0.0014 -> 1.0; to go on with these from here, add --change-schedule"
    )
    assert refused.stdout == ""  # not a word on how the refused run would go
    assert_one_line(call("train", "--extend", "floor"), "say with --resume which run")
    changed = call("train", "--resume", "mine", "--steps", 12, "--learning-rate", 0.001, "--change-schedule")
    assert "changed from step 10 on: learning_rate: 0.0014 -> 0.001" in changed.stdout


def test_from_an_export_and_what_does_not_go_with_it(call, tmp_path):
    assert call(*FAST, "--out", "mine").exit_code == 0
    assert call("export", "mine", "--to", "exported").exit_code == 0
    assert_one_line(
        call("generate", "--checkpoint", "exported"), "no run: bring it in with moe-lessons import exported"
    )
    tuned = call(*FAST, "--init-from", "exported", "--corpus", "standard-library", "--context-length", 16)
    assert tuned.exit_code == 0, tuned.output
    assert "weights from exported; held-out bits per byte before training: " in tuned.stdout
    assert "before, with its first weights" in tuned.stdout
    state = json.loads((tmp_path / "runs" / "tuned" / "step-000006" / "state.json").read_text())
    assert state["config"]["model"]["context_length"] == 16
    assert_one_line(
        call(*FAST, "--init-from", "mine", "--n-layers", 6), "--n-layers 6: the model in mine has n_layers=2"
    )
    assert_one_line(call(*FAST, "--init-from", "mine", "--context-length", 64), "has context_length=32")
    assert_one_line(call(*FAST, "--init-from", "nowhere"), "nowhere is not a folder")
    assert_one_line(call(*FAST, "--init-from", "mine", "--resume", "mine"), "choose new weights, or a run")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--seed", "-1"], ["seed=-1", "choose 0 or more"]),
        (["--temperature", "inf"], ["temperature=inf", "a finite number"]),
        (["--tokens", "100000000000"], ["100000000000 is not in the range 1<=x<=1000000"]),
        (["--tokens", "1e11"], ["'1e11' is not a valid integer"]),
        (["--top-p", "0"], ["top_p=0.0", "choose above 0 and at most 1"]),
        (["--top-k", "300"], ["top_k=300", "vocab_size=256"]),
        (["--stop", ""], ["stop is empty"]),
        (["--stream", "--prompt", "a", "--prompt", "b"], ["--stream with 2 prompts"]),
    ],
)
def test_generation_refuses_in_one_line(call, trained_once, arguments, parts):
    assert_one_line(call("generate", "--checkpoint", trained_once, *arguments), *parts)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("once")
    subprocess.run([*COMMAND, *FAST, "--out", str(folder / "run")], check=True, env=ENVIRONMENT)
    return folder / "run"


def test_several_prompts_and_a_stream(call, trained_once):
    options = ["generate", "--checkpoint", trained_once, "--tokens", 30]
    alone = call(*options, "--prompt", "A list").stdout
    assert call(*options, "--prompt", "A list", "--stream").stdout == alone
    both = call(*options, "--prompt", "A list", "--prompt", "Grüße").stdout
    assert both.startswith(f"--- 1 of 2\n{alone}\n--- 2 of 2\nGrüße")
    stop = alone[10:12]
    assert call(*options, "--prompt", "A list", "--stop", stop).stdout.startswith("A list")
    assert "no assistant" in " ".join(call("generate", "--help").output.split())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_weights_that_one_may_not_read_are_not_called_damaged(call, trained_once):
    (trained_once / "step-000006" / "model.safetensors").chmod(0)
    assert_one_line(call("generate", "--checkpoint", trained_once), "Permission denied")


def started(tmp_path, *options, **settings):
    return subprocess.Popen(
        [*COMMAND, "train", "--preset", "smoke", "--log-every", "1", *options],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def wait_for_steps(process):
    while not process.stdout.readline().startswith("step "):
        assert process.poll() is None


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM"])
def test_signals_save_and_have_their_own_exit_code(tmp_path, name):
    number = getattr(signal, name)
    # Whoever runs the tests under nohup has SIGHUP ignored, and a child would inherit that.
    process = started(tmp_path, "--steps", "99999", preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    wait_for_steps(process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert errors.startswith("error: stopped at step ")
    assert list((tmp_path / "runs" / "smoke").glob("step-*/state.json"))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_nohup_is_respected(tmp_path):
    process = started(
        tmp_path, "--steps", "40", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    wait_for_steps(process)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_a_closed_pipe_does_not_stop_a_run(tmp_path):
    process = started(tmp_path, "--steps", "60")
    wait_for_steps(process)
    process.stdout.close()
    assert process.wait(timeout=120) == 0, process.stderr.read()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert (tmp_path / "runs" / "smoke" / "step-000060" / "state.json").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="needs ulimit -v")
def test_under_a_limit_below_its_prediction_a_run_is_refused(tmp_path):
    import resource

    limit = 12 * 2**30

    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    done = subprocess.run(
        [*COMMAND, *FAST, "--d-model", "8192", "--n-experts", "64", "--d-expert", "4096"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        preexec_fn=limited,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 4
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: not enough memory: this run needs about ")
    assert "left by the process's limit (ulimit): choose a smaller model" in line
    assert not (tmp_path / "runs").exists()


def test_a_run_that_diverges_and_a_full_disk_have_their_codes(call, monkeypatch):
    done = call(*FAST, "--learning-rate", "1e30", "--warmup-steps", 0, "--grad-clip", "1e30")
    assert_one_line(done, "training diverged in step", code=3)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("moe_lessons.training.checkpoint.save_file", full)
    assert_one_line(call(*FAST, "--out", "other"), "No space left on device", code=5)
