"""Balancing inside training: the bias follows past loads, is saved, and steers nothing but the choice."""

import dataclasses
import json

import pytest
import torch
from click.testing import CliRunner

from moe_lessons.balancing import UPDATES, quantile_bias
from moe_lessons.commands.cli import main
from moe_lessons.config import ModelConfig, TrainConfig, preset
from moe_lessons.model import MoETransformer
from moe_lessons.training import run as running
from moe_lessons.training import train
from moe_lessons.training.checkpoint import CheckpointError, load_model
from moe_lessons.training.objective import router_losses, update_expert_bias
from moe_lessons.training.runlog import StepRecord, read_log

SMOKE = dataclasses.replace(preset("smoke"), log_every=1)


def biased(balancing, gate="sigmoid", **changes):
    return SMOKE.override(balancing=balancing, gate=gate, bias_rate=0.01, **changes)


def weights(result):
    return {name: tensor.clone() for name, tensor in result.model.state_dict().items()}


def biases(result):
    """One (layers, E) per step, as the log has them."""
    return [torch.tensor(record.expert_bias_by_layer) for record in result.history]


@pytest.fixture(scope="module")
def sign_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("sign")
    return train(biased("bias_sign"), out=out), out


@pytest.mark.parametrize("balancing", ["bias_sign", "bias_proportional", "bias_ema"])
def test_each_step_applies_the_rule_to_its_own_load(balancing, sign_run):
    result = sign_run[0] if balancing == "bias_sign" else train(biased(balancing))
    before_LE = torch.zeros(2, 8)
    for record, bias_LE in zip(result.history, biases(result), strict=True):
        shares_LE = torch.tensor(record.load_shares_by_layer)
        # In rows, so that an expert at the mean is exactly there: 4 * 32 tokens, K = 2, 8 experts.
        counts_LE = (shares_LE * 256).round().long()
        expected_LE = UPDATES[balancing.removeprefix("bias_")](before_LE, counts_LE, 0.01)
        torch.testing.assert_close(bias_LE, expected_LE)
        before_LE = bias_LE
    assert float(before_LE.abs().max()) > 0.001


@pytest.mark.parametrize("gate", ["sigmoid", "sqrt_softplus", "softmax_topk", "softmax_topk_renorm"])
def test_the_quantile_rule_takes_the_scores_of_the_gate(gate):
    config = biased("bias_quantile", gate=gate)
    model = MoETransformer(config.model, generator=torch.Generator().manual_seed(0))
    output = model(torch.arange(32).reshape(1, 32))
    update_expert_bias(model, output.routings, config)
    for moe, routing in zip(model.moe_layers, output.routings, strict=True):
        logits_TE = routing.logits_TE.detach()
        scores_TE = {
            "sigmoid": logits_TE.sigmoid(),
            "sqrt_softplus": (1 + logits_TE.exp()).log().sqrt(),
        }.get(gate, logits_TE.softmax(1))
        torch.testing.assert_close(moe.router.expert_bias_E, quantile_bias(scores_TE, 2, iterations=1))


def test_a_bias_knows_the_past_only(sign_run, monkeypatch):
    original = running.training_batch

    def other_from_step_ten(train_N, *, step, **options):
        return original(train_N, step=step if step < 10 else step + 1000, **options)

    monkeypatch.setattr(running, "training_batch", other_from_step_ten)
    other = biases(train(biased("bias_sign")))
    same = [torch.equal(ours, theirs) for ours, theirs in zip(biases(sign_run[0]), other, strict=True)]
    assert same[:10] == [True] * 10  # the bias that routes the changed tokens of the eleventh step included
    assert not all(same[10:])


