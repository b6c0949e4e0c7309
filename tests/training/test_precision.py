"""fp16's loss scale, on the CPU: an overflow skips the step and backs off, NaN stops, checkpoints have it."""

import dataclasses
import json
import math

import pytest
import torch

from moe_lessons.config import preset
from moe_lessons.model import MoETransformer
from moe_lessons.training import TrainingDiverged, precision, run, train
from moe_lessons.training.precision import MOST_SKIPPED, LossScaler, autocast, resolve
from moe_lessons.training.run import Run

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SMOKE = dataclasses.replace(preset("smoke"), log_every=1)
FP16 = SMOKE.override(precision="fp16")


def state_of(run):
    """Everything that a step may change, copied."""
    moments = [
        tensor.clone()
        for values in run.optimizer.state_dict()["state"].values()
        for tensor in values.values()
    ]
    return [tensor.clone() for tensor in run.model.state_dict().values()] + moments


def start_at(monkeypatch, scale):
    original = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *a, **k: original(*a, init_scale=scale, **k))


def same(ours, theirs):
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


@pytest.fixture
def older_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")


def test_what_auto_is(monkeypatch, older_gpu):
    assert resolve("auto", CPU) == "fp32"
    assert resolve("auto", CUDA) == "fp32"
    assert resolve("fp16", CUDA) == "fp16"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert resolve("auto", CUDA) == "bf16"
    with pytest.raises(ValueError, match=r"^precision='fp8': choose one of auto, fp32, bf16, fp16$"):
        resolve("fp8", CPU)


def test_an_older_gpu_is_not_asked_to_imitate_bf16(older_gpu):
    with pytest.raises(ValueError, match=r"^precision='bf16': Tesla T4 would only imitate it; choose fp16"):
        resolve("bf16", CUDA)


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_products_are_narrow_and_all_else_is_not(name, dtype):
    model = MoETransformer(SMOKE.model, generator=torch.Generator().manual_seed(0))
    with autocast(name, CPU):
        output = model(torch.arange(32).view(1, 32), torch.arange(32).view(1, 32))
    assert output.logits_BLV.dtype == dtype
    assert output.loss.dtype == output.routings[0].logits_TE.dtype == torch.float32
    output.loss.backward()
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}


def test_narrow_training_follows_that_in_fp32(corpus):
    bits = {
        name: train(SMOKE.override(precision=name, steps=12), corpus=corpus).validation_bits_per_byte
        for name in ("fp32", "bf16", "fp16")
    }
    assert bits["fp32"] == train(SMOKE.override(steps=12), corpus=corpus).validation_bits_per_byte
    for name in ("bf16", "fp16"):
        assert bits[name] != bits["fp32"]
        assert bits[name] == pytest.approx(bits["fp32"], abs=0.05)


def test_gradients_are_unscaled_before_they_are_clipped(corpus):
    norms = [
        train(SMOKE.override(precision=name, steps=2), corpus=corpus).history[0].gradient_norm
        for name in ("fp32", "fp16")
    ]
    assert norms[1] == pytest.approx(norms[0], rel=0.01)


def test_an_overflow_skips_the_step_and_halves_the_scale(corpus, monkeypatch):
    start_at(monkeypatch, 2.0**24)
    run = Run(FP16.override(gate="sigmoid", balancing="bias_sign"), corpus, CPU)
    before, n_skipped = state_of(run), 0
    while True:
        run.advance()
        if not run.scaler.skipped_in_a_row:
            break
        n_skipped += 1
        assert same(state_of(run), before)
        assert run.scaler.current == 2.0 ** (24 - n_skipped)
        assert run.step == n_skipped  # the batch is gone by
        assert all(parameter.grad is None for parameter in run.model.parameters())
    assert 1 <= n_skipped < MOST_SKIPPED
    assert not same(state_of(run), before)


