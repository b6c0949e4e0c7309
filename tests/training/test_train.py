import dataclasses
import json
import math
import os
import signal
import threading

import pytest
import torch

from moe_lessons.config import PRESETS, TrainConfig, difference, preset
from moe_lessons.data import load_corpus
from moe_lessons.model import MoETransformer
from moe_lessons.training import TrainingDiverged, TrainingInterrupted, train
from moe_lessons.training.interrupt import deferred_interrupt
from moe_lessons.training.objective import bits_per_byte, evaluate, make_optimizer
from moe_lessons.training.report import load_report, run_report
from moe_lessons.training.runlog import read_log
from moe_lessons.training.schedule import learning_rate_at

SMOKE = preset("smoke")


def weights(result):
    return {name: tensor.clone() for name, tensor in result.model.state_dict().items()}


def assert_same_bits(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return train(SMOKE, out=out), out


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_what_they_say(name):
    config = preset(name)
    assert config.name == name
    assert config.warmup_steps < config.steps
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    if name == "cpu-tiny":
        total = sum(p.numel() for p in MoETransformer(config.model).parameters())
        assert 1_000_000 <= total <= 4_000_000
        assert (config.model.n_layers, config.model.n_experts, config.model.top_k) == (4, 8, 2)


def test_unknown_preset_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"unknown preset 'cpu_tiny': did you mean 'cpu-tiny'\?"):
        preset("cpu_tiny")
    with pytest.raises(ValueError, match="choose one of cpu-tiny, "):
        preset("zzz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps=0: choose 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate=0.0: choose a positive number"),
        ({"alpha": -1.0}, "alpha=-1.0: choose 0 or more"),
        ({"min_learning_rate_ratio": 2.0}, "min_learning_rate_ratio=2.0: choose 0 to 1"),
        ({"top_k": 9}, "top_k=9: choose 1 to n_experts=8"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        SMOKE.override(**changes)


def test_override_reaches_the_model_and_skips_none():
    config = SMOKE.override(top_k=1, steps=3, seed=None)
    assert (config.model.top_k, config.steps, config.seed) == (1, 3, SMOKE.seed)
    assert difference(config.to_dict(), SMOKE.to_dict()) == ["model.top_k: 2 -> 1", "steps: 20 -> 3"]


def test_learning_rate_warms_up_and_decays():
    config = preset("cpu-tiny")
    rates = [learning_rate_at(config, step) for step in range(config.steps)]
    peak = rates.index(max(rates))
    assert peak in (config.warmup_steps - 1, config.warmup_steps)
    assert max(rates) == pytest.approx(config.learning_rate)
    assert rates == [*sorted(rates[:peak]), *sorted(rates[peak:], reverse=True)]
    floor = config.learning_rate * config.min_learning_rate_ratio
    assert rates[-1] == pytest.approx(floor, rel=0.01, abs=1e-7)


def test_only_matrices_decay():
    optimizer = make_optimizer(MoETransformer(SMOKE.model), SMOKE)
    decayed, left = optimizer.param_groups
    assert decayed["weight_decay"] == SMOKE.weight_decay
    assert left["weight_decay"] == 0
    assert {p.ndim for p in left["params"]} == {1}
    assert 1 not in {p.ndim for p in decayed["params"]}


def test_evaluation_is_the_mean_over_windows():
    model = MoETransformer(SMOKE.model)
    tokens_M = load_corpus(SMOKE.corpus).validation_M[:200]
    expected = 0.0
    for start in range(0, 192, 32):
        window_BL = tokens_M[None, start : start + 33]
        expected += bits_per_byte(model(window_BL[:, :-1], window_BL[:, 1:]).loss.item()) / 6
    assert evaluate(model, tokens_M) == pytest.approx(expected, rel=1e-5)
    assert evaluate(model, tokens_M, tokens_per_batch=64) == pytest.approx(expected, rel=1e-5)
    assert model.training


def test_a_run_learns_logs_and_saves(whole):
    result, out = whole
    first, last = result.history[0], result.history[-1]
    assert last.train_bits_per_byte < first.train_bits_per_byte - 1
    assert result.validation_bits_per_byte == last.validation_bits_per_byte < 8
    assert [record.step for record in result.history] == [5, 10, 15, 20]
    assert last.tokens == 20 * SMOKE.tokens_per_step
    assert read_log(out / "log.jsonl") == result.history
    assert result.checkpoint == out / "step-000020"
    for record in result.history:
        assert len(record.load_shares_by_layer) == 2
        for shares, effective, entropy in zip(
            record.load_shares_by_layer,
            record.effective_experts_by_layer,
            record.router_entropy_nats_by_layer,
            strict=True,
        ):
            assert sum(shares) == pytest.approx(1)
            assert 1 <= effective <= 8
            assert 0 <= entropy <= math.log(8) + 1e-5


def test_a_run_leaves_the_callers_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = train(SMOKE.override(steps=2))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    assert_same_bits(weights(first), weights(train(SMOKE.override(steps=2))))


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop_at", [10, 15])
def test_resume_goes_on_bit_for_bit(whole, tmp_path, stop_at):
    """Killed at step 15, the run goes on from its checkpoint of step 10."""

    def kill(record):
        if record.step == stop_at:
            raise Stop

    config = dataclasses.replace(SMOKE, checkpoint_every=5 if stop_at == 10 else 10)
    with pytest.raises(Stop):
        train(config, out=tmp_path, on_step=kill)
    resumed = train(config, resume=tmp_path)
    assert_same_bits(weights(whole[0]), weights(resumed))
    assert [record.step for record in resumed.history] == [5, 10, 15, 20]
    losses = [record.train_bits_per_byte for record in resumed.history]
    assert losses == [record.train_bits_per_byte for record in whole[0].history]
    assert resumed.checkpoint == tmp_path / "step-000020"


def test_resuming_a_finished_run_changes_nothing(whole):
    result, out = whole
    again = train(SMOKE, resume=out)
    assert_same_bits(weights(result), weights(again))
    assert again.validation_bits_per_byte == pytest.approx(result.validation_bits_per_byte)


def press_ctrl_c_at(step):
    def press(record):
        if record.step == step:
            signal.raise_signal(signal.SIGINT)

    return press


def test_ctrl_c_saves_the_step_and_says_how_to_go_on(whole, tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    config = dataclasses.replace(SMOKE, log_every=1)
    with pytest.raises(TrainingInterrupted) as caught:
        train(config, out=tmp_path, on_step=press_ctrl_c_at(7))
    assert signal.getsignal(signal.SIGINT) is handler
    checkpoint = tmp_path / "step-000007"
    assert str(caught.value) == (
        f"stopped at step 7 of 20; last checkpoint: {checkpoint}; "
        f"go on with: moe-lessons train --resume {tmp_path}"
    )
    assert_same_bits(weights(whole[0]), weights(train(config, resume=tmp_path)))


def test_ctrl_c_without_a_directory():
    with pytest.raises(TrainingInterrupted, match="stopped at step 5 of 20; nothing is saved"):
        train(SMOKE, on_step=press_ctrl_c_at(5))


def test_second_ctrl_c_stops_at_once():
    with deferred_interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_training_works_outside_the_main_thread():
    done = []
    thread = threading.Thread(target=lambda: done.append(train(SMOKE.override(steps=1))))
    thread.start()
    thread.join()
    assert done[0].validation_bits_per_byte < 9


def test_a_loss_that_is_not_a_number_stops_with_the_step_and_keeps_the_weights(tmp_path):
    poisoned = []

    def poison(record):
        if record.step == 10:
            # The next step meets it; the checkpoint of this one is already due and still whole.
            poisoned.append(record)

    original = MoETransformer.forward

    def forward(self, tokens_BL, targets_BL=None):
        output = original(self, tokens_BL, targets_BL)
        return output._replace(loss=output.loss * math.nan) if poisoned and self.training else output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MoETransformer, "forward", forward)
        with pytest.raises(TrainingDiverged) as caught:
            train(SMOKE, out=tmp_path, on_step=poison)
    assert "diverged in step 11: loss nan" in str(caught.value)
    assert f"last checkpoint: {tmp_path / 'step-000010'}" in str(caught.value)
    assert train(SMOKE, resume=tmp_path).validation_bits_per_byte < 8


def test_a_huge_learning_rate_is_reported_as_divergence():
    with pytest.raises(TrainingDiverged, match=r"diverged in step \d+: .*smaller learning rate"):
        train(SMOKE.override(learning_rate=1e30, warmup_steps=0))


def test_report_is_json_without_paths(whole, tmp_path):
    text_file = tmp_path / "secret-directory" / "mine.txt"
    text_file.parent.mkdir()
    text_file.write_bytes(bytes(load_corpus("language-reference").train_N[:5000].tolist()))
    result = train(SMOKE.override(corpus=str(text_file), steps=5))
    report = json.dumps(run_report(result))
    assert "secret-directory" not in report
    assert os.uname().nodename not in report
    report = json.loads(json.dumps(run_report(whole[0])))
    assert report["preset"] == "smoke"
    assert report["train_curve"]["step"] == [5, 10, 15, 20]
    assert report["validation_curve"]["step"] == [20]
    assert report["router_history"]["step"][-1] == 20
    assert len(report["sample"]["text"]) > 200


def test_the_committed_result_is_of_the_preset_as_it_is():
    report = load_report("cpu_tiny")
    assert report["preset"] == "cpu-tiny"
    assert TrainConfig.from_dict(report["config"]) == preset("cpu-tiny")
    assert report["validation_bits_per_byte"] < report["bigram_bits_per_byte"] - 1
    assert report["bigram_bits_per_byte"] < report["unigram_bits_per_byte"]
    assert report["validation_curve"]["step"][-1] == report["config"]["steps"]
    assert len(json.dumps(report)) < 100_000


@pytest.mark.parametrize("balancing", ["aux_loss", "bias_sign"])
def test_dense_layers_between_those_with_experts(balancing):
    config = SMOKE.override(n_layers=3, moe_every=2, steps=4, balancing=balancing, gate="sigmoid")
    result = train(config)
    assert len(result.history[-1].load_shares_by_layer) == config.model.n_moe_layers == 1
