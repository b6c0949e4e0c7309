"""What a run says when it cannot go on: which windows it saw, what differs, what to do instead."""

import dataclasses
import json
import math
import re

import pytest
import torch

from moe_lessons.config import TrainConfig, preset
from moe_lessons.data.batches import training_batch
from moe_lessons.model import MoETransformer
from moe_lessons.training import TrainingDiverged, train, trainer
from moe_lessons.training.checkpoint import CheckpointError

SMOKE = preset("smoke").override(log_every=1, checkpoint_every=2)
CUT = SMOKE.override(batch_size=8, accumulation_steps=4, precision="fp16", balancing_scope="global_batch")


def poisoned(monkeypatch, byte, config=SMOKE, **options):
    """Let the loss be NaN in every forward pass that sees a byte value, and return the message."""
    original = MoETransformer.forward

    def forward(self, tokens_BL, targets_BL=None):
        output = original(self, tokens_BL, targets_BL)
        bad = self.training and bool((tokens_BL == byte).any())
        return output._replace(loss=output.loss * math.nan) if bad else output

    monkeypatch.setattr(MoETransformer, "forward", forward)
    with pytest.raises(TrainingDiverged) as caught:
        train(config, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def windows_of(message, corpus):
    """The text that a message points at."""
    (length, starts) = re.search(r"windows of (\d+) tokens that start at ([\d, ]+)", message).groups()
    starts = [int(start) for start in starts.split(",")]
    return [bytes(corpus.train_N[start : start + int(length)].tolist()) for start in starts]


def rare_byte(corpus):
    """A byte value that first comes in step 4 or later; which one depends on Python's own documents."""
    shape = {"batch_size": SMOKE.batch_size, "context_length": SMOKE.model.context_length}
    first = {}
    for step in range(SMOKE.steps):
        inputs_BL, _ = training_batch(corpus.train_N, **shape, seed=SMOKE.seed, step=step)
        for byte in inputs_BL.unique().tolist():
            first.setdefault(byte, step)
    return next(byte for byte, step in first.items() if step >= 4)


def test_the_windows_that_are_named_hold_the_cause(corpus, monkeypatch, tmp_path):
    byte = rare_byte(corpus)
    message = poisoned(monkeypatch, byte, corpus=corpus, out=tmp_path)
    step = int(re.search(r"diverged in step (\d+): loss nan, gradient norm nan; it saw windows", message)[1])
    assert step > 2
    texts = windows_of(message, corpus)
    assert len(texts) == SMOKE.batch_size
    assert any(byte in text for text in texts)
    kept = tmp_path / f"step-{(step - 1) // 2 * 2:06d}"
    assert (
        f"of the training part of excerpt; try a smaller learning rate; last checkpoint: {kept};" in message
    )
    monkeypatch.undo()
    assert train(SMOKE, corpus=corpus, resume=tmp_path).validation_bits_per_byte < 8


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_micro_batch_that_is_named_holds_the_cause(corpus, monkeypatch, precision):
    byte = rare_byte(corpus)
    message = poisoned(monkeypatch, byte, CUT.override(precision=precision), corpus=corpus)
    assert re.search(r"it saw micro-batch [1-4] of 4, windows of 32 tokens that start at", message)
    texts = windows_of(message, corpus)
    assert len(texts) == 2
    assert any(byte in text for text in texts)


def test_a_router_that_meets_nan_names_its_micro_batch(corpus, monkeypatch):
    original, calls = MoETransformer.forward, []

    def forward(self, tokens_BL, targets_BL=None):
        calls.append(len(tokens_BL))
        if len(calls) == 7:  # the third micro-batch of the second step
            self.moe_layers[0].router.weight.data.fill_(math.nan)
        return original(self, tokens_BL, targets_BL)

    monkeypatch.setattr(MoETransformer, "forward", forward)
    with pytest.raises(TrainingDiverged, match=r"step 2: .*NaN.*; it saw micro-batch 3 of 4, windows"):
        train(CUT, corpus=corpus)


def test_many_windows_are_not_all_listed(corpus, monkeypatch):
    message = poisoned(monkeypatch, ord("e"), SMOKE.override(batch_size=20), corpus=corpus)
    assert len(windows_of(message.replace(" and 12 more places", ""), corpus)) == 8
    assert " and 12 more places of the training part" in message


@pytest.fixture(scope="module")
def half_done(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("half")

    class Stop(Exception):
        pass

    def stop(record):
        if record.step == 5:
            raise Stop

    with pytest.raises(Stop):
        train(CUT, corpus=corpus, out=out, on_step=stop)
    return out


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"accumulation_steps": 2}, "accumulation_steps: 4 -> 2"),
        ({"balancing_scope": "sequence"}, "balancing_scope: global_batch -> sequence"),
        ({"precision": "fp32"}, "precision: fp16 -> fp32"),
        ({"compile": True}, "compile: False -> True"),
    ],
)
def test_a_changed_setting_is_refused_with_the_difference(
    half_done, corpus, monkeypatch, changes, difference
):
    monkeypatch.setattr(torch, "compile", lambda forward: forward)
    with pytest.raises(CheckpointError, match=f"another run; there -> here: {re.escape(difference)}; resume"):
        train(CUT.override(**changes), corpus=corpus, resume=half_done)


