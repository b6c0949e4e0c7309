import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import metrics
from moe_lessons.metrics import (
    coefficient_of_variation,
    dead_experts,
    effective_experts,
    entropy,
    inverse_simpson_experts,
    load_shares,
    max_violation,
    routing_entropy,
)

OF_LOAD = (
    coefficient_of_variation,
    dead_experts,
    effective_experts,
    entropy,
    inverse_simpson_experts,
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
