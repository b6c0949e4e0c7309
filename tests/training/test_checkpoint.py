import dataclasses
import errno
import json
import shutil
import subprocess
import sys
import textwrap

import pytest
import torch

from moe_lessons.config import ModelConfig, preset
from moe_lessons.training import checkpoint as checkpoints
from moe_lessons.training import train
from moe_lessons.training.checkpoint import CheckpointError, latest_checkpoint, list_checkpoints, load_model
from moe_lessons.training.objective import make_optimizer

SMOKE = preset("smoke").override(steps=10, checkpoint_every=5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    return train(SMOKE, out=out), out


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained[1], tmp_path / "run")


def test_a_checkpoint_gives_the_model_back(trained):
    result, out = trained
    model, state = load_model(out)
    assert state["step"] == 10
    assert not model.training
    for name, tensor in result.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


def test_the_last_two_stay_and_nothing_else(run):
    assert [path.name for path in list_checkpoints(run)] == ["step-000005", "step-000010"]
    train(dataclasses.replace(SMOKE, checkpoint_every=1), resume=run / "step-000005")
    assert sorted(path.name for path in run.iterdir()) == [
        "best-000010",
        "log.csv",
        "log.jsonl",
        "run.toml",
        "step-000009",
        "step-000010",
    ]


def test_tied_embeddings_survive(tmp_path):
    config = SMOKE.override(tie_embeddings=True)
    result = train(config, out=tmp_path)
    model, _ = load_model(tmp_path)
    assert model.head.weight is model.embedding.weight
    assert torch.equal(model.head.weight, result.model.head.weight)


def test_an_unfinished_save_is_ignored_and_removed(run):
    leftover = run / ".unfinished-000011"
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"half")
    assert latest_checkpoint(run).name == "step-000010"
    train(SMOKE, resume=run)
    assert not leftover.exists()


def test_a_run_is_not_overwritten(run):
    with pytest.raises(ValueError, match="already holds a run: resume it"):
        train(SMOKE, out=run)


def test_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere does not exist: train first"):
        latest_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds no checkpoint: train first"):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint under"):
        checkpoints.last_run(tmp_path)


def test_another_configuration_is_refused_with_the_difference(run):
    with pytest.raises(
        CheckpointError, match=r"there -> here: model\.top_k: 2 -> 1, steps: 10 -> 12; resume"
    ):
        train(SMOKE.override(top_k=1, steps=12), resume=run)
    with pytest.raises(CheckpointError, match="corpus_sha256"):
        train(SMOKE.override(corpus="standard-library"), resume=run)


def test_weights_of_another_model_are_refused(trained):
    other = checkpoints.MoETransformer(ModelConfig(n_layers=2, d_model=64))
    with pytest.raises(
        CheckpointError, match=r"is of another model: blocks\.0\.\S+ is \(16, 32\) there, \(32, 64\)"
    ):
        checkpoints.restore_weights(latest_checkpoint(trained[1]), other)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_damage_is_found_and_an_older_one_named(run, name, how):
    file = run / "step-000010" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if how == "remove":
        file.unlink()
    else:
        file.write_bytes(content if how == "flip" else content[:-10])
    with pytest.raises(CheckpointError, match=r"step-000010 is damaged: .*; try .*step-000005") as caught:
        load_model(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 99}', "\x00\xff"])
def test_a_damaged_state_is_found(run, content):
    (run / "step-000010" / "state.json").write_text(content)
    with pytest.raises(CheckpointError, match="step-000010"):
        load_model(run)


def test_resuming_elsewhere_is_noted(run):
    state = run / "step-000005" / "state.json"
    state.write_text(state.read_text().replace('"threads": ', '"threads": 1'))
    with pytest.warns(UserWarning, match=r"not bit for bit.*threads: 1"):
        train(SMOKE, resume=run / "step-000005")


def full_after(n_writes):
    """A disk that is full when the n-th file is written."""
    written = []

    def save_file(tensors, path):
        written.append(path)
        path.write_bytes(b"half of it")
        if len(written) > n_writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path)

    real = checkpoints.save_file
    return save_file


@pytest.mark.parametrize("n_writes", [2, 3])
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch, n_writes):
    monkeypatch.setattr(checkpoints, "save_file", full_after(n_writes))
    with pytest.raises(CheckpointError) as caught:
        train(SMOKE, out=tmp_path)
    message = str(caught.value)
    assert "cannot write the checkpoint of step 10" in message
    assert "No space left on device; last checkpoint: " in message
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["step-000005"]
    monkeypatch.undo()
    assert train(SMOKE, resume=tmp_path).checkpoint == tmp_path / "step-000010"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_FSIZE")
def test_a_real_write_that_fails(tmp_path, trained):
    """The system itself refuses the write, inside the library that writes the tensors."""
    code = f"""
        import resource
        from pathlib import Path
        from moe_lessons.training.checkpoint import CheckpointError, save_checkpoint
        from moe_lessons.config import preset
        from moe_lessons.model import MoETransformer
        from moe_lessons.training.objective import make_optimizer
        model = MoETransformer(preset("smoke").model)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            save_checkpoint(Path({str(tmp_path)!r}), 3, model, make_optimizer(model, preset("smoke")), {{}})
        except CheckpointError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("cannot write the checkpoint of step 3")
    assert "File too large" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_save_leaves_no_half(tmp_path, monkeypatch):
    def save_file(tensors, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    model = checkpoints.MoETransformer(SMOKE.model)
    monkeypatch.setattr(checkpoints, "save_file", save_file)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save_checkpoint(tmp_path, 1, model, make_optimizer(model, SMOKE), {})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_pickled(trained):
    suffixes = {path.suffix for path in trained[1].rglob("*") if path.is_file()}
    assert suffixes == {".csv", ".json", ".jsonl", ".safetensors", ".toml"}


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("config"),
        lambda state: state["config"].pop("model"),
        lambda state: state["config"].update(setting_of_tomorrow=1),
        lambda state: state["config"]["model"].update(d_model="wide"),
        lambda state: state.update(config=[]),
        lambda state: state.update(step="ten"),
    ],
)
def test_a_state_that_says_something_else_is_damaged(run, change):
    path = latest_checkpoint(run) / "state.json"
    state = json.loads(path.read_text())
    change(state)
    path.write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match=r"is damaged: (KeyError|TypeError)"):
        load_model(run)


def test_a_model_is_loaded_by_a_path_written_as_text(tmp_path):
    run = tmp_path / "run"
    train(SMOKE.override(steps=1, checkpoint_every=1), out=run)
    by_text, by_path = load_model(str(run))[0], load_model(run)[0]
    assert all(
        torch.equal(one, two) for one, two in zip(by_text.parameters(), by_path.parameters(), strict=True)
    )
