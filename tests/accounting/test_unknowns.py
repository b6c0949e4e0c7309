"""Two rounded numbers, a dense twin of the same speed, and the order of a hybrid's layers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.accounting import ConfigError, count, decode_read_bytes, describe, published
from moe_lessons.accounting.layer_pattern import layer_string
from moe_lessons.accounting.unknowns import same_speed, two_numbers


@given(st.floats(0.1, 50), st.floats(0, 100), st.integers(2, 300), st.data())
def test_whatever_was_rounded_lies_inside(expert, rest, n_experts, data):
    top_k = data.draw(st.integers(1, n_experts - 1))
    unit = data.draw(st.sampled_from([0.01, 0.1, 1.0, 10.0]))
    total, active = (round((rest + n * expert) / unit) * unit for n in (n_experts, top_k))
    if 0 < active <= total:
        said = two_numbers(total, active, unit, n_experts, top_k)
        assert said.possible
        assert said.expert[0] - 1e-6 <= expert <= said.expert[1] + 1e-6
        assert said.rest[0] - 1e-6 <= rest <= said.rest[1] + 1e-6


@given(st.floats(10, 1000), st.floats(1, 9), st.integers(3, 64))
def test_a_finer_unit_lies_inside_a_coarser_one(total, active, n_experts):
    fine, coarse = (two_numbers(total, active, unit, n_experts, 2) for unit in (0.1, 1.0))
    for one, other in zip(fine[:2], coarse[:2], strict=True):
        assert other[0] <= one[0] <= one[1] <= other[1]


def config_numbers(name):
    model = describe(name)
    expert = sum(times * moe.expert_parameters for moe, times in model.moes) / 1e9
    rest = count(model).total / 1e9 - model.moes[0][0].n_experts * expert
    table = 0.0 if model.tied else model.vocab_size * model.d_model / 1e9
    return model.moes[0][0], expert, rest, table


PUBLISHED = [  # total, active and the unit they are given in, in billions
    ("Mixtral-8x7B", 46.7, 12.9, 0.1, False),
    ("Mixtral-8x22B", 141, 39, 1, False),
    ("Qwen3-30B-A3B", 30.5, 3.3, 0.1, False),
    ("DeepSeek-V3", 671, 37, 1, True),  # 37 leaves the input embedding out
    ("Qwen3-235B-A22B", 235, 22, 1, False),
]


@pytest.mark.parametrize(("name", "total", "active", "unit", "without_table"), PUBLISHED)
def test_published_numbers_contain_their_config(name, total, active, unit, without_table):
    moe, expert, rest, table = config_numbers(name)
    said = two_numbers(total, active, unit, moe.n_experts, moe.top_k)
    # What is left out of the active number is missing from the rest by E / (E - K) of itself.
    shift = table if without_table else 0.0
    e, k = moe.n_experts, moe.top_k
    assert said.possible
    assert said.expert[0] <= expert + shift / (e - k) <= said.expert[1]
    assert said.rest[0] <= rest - shift * e / (e - k) <= said.rest[1]


@pytest.mark.parametrize("active", [86, 78.5])
def test_neither_number_that_is_told_of_grok_fits_its_code(active):
    moe, expert, rest, table = config_numbers("Grok-1")
    said = two_numbers(314, active, 1, moe.n_experts, moe.top_k)
    for left_out in (0.0, table):
        assert not said.contains(expert, rest - left_out)


def test_the_rumours_exclude_each_other():
    assert two_numbers(1800, 280, 10, 16, 2).possible
    assert not two_numbers(1800, 280, 10, 8, 2).possible


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="top_k is 8 with n_experts=8: with E = K active is total"):
        two_numbers(10, 10, 1, 8, 8)
    with pytest.raises(ValueError, match="top_k is 0"):
        two_numbers(10, 5, 1, 8, 0)
    with pytest.raises(ValueError, match="active is 12 of total=10"):
        two_numbers(10, 12, 1, 8, 2)
    with pytest.raises(ValueError, match="unit is -1"):
        two_numbers(10, 5, -1, 8, 2)


@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
@pytest.mark.parametrize("name", ["Mixtral-8x7B", "DeepSeek-V3", "gpt-oss-20b", "OLMoE-1B-7B"])
def test_a_dense_model_reads_as_many_bytes(name, dtype):
    model = describe(name)
    for batch in (1, 64):
        twin = same_speed(model, dtype, batch)
        assert not twin.moes
        read = [decode_read_bytes(one, batch, 0, dtype) for one in (model, twin)]
        assert read[1] == pytest.approx(read[0], rel=0.01)
    # The twin of one batch is none of the other: there the sparse one reads more experts.
    read = [decode_read_bytes(one, 64, 0, dtype) for one in (model, same_speed(model, dtype))]
    assert read[0] > 1.5 * read[1]


def test_patterns_have_a_letter_for_each_part():
    nano = published()["Nemotron-3-Nano-30B-A3B"].config
    assert layer_string(nano) == nano["hybrid_override_pattern"]
    assert len(layer_string(nano)) == nano["num_hidden_layers"]
    assert layer_string(published()["Mixtral-8x7B"].config) == "*E" * 32


@pytest.mark.parametrize("name", ["Qwen3-Next-80B-A3B", "Qwen3.5-35B-A3B", "Nemotron-3-Nano-30B-A3B"])
def test_letters_are_as_many_as_the_counter_finds(name):
    model, text = describe(published()[name].config), layer_string(published()[name].config)
    states = sum(n for layer, n in model.layers if layer.attention and layer.attention.state_elements)
    cached = sum(n for layer, n in model.layers if layer.attention and layer.attention.cache)
    assert (text.count("M"), text.count("*"), text.count("E")) == (states, cached, model.n_moe_layers)


def test_jamba_by_its_four_numbers():
    config = {"model_type": "jamba", "num_hidden_layers": 8, "attn_layer_period": 4, "attn_layer_offset": 2}
    text = layer_string({**config, "expert_layer_period": 2, "expert_layer_offset": 1})
    assert text == "M-ME*-MEM-ME*-ME"


def test_what_cannot_be_read_is_refused():
    with pytest.raises(ConfigError, match="its layers differ, and their order is read for jamba"):
        layer_string(published()["DeepSeek-V3"].config)
    nano = published()["Nemotron-3-Nano-30B-A3B"].config
    with pytest.raises(ConfigError, match="use the letters"):
        layer_string({**nano, "hybrid_override_pattern": "MEX"})
