import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import metrics
from moe_lessons.metrics import (
    LoadRecorder,
    coefficient_of_variation,
    dead_experts,
    drop_rate,
    effective_experts,
    entropy,
    inverse_simpson_experts,
    load_record,
    load_shares,
    max_over_mean,
    max_violation,
    routing_entropy,
)

OF_LOAD = (
    coefficient_of_variation,
    dead_experts,
    effective_experts,
    entropy,
    inverse_simpson_experts,
    max_over_mean,
    max_violation,
)


def test_balanced_and_collapsed_loads():
    balanced_E, collapsed_E = torch.full((8,), 5), torch.tensor([40, 0, 0, 0, 0, 0, 0, 0])
    expected = {
        entropy: (math.log(8), 0),
        effective_experts: (8, 1),
        inverse_simpson_experts: (8, 1),
        coefficient_of_variation: (0, math.sqrt(7)),
        max_violation: (0, 7),
        max_over_mean: (1, 8),
        dead_experts: (0, 7),
    }
    for metric, (balanced, collapsed) in expected.items():
        assert float(metric(balanced_E)) == pytest.approx(balanced, abs=1e-5), metric.__name__
        assert float(metric(collapsed_E)) == pytest.approx(collapsed, abs=1e-5), metric.__name__


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=1, max_size=13).filter(any), st.integers(2, 9))
def test_metrics_ignore_order_and_scale(load, factor):
    load_E = torch.tensor(load, dtype=torch.float64)
    for metric in OF_LOAD:
        value = metric(load_E)
        torch.testing.assert_close(metric(load_E.flip(0)), value)
        torch.testing.assert_close(metric(load_E * factor), value)
    assert float(load_shares(load_E).sum()) == pytest.approx(1)
    alive = len(load) - int(dead_experts(load_E))
    simpson, effective = float(inverse_simpson_experts(load_E)), float(effective_experts(load_E))
    assert 1 - 1e-9 <= simpson <= effective + 1e-9 <= alive + 1e-6
    spread = float(coefficient_of_variation(load_E))
    assert simpson == pytest.approx(len(load) / (1 + spread**2))


def test_a_cv_of_three_leaves_a_tenth_of_the_experts():
    load_E = torch.zeros(260)
    load_E[:26] = 1  # ten times the mean on a tenth of the experts: CV² = 10 - 1
    assert float(coefficient_of_variation(load_E)) == pytest.approx(3)
    assert float(inverse_simpson_experts(load_E)) == pytest.approx(26)


def test_layers_are_measured_one_by_one():
    load_LE = torch.tensor([[5, 5], [9, 1]])
    for metric in OF_LOAD:
        values_L = metric(load_LE)
        assert values_L.shape == (2,)
        torch.testing.assert_close(values_L[1], metric(load_LE[1]))


def test_an_empty_load_is_nan_and_all_dead():
    load_E = torch.zeros(4, dtype=torch.int64)
    assert entropy(load_E).isnan()
    assert max_violation(load_E).isnan()
    assert int(dead_experts(load_E)) == 4


