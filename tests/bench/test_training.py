"""Benchmarks of training: fair turns, equal models, and where curves cross."""

import importlib.util
import json

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.bench import training
from moe_lessons.bench.dense import EQUAL_ACTIVE, EQUAL_TOTAL, MOE, compare, crossings, height, variants
from moe_lessons.bench.turns import ratios, take_turns
from moe_lessons.build import paths
from moe_lessons.config import TrainConfig, preset
from moe_lessons.model import MoETransformer, parameter_counts

CPU = torch.device("cpu")
SMOKE = preset("smoke")


def script(name):
    spec = importlib.util.spec_from_file_location(name, paths.ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def batch(config=SMOKE):
    generator = torch.Generator().manual_seed(0)
    shape = config.batch_size, config.model.context_length
    return tuple(torch.randint(config.model.vocab_size, shape, generator=generator) for _ in range(2))


@pytest.mark.slow
def test_everybody_once_a_round_in_changing_order():
    seen = []
    turns = {name: (lambda number, name=name: seen.append((number, name))) for name in "abc"}
    seconds = take_turns(turns, 6, warm_up=2)
    rounds = [[name for number, name in seen if number == wanted] for wanted in range(-2, 6)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1
    assert {len(samples) for samples in seconds.values()} == {6}


def test_a_slow_round_cancels():
    slow = [1.0, 1.0, 50.0, 1.0]
    assert ratios([2 * s for s in slow], slow) == {"median": 2.0, "q1": 2.0, "q3": 2.0}


def test_dense_variants_have_as_many_parameters():
    counts = {
        name: parameter_counts(MoETransformer(run.model)) for name, run in variants(TrainConfig()).items()
    }
    routers = 4 * 128 * (8 - 1)  # one logit is left of eight
    assert counts[EQUAL_ACTIVE][0] == counts[MOE][1] - routers
    assert counts[EQUAL_TOTAL][0] == counts[MOE][0] - routers
    assert all(run.seed == 0 and run.steps == 1700 for run in variants(TrainConfig()).values())


def test_peers_compute_what_we_do():
    pytest.importorskip("transformers")
    trainees, absent = training.contestants(SMOKE, CPU)
    assert set(training.PEERS) <= set(trainees)
    assert not absent
    differences = training.check(trainees, *batch())
    assert set(differences) == set(training.PEERS)
    before = trainees[training.OURS].model.head.weight.clone()
    for trainee in trainees.values():
        trainee.step(*batch())
    assert not torch.equal(trainees[training.OURS].model.head.weight, before)
    # After the same step, they are still the same.
    training.check(trainees, *batch())


def test_another_model_is_refused():
    pytest.importorskip("transformers")
    trainees, _ = training.contestants(SMOKE, CPU)
    with torch.no_grad():
        trainees["hf_eager"].model.lm_head.weight[3, 3] += 0.01
    with pytest.raises(ValueError, match=r"hf_eager: logits differ by .*; nothing is reported"):
        training.check(trainees, *batch())


def test_products_of_torch():
    ours, torchs = training.dense(SMOKE, CPU), training.dense(SMOKE, CPU, products="torch")
    assert {type(m) for m in torchs.model.modules()}.isdisjoint({training.Linear, training.FeedForward})
    torch.testing.assert_close(ours.loss(*batch()), torchs.loss(*batch()))


@given(st.floats(0.1, 0.9), st.floats(0.1, 3.0))
def test_lines_cross_where_they_do(place, slope):
    found = crossings([0, 1], [-slope * place, slope * (1 - place)], [0, 0.5, 1], [0.0, 0.0, 0.0])
    assert found == pytest.approx([place], abs=1e-9)


def test_curves_that_touch_do_not_cross():
    assert crossings([0, 1, 2], [1.0, 0.0, 1.0], [0, 2], [0.0, 0.0]) == []
    assert crossings([0, 1, 2, 3], [1.0, 0.0, 0.0, -1.0], [0, 3], [0.0, 0.0]) != []
    with pytest.raises(ValueError, match=r"at=3: choose a place from 0 to 2"):
        height([0, 2], [1.0, 1.0], 3)


def test_compare_reads_each_seed_at_the_last_common_place():
    a = {"x": {"step": [1, 3]}, "validation_bits_per_byte": [[4.0, 2.0], [6.0, 2.0]]}
    b = {"x": {"step": [1, 2]}, "validation_bits_per_byte": [[5.0, 2.0], [5.0, 2.0]]}
    found = compare(a, b, "step")
    assert found == {"axis": "step", "crossings": [], "at": 2, "difference": [-1.0, -2.0]}
    later = {**b, "x": {"step": [4, 5]}}
    assert compare(a, later, "step") == {"axis": "step", "crossings": [], "at": None, "difference": []}


@pytest.fixture
def text(tmp_path):
    """A corpus that is quickly read and quickly evaluated."""
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{number} is followed by {number + 1}. " for number in range(200)))
    return path


def test_train_step_script(tmp_path, text, monkeypatch):
    pytest.importorskip("transformers")
    module = script("train_step")
    monkeypatch.setattr(module, "CPU_SIZES", {"tiny": SMOKE.override(corpus=str(text))})
    out = tmp_path / "result.json"
    done = CliRunner().invoke(module.main, ["--device", "cpu", "--rounds", "3", "--out", str(out)])
    assert done.exit_code == 0, done.output
    (row,) = json.loads(out.read_text())["rows"]
    assert row["best_peer"] in training.PEERS
    assert row["contestants"]["hf_eager"]["logits_differ_by"] < 1e-5
    assert row["time_over_dense"]["median"] > 0


@pytest.mark.slow
def test_dense_vs_moe_script(tmp_path, text, monkeypatch):
    module = script("dense_vs_moe")
    monkeypatch.setattr(module, "BUDGETS", {"tiny": SMOKE.override(**module.CONSTANT, corpus=str(text))})
    monkeypatch.setattr(module, "LEARNING_RATES", (1e-3,))
    monkeypatch.setattr(module, "MOST_RATES", 2)
    out = tmp_path / "result.json"
    done = CliRunner().invoke(
        module.main, ["--quick", "--steps", "2", "--budgets", "tiny", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())["budgets"]["tiny"]
    assert found["tuning_steps"] == found["steps"][-1]
    for name, rates in found["tuning"].items():
        assert len(rates) == 2
        assert rates[f"{found['variants'][name]['learning_rate']:g}"] == min(rates.values())
    assert found["epochs"] < 4
    for one in found["variants"].values():
        assert len(one["validation_bits_per_byte"]) == len(found["seeds"]) == 2
        assert all(len(losses) == len(found["steps"]) for losses in one["validation_bits_per_byte"])
        assert {len(places) for places in one["x"].values()} == {len(found["steps"])}
    assert {(one["and"], one["axis"]) for one in found["crossings"]} == {
        (name, axis) for name in (EQUAL_ACTIVE, EQUAL_TOTAL) for axis in module.AXES
    }


def test_the_best_rate_has_a_worse_one_on_either_side(monkeypatch):
    module = script("dense_vs_moe")
    monkeypatch.setattr(module, "LEARNING_RATES", (2.0, 4.0, 8.0))

    def rates_tried(best):
        tried = []

        def loss(config):
            tried.append(config.learning_rate)
            assert (config.steps, config.seed) == (7, module.TUNING_SEED)
            return [abs(config.learning_rate - best)], {}

        monkeypatch.setattr(module, "curve", loss)
        assert list(module.tuned(SMOKE.override(steps=7))) == sorted(tried)
        return sorted(tried)

    assert rates_tried(4.0) == [2, 4, 8]
    assert rates_tried(0.5) == [0.25, 0.5, 1, 2, 4, 8]
    assert rates_tried(16.0) == [2, 4, 8, 16, 32]
    assert len(rates_tried(1e9)) == module.MOST_RATES