def test_skipped_steps_are_counted_in_the_log(corpus, monkeypatch):
    start_at(monkeypatch, 2.0**24)
    history = train(FP16, corpus=corpus).history
    skipped = [record.skipped_steps for record in history]
    assert skipped[0] == 1
    assert skipped == sorted(skipped, reverse=True)
    assert history[-1].loss_scale == 2.0 ** (24 - sum(skipped))
    assert all(math.isfinite(record.gradient_norm) for record in history)
    assert history[-1].train_bits_per_byte < history[0].train_bits_per_byte - 0.2
    assert train(SMOKE.override(steps=1), corpus=corpus).history[0].loss_scale is None


def test_many_skipped_steps_in_a_row_stop_the_run(corpus, monkeypatch, tmp_path):
    start_at(monkeypatch, 2.0**60)
    config = dataclasses.replace(FP16, checkpoint_every=5)
    with pytest.raises(TrainingDiverged) as caught:
        train(config, corpus=corpus, out=tmp_path)
    message = str(caught.value)
    assert f"diverged in step {MOST_SKIPPED + 1}: loss 5." in message
    assert f", after {MOST_SKIPPED} skipped steps in a row; it saw windows" in message
    assert f"last checkpoint: {tmp_path / 'step-000010'}" in message


def test_one_good_step_ends_the_row():
    scaler = LossScaler("fp16", CPU)
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    for gradient in (math.inf, math.inf, 2.0 ** (16 - 2)):
        parameter.grad = torch.tensor([gradient])
        scaler.scale(torch.ones(()))
        scaler.unscale(optimizer)
        if math.isfinite(gradient):
            scaler.step(optimizer)
        else:
            scaler.skip()
            assert parameter.item() == 1.0
    assert scaler.skipped_in_a_row == 0
    assert parameter.item() == 0.0  # the gradient was 1, times the scale of 2**14


def test_a_loss_that_is_not_a_number_is_no_matter_of_scale(corpus, monkeypatch):
    original = MoETransformer.forward

    def forward(self, tokens_BL, targets_BL=None):
        output = original(self, tokens_BL, targets_BL)
        return output._replace(loss=output.loss * math.nan) if self.training else output

    monkeypatch.setattr(MoETransformer, "forward", forward)
    with pytest.raises(TrainingDiverged, match=r"diverged in step 1: loss nan, gradient norm nan; it saw"):
        train(FP16, corpus=corpus)


def test_a_resumed_run_has_the_scale_bit_for_bit(corpus, monkeypatch, tmp_path):
    class Stop(Exception):
        pass

    def stop(record):
        if record.step == 7:
            raise Stop

    start_at(monkeypatch, 2.0**24)
    config = dataclasses.replace(FP16, checkpoint_every=3)
    whole = train(config, corpus=corpus, out=tmp_path / "whole")
    with pytest.raises(Stop):
        train(config, corpus=corpus, out=tmp_path / "stopped", on_step=stop)
    monkeypatch.undo()  # a new scaler would begin elsewhere
    kept = json.loads((tmp_path / "stopped" / "step-000006" / "state.json").read_text())["loss_scaler"]
    assert kept["scale"] == whole.history[5].loss_scale < 2.0**24
    resumed = train(config, corpus=corpus, resume=tmp_path / "stopped")
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert [r.loss_scale for r in resumed.history] == [r.loss_scale for r in whole.history]


def test_without_fp16_there_is_nothing_to_keep():
    scaler = LossScaler("bf16", CPU)
    assert scaler.state_dict() == {}
    assert scaler.current is None
    assert not scaler.may_skip
    scaler.load_state_dict({})
    fp16 = LossScaler("fp16", CPU)
    scaler.load_state_dict(fp16.state_dict())
    assert scaler.scale(torch.tensor(3.0)).item() == 3.0
    assert precision.DTYPES.keys() == {"fp32", "bf16", "fp16"}


def test_shards_of_gradients_cannot_agree_on_a_scale(corpus, monkeypatch):
    def cut(model, ranks, parallel, ep_size):
        next(model.parameters()).full_tensor = None
        return model

    monkeypatch.setattr(run, "wrap", cut)
    assert Run(SMOKE, corpus, CPU).precision == "fp32"
    with pytest.raises(ValueError, match=r"^precision='fp16' with parallel='fsdp': .*; choose ddp"):
        Run(FP16.override(parallel="fsdp"), corpus, CPU)
