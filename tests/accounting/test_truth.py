"""Every row of the table of published models, and numbers that people quote."""

import json
from pathlib import Path

import pytest

from moe_lessons.accounting import count, describe, published

TRUTH = json.loads(Path(__file__).with_name("parameter_truth.json").read_text())["models"]
CONVENTIONS = ("total", "active", "active_excl_input_embedding", "active_excl_embed_and_head")


@pytest.mark.parametrize("name", TRUTH)
def test_a_published_model_is_counted_exactly(name):
    model, row = describe(name), TRUTH[name]
    counted = count(model)
    assert [getattr(counted, key) for key in CONVENTIONS] == [row[key] for key in CONVENTIONS]
    if "components" in row:
        assert counted.components == row["components"]
        assert model.n_moe_layers == row["moe_layers"]
        assert {moe.expert_parameters for moe, _ in model.moes} == {row["parameters_per_expert"]}


def test_every_published_model_has_a_row_and_a_source():
    assert set(published()) == set(TRUTH)
    for known in published().values():
        assert any(mark in known.source for mark in ("arXiv:", "github.com/", "github.io/", "config.json")), (
            known.name
        )
        assert known.published_total
        assert known.published_active


def test_nothing_is_assumed_about_a_published_model():
    assert {name: describe(name).assumed for name in published() if describe(name).assumed} == {}


def test_mixtral_with_two_matrices_an_expert_is_the_error_people_make():
    mixtral = count(describe("Mixtral-8x7B"))
    two_matrices = mixtral.total - mixtral.components["routed_experts"] // 3
    assert round(two_matrices / 1e9, 1) == 31.7


def test_eight_times_seven_billion_is_not_the_total():
    mixtral, mistral = count(describe("Mixtral-8x7B")), count(describe("Mistral-7B"))
    assert round(mixtral.total / mistral.total, 2) == 6.45
    assert round(mixtral.active / mistral.total, 2) == 1.78


def test_the_conventions_of_publishers():
    assert round(count(describe("gpt-oss-20b")).active_excl_input_embedding / 1e9, 2) == 3.61
    assert round(count(describe("gpt-oss-120b")).active_excl_input_embedding / 1e9, 2) == 5.13
    assert round(count(describe("DeepSeek-V3")).active_excl_input_embedding / 1e9) == 37
    assert round(count(describe("Grok-1")).non_embedding / 1e9, 2) == 314.88
