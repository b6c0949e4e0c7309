"""Runs that are made longer, changed, started from weights; the best checkpoint; what is predicted before."""

import dataclasses
import json
import shutil
import stat
import sys

import pytest
import torch

from moe_lessons.config import TrainConfig, preset
from moe_lessons.interop.exporting import export_checkpoint
from moe_lessons.interop.folders import InteropError
from moe_lessons.interop.importing import import_folder
from moe_lessons.interop.starting import starting_point
from moe_lessons.training import DoesNotFit, train
from moe_lessons.training.checkpoint import latest_checkpoint, load_model, read_state
from moe_lessons.training.distributed import Ranks
from moe_lessons.training.loggers import WeightsAndBiases, open_loggers
from moe_lessons.training.outlook import look_ahead
from moe_lessons.training.rundir import CheckpointError, best_checkpoint, list_checkpoints
from moe_lessons.training.schedule import extended, learning_rate_at

SMOKE = preset("smoke").override(steps=8, log_every=1, evaluate_every=4, checkpoint_every=4)


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    return train(SMOKE, corpus=corpus, out=out), out


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished[1], tmp_path / "run")


def assert_same(one, other):
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name]), name


def test_longer_at_the_floor_is_what_a_longer_run_with_that_schedule_would_be(run, corpus):
    notes = []
    longer = train(
        dataclasses.replace(SMOKE, steps=12), corpus=corpus, resume=run, extend="floor", on_note=notes.append
    )
    whole = train(dataclasses.replace(SMOKE, steps=12, schedule_steps=8), corpus=corpus)
    assert_same(longer, whole)
    assert [record.step for record in longer.history] == list(range(1, 13))
    assert "steps 8 -> 12: the schedule ended with step 8, the learning rate stays at 0.00014" in notes
    assert read_state(latest_checkpoint(run))["changes"] == [notes[-1]]
    # From where it now is, nothing needs to be said again.
    assert train(longer.config, corpus=corpus, resume=run).checkpoint.name == "step-000012"


def test_rewarming(run, corpus):
    config = dataclasses.replace(SMOKE, steps=20, warmup_steps=5)
    longer = train(config, corpus=corpus, resume=run, extend="rewarm", change_schedule=True)
    rates = [record.learning_rate for record in longer.history[8:]]
    peak, floor = config.learning_rate, 0.1 * config.learning_rate
    assert rates[:5] == pytest.approx([floor + (peak - floor) * n / 5 for n in range(1, 6)])
    assert rates[5] == pytest.approx(peak)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.2 * peak


def test_rules_of_extension():
    config = TrainConfig(steps=300)
    assert extended(config, 200, 250)[1].endswith("and would end with step 300")
    assert learning_rate_at(extended(config, 200, 250)[0], 249) == learning_rate_at(config, 249)
    twice = extended(extended(config, 300, 400)[0], 400, 500)[0]
    assert (twice.steps, twice.schedule_steps) == (500, 300)
    with pytest.raises(ValueError, match="steps=300: the run is at step 300 already; choose more"):
        extended(config, 300, 300)
    with pytest.raises(ValueError, match="extend='up': choose one of floor, rewarm"):
        extended(config, 300, 400, "up")


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_schedules_rise_to_the_peak_and_end_where_they_should(schedule):
    config = TrainConfig(schedule=schedule, steps=100, warmup_steps=10, learning_rate=2.0)
    rates = [learning_rate_at(config, step) for step in range(101)]
    assert rates[:10] == pytest.approx([0.2 * n for n in range(1, 11)])
    assert rates[-1] == pytest.approx(2.0 if schedule == "constant" else 0.2)
    if schedule == "linear":
        assert rates[55] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))


def test_a_changed_rate_needs_to_be_asked_for(run, corpus):
    config = dataclasses.replace(SMOKE, learning_rate=1e-4, weight_decay=0.0)
    with pytest.raises(CheckpointError, match="to go on with these from here, add --change-schedule"):
        train(config, corpus=corpus, resume=run / "step-000004")
    notes = []
    done = train(
        config, corpus=corpus, resume=run / "step-000004", change_schedule=True, on_note=notes.append
    )
    assert any(
        "changed from step 4 on: learning_rate: 0.0014 -> 0.0001, weight_decay: 0.4 -> 0.0; the next" in note
        for note in notes
    )
    assert done.history[-1].learning_rate < 1.01e-4 < done.history[3].learning_rate
    with pytest.raises(CheckpointError, match="say how the schedule goes on"):
        train(dataclasses.replace(config, steps=30), corpus=corpus, resume=run)
    with pytest.raises(CheckpointError, match=r"model\.top_k: 2 -> 1"):
        train(config.override(top_k=1), corpus=corpus, resume=run, change_schedule=True, extend="floor")


def test_the_best_is_kept_and_named(run, corpus, finished):
    best = best_checkpoint(run)
    assert best.name == f"best-{finished[0].best[1]:06d}"
    assert (
        min(r.validation_bits_per_byte for r in finished[0].history if r.validation_bits_per_byte)
        == (finished[0].best[0])
    )
    model, state = load_model(best)
    assert state["best"] == {"step": 8, "bits_per_byte": finished[0].best[0]}
    # Worse from here on: the best stays, though its own checkpoint goes.
    ruined = dataclasses.replace(SMOKE, steps=16, learning_rate=3.0, keep=1)
    done = train(ruined, corpus=corpus, resume=run, extend="rewarm", change_schedule=True)
    assert done.validation_bits_per_byte > finished[0].best[0]
    assert [path.name for path in list_checkpoints(run)] == ["step-000016"]
    assert best_checkpoint(run) == best
    for name, tensor in load_model(best)[0].state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    assert done.best == finished[0].best


