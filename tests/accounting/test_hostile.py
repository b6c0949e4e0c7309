"""Configs that are malformed, contradictory or hostile: one clear error that names the field."""

import json
import math

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.accounting import ConfigError, count, describe, published, report
from moe_lessons.commands.cli import main

MIXTRAL = published()["Mixtral-8x7B"].config
V3 = published()["DeepSeek-V3"].config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": -4096}, "'hidden_size' is -4096"),
        ({"hidden_size": 0}, "'hidden_size' is 0"),
        ({"hidden_size": "4096"}, "'hidden_size' is '4096'"),
        ({"hidden_size": 4096.0}, "'hidden_size' is 4096.0"),
        ({"hidden_size": math.nan}, "'hidden_size' is nan"),
        ({"hidden_size": True}, "'hidden_size' is True"),
        ({"hidden_size": [4096]}, r"'hidden_size' is \[4096\]"),
        ({"hidden_size": None}, "'hidden_size' is null"),
        ({"vocab_size": 10**30}, "'vocab_size' is 10+"),
        ({"num_hidden_layers": 10**9}, "'num_hidden_layers' is 1000000000: .* from 1 to 10000"),
        ({"num_experts_per_tok": 9}, "'num_experts_per_tok' is 9: .* from 1 to 8, as num_local_experts=8"),
        ({"num_experts_per_tok": 0}, "'num_experts_per_tok' is 0"),
        ({"num_experts": 16}, "'num_experts' is 16: num_local_experts=8 says otherwise"),
        (
            {"num_key_value_heads": 5},
            "'num_key_value_heads' is 5: choose a divisor of num_attention_heads=32",
        ),
        ({"num_attention_heads": 48, "num_key_value_heads": 8}, "'hidden_size' is 4096: choose a multiple"),
        ({"tie_word_embeddings": "no"}, "'tie_word_embeddings' is 'no': choose true or false"),
        ({"sliding_window": -1}, "'sliding_window' is -1"),
        ({"model_type": "mixtrel"}, "'model_type' is 'mixtrel': this family is unknown.*mixtral"),
        ({"model_type": ["mixtral"]}, "'model_type' is .*unknown"),
        ({"model_type": None}, "'model_type' is missing"),
    ],
)
def test_a_wrong_field_is_named(change, message):
    with pytest.raises(ConfigError, match=message) as error:
        describe(MIXTRAL | change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("DeepSeek-V3", {"n_group": 7}, "'n_group' is 7: choose a divisor of n_routed_experts=256"),
        ("DeepSeek-V3", {"topk_group": 9}, "'topk_group' is 9: .*n_group=8"),
        ("DeepSeek-V3", {"moe_layer_freq": 2}, "'moe_layer_freq' is 2: only 1 can be counted"),
        ("DeepSeek-V3", {"mlp_layer_types": ["dense"]}, "'mlp_layer_types' is .*list of 61"),
        ("DBRX", {"ffn_config": 3}, "'ffn_config' is 3"),
        ("DBRX", {"ffn_config": {}}, "'ffn_config.moe_num_experts' is missing"),
        ("DBRX", {"attn_config": {"kv_n_heads": 5}}, "'attn_config.kv_n_heads' is 5"),
        ("gpt-oss-20b", {"layer_types": ["full_attention"] * 23}, "'layer_types' is .*list of 24"),
        ("gpt-oss-20b", {"layer_types": ["circular"] * 24}, "'layer_types' holds 'circular'"),
        ("gpt-oss-20b", {"layer_types": [{}] * 24}, "'layer_types' holds {}"),
        ("Llama-4-Scout", {"moe_layers": [99]}, "'moe_layers' is .*from 0 to 47"),
        ("Llama-4-Scout", {"no_rope_layers": [1]}, "'no_rope_layers' is .*list of 48"),
        ("Qwen3-30B-A3B", {"mlp_only_layers": "all"}, "'mlp_only_layers' is 'all'"),
        (
            "Qwen3-30B-A3B",
            {"num_expert": 128, "num_experts": None},
            "is null.*; did you mean it by 'num_expert'",
        ),
        ("Switch-Base-8", {"num_sparse_encoder_layers": 13}, "'num_sparse_encoder_layers' is 13"),
        ("Grok-1", {"num_kv_heads": 7}, "'num_kv_heads' is 7"),
        ("Qwen3-Next-80B-A3B", {"linear_num_value_heads": 17}, "'linear_num_value_heads' is 17"),
        ("LongCat-Flash", {"moe_topk": 513}, "'moe_topk' is 513"),
    ],
)
def test_what_contradicts_itself_is_named(name, change, message):
    with pytest.raises(ConfigError, match=message):
        describe(published()[name].config | change)


