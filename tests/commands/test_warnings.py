"""A setting that trains no router is said in one line, once."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from moe_lessons.commands.cli import main
from moe_lessons.config import ModelConfig, TrainConfig

LINE = "top_k=1 with gate='topk_softmax': every weight is 1, so the router gets no gradient from the task"


def test_a_config_says_so():
    with pytest.warns(UserWarning, match=LINE):
        TrainConfig(model=ModelConfig(top_k=1))
    with pytest.warns(UserWarning, match=LINE):
        TrainConfig().override(top_k=1)


@pytest.mark.parametrize("changes", [{"top_k": 1, "gate": "softmax_topk"}, {"top_k": 1, "n_experts": 1}, {}])
def test_other_configs_say_nothing(changes, recwarn):
    TrainConfig().override(**changes)
    assert not len(recwarn)


def test_train_says_it_once_and_goes_on(tmp_path):
    """In a process of its own: pytest has its own idea of what becomes of warnings."""
    options = ["--preset", "smoke", "--steps", "1", "--top-k", "1", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "moe_lessons", "train", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    notes = [line for line in done.stderr.splitlines() if "top_k=1" in line]
    assert notes == [f"note: {LINE}; take gate='softmax_topk' (Switch) or top_k=2"]


def test_the_example_in_the_help_trains_its_router(recwarn):
    text = CliRunner().invoke(main, ["train", "--help"]).output
    examples = [line for line in text.splitlines() if "--top-k 1" in line]
    assert examples
    assert all("--gate softmax_topk" in line for line in examples)