def test_routing_entropy_is_the_mean_over_tokens():
    sure_E, unsure_E = torch.tensor([200.0, 0.0, 0.0, 0.0]), torch.zeros(4)
    assert float(routing_entropy(torch.stack([sure_E, unsure_E]))) == pytest.approx(math.log(4) / 2)
    assert routing_entropy(torch.zeros(2, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_counts_are_offered_here_too():
    assert metrics.tokens_per_expert(torch.tensor([[1], [1]]), 3).tolist() == [0, 2, 0]


def batches(n_batches=3, n_layers=2, n_tokens=6, n_experts=5, top_k=2):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(n_batches, n_layers, n_tokens, n_experts, generator=generator)
    return scores.topk(top_k, dim=-1).indices


def test_a_recorder_counts_what_a_loop_counts():
    ids_BLTK = batches()
    mask_T = torch.tensor([True, True, False, True, True, False])
    kept_BLTK = torch.rand(ids_BLTK.shape, generator=torch.Generator().manual_seed(1)) > 0.3
    recorder = LoadRecorder(2, 5)
    routed, kept = [[0] * 5 for _ in range(2)], [[0] * 5 for _ in range(2)]
    for ids_LTK, kept_LTK in zip(ids_BLTK, kept_BLTK, strict=True):
        of_batch_LE = recorder.add(list(ids_LTK), mask_T=mask_T, kept_by_layer=list(kept_LTK))
        assert int(of_batch_LE.sum()) == 2 * 4 * 2
        for layer in range(2):
            for token in range(6):
                for slot in range(2):
                    expert = int(ids_LTK[layer, token, slot])
                    routed[layer][expert] += bool(mask_T[token])
                    kept[layer][expert] += bool(mask_T[token] and kept_LTK[layer, token, slot])
    record = recorder.record()
    assert record["tokens_per_expert_by_layer"] == recorder.tokens_per_expert_LE.tolist() == routed
    dropped = [1 - sum(kept[layer]) / sum(routed[layer]) for layer in range(2)]
    assert record["drop_rate_by_layer"] == pytest.approx(dropped)
    assert record["drop_rate"] == pytest.approx(1 - sum(map(sum, kept)) / sum(map(sum, routed)))
    recorder.reset()
    assert int(recorder.tokens_per_expert_LE.sum()) == 0


def test_a_record_has_each_measure_by_layer_and_over_the_model():
    load_LE = torch.tensor([[6, 1, 1, 0], [2, 2, 2, 2]])
    record = load_record(load_LE)
    for name, measure in {
        "entropy_nats": entropy,
        "effective_experts": effective_experts,
        "inverse_simpson_experts": inverse_simpson_experts,
        "coefficient_of_variation": coefficient_of_variation,
        "max_over_mean": max_over_mean,
        "max_violation": max_violation,
    }.items():
        expected = [float(measure(load_E)) for load_E in load_LE]
        assert record[f"{name}_by_layer"] == pytest.approx(expected)
        assert record[name] == pytest.approx(sum(expected) / 2)
    assert (record["dead_experts_by_layer"], record["dead_experts"]) == ([1, 0], 1)
    assert (record["drop_rate_by_layer"], record["drop_rate"]) == ([0, 0], 0)
    assert json.loads(json.dumps(record)) == record


def test_layers_that_collapse_apart_look_even_when_pooled_and_not_in_a_record():
    load_LE = 100 * torch.eye(8, dtype=torch.int64)
    assert float(effective_experts(load_LE.sum(0))) == pytest.approx(8)
    record = load_record(load_LE)
    assert record["effective_experts"] == pytest.approx(1)
    assert record["dead_experts"] == 56


def test_an_empty_record_has_none_where_nothing_is_defined():
    record = LoadRecorder(2, 3).record()
    assert record["load_shares_by_layer"] == [[None] * 3] * 2
    assert record["effective_experts"] is record["drop_rate"] is None
    assert record["dead_experts"] == 6
    assert "NaN" not in json.dumps(record)


def test_a_load_that_swings_is_even_over_time_and_never_in_a_batch():
    recorder = LoadRecorder(1, 2)
    for expert in (0, 1, 0, 1):
        recorder.add([torch.full((5, 1), expert)])
    recorder.add([torch.zeros(5, 1).long()], mask_T=torch.zeros(5, dtype=torch.bool))  # no batch at all
    record = recorder.record()
    assert record["max_violation_by_layer"] == [0]
    assert record["batch_max_violation_by_layer"] == [1]
    assert record["batch_max_violation"] == 1
    recorder.reset()
    recorder.add([torch.tensor([[0], [1], [1], [1]])])
    assert recorder.record()["batch_max_violation"] == pytest.approx(0.5)


def test_drop_rate_of_several_layers():
    routed_LE, kept_LE = torch.tensor([[6, 2], [4, 4]]), torch.tensor([[4, 2], [4, 4]])
    assert drop_rate(routed_LE, kept_LE).tolist() == [0.25, 0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: load_record(torch.tensor([1, 2])),
            r"tokens_per_expert_LE has shape \(2,\): give \(layers, E",
        ),
        (lambda: load_record(torch.ones(1, 2), torch.ones(1, 3)), r"kept_per_expert_LE has shape \(1, 3\)"),
        (
            lambda: LoadRecorder(2, 3).add([torch.zeros(1, 1)]),
            "topk_ids_by_layer has 1 entries: give one for",
        ),
        (
            lambda: LoadRecorder(1, 3).add([torch.zeros(1, 1).long()], kept_by_layer=[]),
            "kept_by_layer has 0 entries",
        ),
    ],
)
def test_bad_arguments_get_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
