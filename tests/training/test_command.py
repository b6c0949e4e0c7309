"""The options of `moe-lessons train` that choose, describe and record a run."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from moe_lessons.commands.cli import main
from moe_lessons.config import PRESETS

FAST = ["train", "--preset", "smoke", "--steps", "6"]


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_list_describes_every_preset_and_loads_no_torch():
    code = (
        "import sys\nfrom moe_lessons.commands.cli import main\n"
        "try: main(['train', '--list'])\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(PRESETS)]] == list(PRESETS)
    assert "not measured" in done.stdout
    assert lines[-1] == "False"


def test_settings_reach_the_run(call, tmp_path):
    (tmp_path / "short.txt").write_text("Much ado about nothing. " * 100)
    options = ["--accumulation-steps", 2, "--balancing-scope", "sequence", "--precision", "bf16"]
    intervals = ["--log-every", 2, "--evaluate-every", 3, "--checkpoint-every", 4]
    done = call(*FAST, "--corpus", "short.txt", *options, *intervals, "--no-such-option", 2)
    assert done.exit_code == 2  # no such option: only what --help lists
    done = call(*FAST, "--corpus", "short.txt", *options, *intervals, "--no-compile")
    assert done.exit_code == 0, done.output
    state = json.loads((tmp_path / "runs" / "smoke" / "step-000006" / "state.json").read_text())
    config = state["config"]
    assert (config["accumulation_steps"], config["balancing_scope"]) == (2, "sequence")
    assert (config["precision"], config["compile"]) == ("bf16", False)
    assert (config["log_every"], config["evaluate_every"], config["checkpoint_every"]) == (2, 3, 4)


def test_tensorboard_that_is_not_there_is_one_line_before_anything_runs(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    done = call(*FAST, "--tensorboard")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: tensorboard is not installed: pip install tensorboard")
    assert not (tmp_path / "runs").exists()


def test_help_names_every_preset_and_setting(call):
    text = call("train", "--help").output.replace("-\n", "-")
    text = "".join(text.split())
    for word in (*PRESETS, "--accumulation-steps", "--precision", "--compile", "--tensorboard", "--list"):
        assert word in text