@pytest.mark.parametrize("gate", ["sigmoid", "softmax_topk_renorm"])
def test_with_a_bias_no_token_changes_what_came_before_it(gate):
    model = MoETransformer(biased("bias_sign", gate=gate).model, generator=torch.Generator().manual_seed(0))
    for moe in model.moe_layers:
        moe.router.expert_bias_E.copy_(torch.linspace(-0.1, 0.1, 8))
    tokens_BL = torch.arange(32).reshape(1, 32)
    changed_BL = tokens_BL.clone()
    changed_BL[0, -1] = 200
    with torch.no_grad():
        ours, theirs = model(tokens_BL), model(changed_BL)
    torch.testing.assert_close(ours.logits_BLV[:, :-1], theirs.logits_BLV[:, :-1])
    assert not torch.allclose(ours.logits_BLV[:, -1], theirs.logits_BLV[:, -1])
    for one, other in zip(ours.routings, theirs.routings, strict=True):
        assert torch.equal(one.topk_ids_TK[:-1], other.topk_ids_TK[:-1])


def test_a_resumed_run_has_the_bias_bit_for_bit(sign_run, tmp_path):
    whole, out = sign_run
    config = dataclasses.replace(biased("bias_sign"), checkpoint_every=10)

    class Stop(Exception):
        pass

    def stop(record):
        if record.step == 13:
            raise Stop

    with pytest.raises(Stop):
        train(config, out=tmp_path, on_step=stop)
    resumed = train(config, resume=tmp_path)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name
    assert [torch.equal(*pair) for pair in zip(biases(whole), biases(resumed), strict=True)] == [True] * 20
    model, _ = load_model(out)
    for moe, expected in zip(model.moe_layers, whole.model.moe_layers, strict=True):
        assert torch.equal(moe.router.expert_bias_E, expected.router.expert_bias_E)
        assert bool((moe.router.expert_bias_E != 0).any())


def test_the_bias_is_no_parameter_and_evaluation_leaves_it_alone(sign_run):
    result, _ = sign_run
    assert not [name for name, _ in result.model.named_parameters() if "bias" in name]
    assert "blocks.0.moe.router.expert_bias_E" in result.model.state_dict()
    evaluated = train(dataclasses.replace(biased("bias_sign"), evaluate_every=3))
    assert torch.equal(biases(result)[-1], biases(evaluated)[-1])


def test_the_loss_counts_only_where_it_is_asked_for():
    heavy = {"alpha": 1.0, "steps": 5}
    loss = train(SMOKE.override(**heavy))
    none = train(SMOKE.override(balancing="none", **heavy))
    weightless = train(SMOKE.override(alpha=0.0, steps=5))
    bias = train(biased("bias_sign", **heavy).override(bias_rate=0.0))
    bias_weightless = train(biased("bias_sign", alpha=0.0, steps=5).override(bias_rate=0.0))
    for ours, theirs, same in ((none, weightless, True), (none, loss, False), (bias, bias_weightless, True)):
        router = "blocks.1.moe.router.weight"
        assert torch.equal(weights(ours)[router], weights(theirs)[router]) is same
    assert none.history[0].expert_bias_by_layer == []


def test_the_loss_takes_its_probabilities_from_the_gates_own_scores():
    model = MoETransformer(biased("bias_sign").model, generator=torch.Generator().manual_seed(0))
    routings = model(torch.arange(32).reshape(1, 32)).routings
    softmax, sigmoid = (router_losses(routings, gate).load_balancing for gate in ("topk_softmax", "sigmoid"))
    assert torch.equal(router_losses(routings).load_balancing, softmax)
    assert abs((softmax - sigmoid).item()) > 1e-3


@pytest.mark.slow
def test_a_bias_evens_out_a_load_that_leans(sign_run):
    """All layers start with a router that prefers two experts."""

    def unevenness(balancing):
        with pytest.MonkeyPatch.context() as patch:
            initialize = MoETransformer.initialize

            def lean(self, generator=None):
                initialize(self, generator)
                for moe in self.moe_layers:
                    moe.router.weight.data[:2] *= 8

            patch.setattr(MoETransformer, "initialize", lean)
            config = biased(balancing, steps=60, learning_rate=1e-6)
            last = train(dataclasses.replace(config, bias_rate=0.02, log_every=20)).history[-1]
        return sum(last.max_violation_by_layer) / 2

    assert unevenness("none") > 0.5
    assert unevenness("bias_sign") < 0.6 * unevenness("none")
    assert unevenness("bias_quantile") < 0.6 * unevenness("none")