def outcome(config):
    """What is counted, or the error that says why not."""
    try:
        return describe(config)
    except ConfigError as error:
        return error


@pytest.mark.parametrize("name", published())
def test_a_missing_field_is_named_or_assumed_openly(name):
    config = published()[name].config
    for field in config:
        found = outcome({key: value for key, value in config.items() if key != field})
        if isinstance(found, ConfigError):
            assert "is missing" in str(found)
        else:
            assert found.assumed or count(found) == count(describe(config)), field


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    "name", ["Mixtral-8x7B", "DeepSeek-V3", "DBRX", "gpt-oss-20b", "GLM-5.2", "Qwen3.5-35B-A3B"]
)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_value_in_any_field_is_counted_or_refused(name, data):
    config = dict(published()[name].config)
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(config)), json_values, min_size=1, max_size=3))
    found = outcome(config | changed)
    if isinstance(found, ConfigError):
        assert "config field" in str(found)
        assert len(str(found)) < 900
    else:
        assert report(found)["total"] >= report(found)["active"] > 0


@pytest.mark.parametrize("source", [None, 3, b"x", object(), [MIXTRAL]])
def test_what_is_no_config_is_refused(source):
    with pytest.raises(ConfigError, match="choose a name, a path, a dict or a PretrainedConfig"):
        describe(source)


def test_a_config_whose_repr_fails_is_refused():
    class Rude:
        def __repr__(self):
            raise RuntimeError

    with pytest.raises(ConfigError, match="'hidden_size' is a Rude"):
        describe(MIXTRAL | {"hidden_size": Rude()})


def run(*arguments):
    return CliRunner().invoke(main, ["count", *map(str, arguments)])


FILES = {
    "empty": (b"", "is not JSON"),
    "truncated": (json.dumps(MIXTRAL).encode()[:-20], "is not JSON"),
    "list": (b"[1, 2]", "holds a list, not an object"),
    "number": (b"3", "holds a int"),
    "binary": (bytes(range(256)), "is not JSON"),
    "deep": (b"[" * 200_000 + b"]" * 200_000, "nested too deeply|is not JSON"),
    "huge": (
        b'{"model_type": "mixtral", "x": "' + b"a" * 10_000_000 + b'"}',
        "is larger than 4,000,000 bytes",
    ),
    "long number": (
        b'{"model_type": "mixtral", "hidden_size": ' + b"9" * 9000 + b"}",
        "is not JSON|hidden_size",
    ),
    "nan": (b'{"model_type": "mixtral", "hidden_size": NaN}', "'hidden_size' is nan|is missing"),
    "nothing": (b"{}", "'model_type' is missing"),
    "weird": (b'{"model_type": "\\u001b[31m\\n\\u0000"}', "this family is unknown"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_bad_file_is_one_line(kind, tmp_path):
    content, message = FILES[kind]
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as error:
        describe(path)
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)
    done = run(path)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_a_folder_needs_a_config(tmp_path):
    with pytest.raises(ConfigError, match="a folder without config"):
        describe(tmp_path)
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ConfigError, match=r"is not a file|a folder without"):
        describe(tmp_path)
    with pytest.raises(ConfigError, match="there is no file"):
        describe(tmp_path / "absent.json")


def test_a_folder_with_a_config_is_read(tmp_path):
    folder = tmp_path / "My-Mixtral"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(MIXTRAL))
    assert describe(folder).name == describe(str(folder)).name == "My-Mixtral"
    assert count(describe(folder)).total == 46_702_792_704


def test_the_language_model_inside_another_is_counted():
    scout = published()["Llama-4-Scout"].config
    outer = describe({"model_type": "llama4", "text_config": scout, "vision_config": {"hidden_size": 8}})
    assert count(outer).total == 107_769_861_120
    assert "only the language model" in outer.notes[-1]
    assert describe({"model_type": "llama4", "text_config": scout, "tie_word_embeddings": True}).tied
    with pytest.raises(ConfigError, match=r"'text_config\.hidden_size' is -1"):
        describe({"model_type": "llama4", "text_config": scout | {"hidden_size": -1}})


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "", "\x1b[31m", "../..", "C:\\x", "Mixtral\n8x7C"])
def test_any_text_as_a_name_is_safe(name):
    with pytest.raises(ValueError, match=r"no model or file|there is no file|a folder without") as error:
        describe(name)
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 400
