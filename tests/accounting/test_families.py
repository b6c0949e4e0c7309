"""Every family that transformers has: the closed form against the model on the meta device, part by part."""

import dataclasses

import fuzz
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import build, components, config_of

from moe_lessons.accounting import FAMILIES, count, describe, published

NOT_IN_TRANSFORMERS = {"grok-1"}


def test_every_family_is_drawn():
    mutated = {fuzz.text_class(family).model_type for family in fuzz.FAMILIES}
    assert set(strategies.CONFIGS) | mutated == set(FAMILIES) - NOT_IN_TRANSFORMERS


@pytest.mark.parametrize("family", strategies.CONFIGS)
@settings(max_examples=10, deadline=None)
@given(st.data())
def test_drawn_configs_are_counted_as_they_are_built(family, data):
    values = data.draw(strategies.CONFIGS[family])
    config = config_of(values)
    model = build(config)
    described = describe(values)
    assert count(described).components == components(model)
    assert count(described).total == sum(p.numel() for p in model.parameters())
    same = describe(config)
    assert (same.layers, same.tied, same.head_bias) == (described.layers, described.tied, described.head_bias)


# Thousands of expert modules take minutes to build; fewer experts make the same layers.
FEWER_EXPERTS = {"Switch-C-2048": 2, "Switch-Base-256": 4, "Switch-Base-128": 4, "Switch-Base-64": 4}


@pytest.mark.parametrize("name", [n for n, m in published().items() if m.config["model_type"] != "grok-1"])
def test_published_configs_are_counted_as_they_are_built(name):
    values = dict(published()[name].config)
    if name in FEWER_EXPERTS:
        values["num_experts"] = FEWER_EXPERTS[name]
    if "zero_expert_num" in values:
        values["zero_expert_num"] = 0  # transformers 5.23.0 allocates two matrices for each of them
    assert count(describe(values)).components == components(build(config_of(values)))


def test_experts_that_do_nothing_cost_router_rows_only():
    values = dict(published()["LongCat-Flash"].config)
    with_zero = count(describe(values)).components
    without = count(describe(values | {"zero_expert_num": 0})).components
    rows = values["num_layers"] * values["zero_expert_num"] * values["hidden_size"]
    assert with_zero == without | {"router": without["router"] + rows}


def test_a_description_of_a_description_is_itself():
    model = describe("Mixtral-8x7B")
    assert describe(model) is model
    assert dataclasses.replace(model, name="") != model