def test_settings_that_do_not_fit_together():
    with pytest.raises(ValueError, match=r"^balancing=bias: choose one of none, aux_loss, bias_sign"):
        SMOKE.override(balancing="bias")
    with pytest.raises(ValueError, match=r"^balancing=bias_sign: give the model expert_bias=True"):
        TrainConfig(balancing="bias_sign")
    with pytest.raises(ValueError, match=r"^bias_rate=-0.1: choose 0 or more$"):
        SMOKE.override(bias_rate=-0.1)
    with pytest.raises(
        ValueError, match=r"gate is 'topk_softmax': with an expert bias choose one of sigmoid"
    ):
        train(SMOKE.override(balancing="bias_sign"))
    assert SMOKE.balancing == "aux_loss"
    assert not SMOKE.override(balancing="bias_sign").override(balancing="none").model.expert_bias
    plain = MoETransformer(SMOKE.model)
    routings = plain(torch.arange(4).reshape(1, 4)).routings
    with pytest.raises(ValueError, match="build the model with expert_bias=True"):
        update_expert_bias(plain, routings, biased("bias_sign"))
    update_expert_bias(plain, routings, SMOKE)  # nothing to do


def test_runs_from_before_the_bias_go_on(tmp_path):
    config = SMOKE.override(steps=10)
    train(config, out=tmp_path)
    state = json.loads((tmp_path / "step-000010" / "state.json").read_text())
    for name in ("balancing", "bias_rate"):
        del state["config"][name]
    del state["config"]["model"]["expert_bias"]
    (tmp_path / "step-000010" / "state.json").write_text(json.dumps(state))
    log = tmp_path / "log.jsonl"
    younger = {
        "max_violation_by_layer",
        "batch_max_violation_by_layer",
        "dead_experts_by_layer",
        "expert_bias_by_layer",
    }
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    old = [{name: value for name, value in line.items() if name not in younger} for line in lines]
    log.write_text("".join(json.dumps(line) + "\n" for line in old))
    assert len(read_log(log)) == 10
    assert len(train(config, resume=tmp_path).history) == 10
    with pytest.raises(CheckpointError, match=r"balancing: aux_loss -> none"):
        train(config.override(balancing="none"), resume=tmp_path)


def test_a_record_says_what_it_says():
    names = {field.name for field in dataclasses.fields(StepRecord)}
    record = train(biased("bias_sign", steps=1)).history[0]
    assert set(json.loads(json.dumps(dataclasses.asdict(record)))) == names
    for shares, violation, dead in zip(
        record.load_shares_by_layer, record.max_violation_by_layer, record.dead_experts_by_layer, strict=True
    ):
        assert violation == pytest.approx(8 * max(shares) - 1, abs=1e-5)
        assert dead == shares.count(0)
    assert record.batch_max_violation_by_layer == pytest.approx(record.max_violation_by_layer)  # one step
    for record in train(dataclasses.replace(SMOKE, log_every=5)).history:
        # The mean of the maxima is at least the maximum of the means; equal if one expert is always fullest.
        pairs = zip(record.batch_max_violation_by_layer, record.max_violation_by_layer, strict=True)
        assert all(batch > interval - 1e-5 for batch, interval in pairs)


def test_the_command_line_takes_a_bias(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = ["train", "--preset", "smoke", "--steps", "5", "--balancing", "bias_sign", "--bias-rate", "0.01"]
    assert CliRunner().invoke(main, [*base, "--gate", "sigmoid"]).exit_code == 0
    log = read_log(tmp_path / "runs" / "smoke" / "log.jsonl")
    assert 0.009 < max(map(max, log[-1].expert_bias_by_layer)) < 0.051  # 5 steps of 0.01
    refused = CliRunner().invoke(main, base)
    assert refused.exit_code == 2
    assert "with an expert bias choose one of sigmoid" in refused.stderr
    assert "bias_sign" in CliRunner().invoke(main, ["train", "--help"]).output


def test_a_model_without_a_bias_has_nothing_more_to_save():
    names = MoETransformer(ModelConfig()).state_dict()
    assert not [name for name in names if "bias" in name]