def test_as_many_checkpoints_stay_as_asked_for(corpus, tmp_path):
    train(dataclasses.replace(SMOKE, checkpoint_every=1, keep=5), corpus=corpus, out=tmp_path)
    assert [path.name for path in list_checkpoints(tmp_path)] == [f"step-{n:06d}" for n in range(4, 9)]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_others_may_read_what_the_umask_lets_them(run):
    modes = {stat.S_IMODE(path.stat().st_mode) for path in latest_checkpoint(run).iterdir()}
    assert len(modes) == 1
    plain = run / "plain"
    plain.touch()
    assert modes == {stat.S_IMODE(plain.stat().st_mode)}


@pytest.mark.parametrize("form", ["run", "checkpoint", "export", "imported", "transformers"])
def test_training_starts_from_weights(form, run, corpus, tmp_path):
    folder = {"run": run, "checkpoint": run / "step-000008"}.get(form, tmp_path / "exported")
    if form not in ("run", "checkpoint"):
        export_checkpoint(run, folder)
    if form == "imported":
        folder = import_folder(folder, tmp_path / "imported")
    if form == "transformers":
        transformers = pytest.importorskip("transformers")
        theirs = transformers.MixtralForCausalLM.from_pretrained(folder)
        shutil.rmtree(folder)
        theirs.save_pretrained(folder)
    start = starting_point(folder)
    assert start.tokenizer == "bytes"
    config = dataclasses.replace(SMOKE, model=start.model, steps=4, seed=3)
    out = tmp_path / "tuned"
    done = train(config, corpus=corpus, weights=start.fill, origin=start.origin, out=out)
    before = load_model(run)[0]
    from moe_lessons.training import evaluate

    assert done.initial_bits_per_byte == pytest.approx(evaluate(before, corpus.validation_M), abs=1e-4)
    assert done.validation_bits_per_byte < done.initial_bits_per_byte
    assert done.history[0].step == 1  # a fresh optimizer, a fresh schedule
    assert read_state(latest_checkpoint(out))["weights_from"] == start.origin
    again = train(config, corpus=corpus, resume=out)
    assert_same(done, again)


def test_an_export_says_what_became_of_the_run(run, corpus, tmp_path):
    config = dataclasses.replace(SMOKE, corpus=("one/a.txt", "b.txt"), steps=10)
    train(config, corpus=corpus, resume=run, extend="floor")
    card = (export_checkpoint(run, tmp_path / "exported") / "README.md").read_text(encoding="utf-8")
    assert "| corpus | a.txt, b.txt (SHA-256 " in card
    assert "| changed on the way | steps 8 -> 10: the schedule ended with step 8" in card


def test_starting_points_that_are_none(tmp_path, run):
    with pytest.raises(InteropError, match="is not a folder: give a run, or one with config"):
        starting_point(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        starting_point(tmp_path / "empty")
    export_checkpoint(run, tmp_path / "exported")
    with pytest.raises(
        CheckpointError, match=r"in Hugging Face's format .* moe-lessons import \S+ --to runs/exp"
    ):
        latest_checkpoint(tmp_path / "exported")


def test_what_cannot_fit_is_refused_with_the_numbers(corpus, monkeypatch, tmp_path):
    monkeypatch.setattr("moe_lessons.training.outlook.available_bytes", lambda: (10**6, "there"))
    monkeypatch.setattr("moe_lessons.training.trainer.Run", None)  # refused before anything is built
    with pytest.raises(
        DoesNotFit, match=r"needs about \d+ MB \(weights .*\), 1 MB are there: choose a smaller"
    ):
        train(SMOKE, corpus=corpus, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changes", [{"d_model": 2**40}, {"batch_size": 2**40}, {"n_experts": 2**40}])
def test_the_prediction_itself_needs_no_memory(corpus, changes):
    ahead = look_ahead(SMOKE.override(**changes), corpus, Ranks())
    assert ahead.needed_bytes > 10**12
    with pytest.raises(DoesNotFit):
        ahead.check()


def test_loggers_are_used_alike(finished, monkeypatch, tmp_path):
    seen = {}

    class Wandb:
        @staticmethod
        def init(**options):
            seen.update(options)
            return Wandb()

        def log(self, values, step):
            seen[step] = values

        def finish(self):
            seen["finished"] = True

    monkeypatch.setitem(sys.modules, "wandb", Wandb)
    (logger,) = open_loggers(["wandb"], tmp_path / "mine", SMOKE)
    with logger:
        logger(finished[0].history[-1])
    assert seen["name"] == "mine"
    assert seen["config"]["steps"] == 8
    assert seen[8]["load_shares_by_layer/1.7"] == finished[0].history[-1].load_shares_by_layer[1][7]
    assert seen["finished"]
    monkeypatch.setattr(Wandb, "init", staticmethod(lambda **_: 1 / 0))
    with pytest.raises(ValueError, match=r"wandb does not begin \(division by zero\): log in, or"):
        WeightsAndBiases(tmp_path, SMOKE)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match="wandb is not installed: pip install wandb"):
        open_loggers(["wandb"], tmp_path, SMOKE)


def test_a_run_records_its_settings(run):
    from moe_lessons.config import read_toml

    assert read_toml(run / "run.toml") == TrainConfig.from_dict(
        json.loads((run / "step-000008" / "state.json").read_text())["config"]
    )