def test_checkpoints_from_before_these_settings_still_resume(corpus, tmp_path):
    whole = train(SMOKE, corpus=corpus)
    train(dataclasses.replace(SMOKE, steps=6), corpus=corpus, out=tmp_path)
    for path in tmp_path.glob("step-*/state.json"):
        state = json.loads(path.read_text())
        for name in (
            "accumulation_steps",
            "balancing_scope",
            "precision",
            "compile",
            "parallel",
            "tokenizer",
            "schedule",
            "schedule_start",
            "schedule_steps",
            "adam_eps",
            "held_out",
            "held_out_share",
            "repeats",
            "keep",
        ):
            del state["config"][name]
        for name in ("loss_scaler", "tokenizer_sha256", "best", "weights_from", "changes"):
            del state[name]
        del state["environment"]["ranks"]
        state["config"]["steps"] = SMOKE.steps
        path.write_text(json.dumps(state))
        old = TrainConfig.from_dict(state["config"])
        assert old == SMOKE
    # Six steps of a run of six have another learning rate than those of a run of twenty: compare the rest.
    resumed = train(SMOKE, corpus=corpus, resume=tmp_path)
    assert [record.step for record in resumed.history] == list(range(1, 21))
    assert resumed.validation_bits_per_byte == pytest.approx(whole.validation_bits_per_byte, rel=0.1)


@pytest.mark.parametrize(
    "content", ['{"imported_from": "my-model"}', '{"format": 1, "imported_from": "my-model"}']
)
def test_imported_weights_are_no_run(tmp_path, monkeypatch, content):
    checkpoint = tmp_path / "imported" / "step-000000"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text(content)
    monkeypatch.setattr(trainer, "load_corpus", None)  # it says so before anything is loaded
    with pytest.raises(CheckpointError) as caught:
        train(SMOKE, resume=tmp_path / "imported")
    message = str(caught.value)
    assert message.startswith(f"{checkpoint} holds weights imported from my-model, without optimizer state")
    assert f"let it write (moe-lessons generate --checkpoint {checkpoint.parent})" in message
    assert f"train its weights on (moe-lessons train --init-from {checkpoint.parent})" in message


def test_a_given_corpus_is_not_loaded_again_and_baselines_wait_to_be_asked(corpus, monkeypatch):
    monkeypatch.setattr(trainer, "load_corpus", None)
    fitted, original = [], trainer.bigram_bits_per_byte

    def fit(*arguments, **options):
        fitted.append(arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(trainer, "bigram_bits_per_byte", fit)
    result = train(SMOKE.override(steps=1), corpus=corpus)
    assert fitted == []
    assert 1 < result.bigram_bits_per_byte < result.unigram_bits_per_byte < 8
    assert result.bigram_bits_per_byte == result.bigram_bits_per_byte
    assert len(fitted) == 1


def test_what_is_compiled_is_the_forward_pass_alone(corpus, monkeypatch):
    compiled = []

    def compile_(forward):
        def counted(*arguments):
            compiled.append(arguments[0].shape)
            return forward(*arguments)

        return counted

    monkeypatch.setattr(torch, "compile", compile_)
    result = train(SMOKE.override(steps=2, compile=True), corpus=corpus)
    assert compiled == [(4, 32)] * 2
    assert type(result.model) is MoETransformer
    plain = train(SMOKE.override(steps=2), corpus=corpus)
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(tensor, result.model.state_dict()[name])
