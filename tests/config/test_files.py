"""Settings as TOML: everything there and back, and what is wrong said in one line."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.config import PRESETS, ModelConfig, TrainConfig, read_toml, to_toml

text = st.text(max_size=20)
configs = st.builds(
    TrainConfig,
    name=text,
    corpus=text | st.lists(text, min_size=1, max_size=3).map(tuple),
    held_out=text,
    tokenizer=text,
    seed=st.integers(0, 2**63 - 1),
    learning_rate=st.floats(1e-9, 1e3),
    adam_eps=st.floats(1e-300, 1.0),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
    compile=st.booleans(),
    model=st.builds(ModelConfig, d_dense=st.none() | st.integers(1, 999), tie_embeddings=st.booleans()),
)


@given(configs)
def test_all_settings_there_and_back(tmp_path_factory, config):
    path = tmp_path_factory.mktemp("toml") / "run.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert read_toml(path) == config


@pytest.mark.parametrize("name", PRESETS)
def test_a_file_may_say_only_what_differs_from_a_preset(tmp_path, name):
    path = tmp_path / "run.toml"
    path.write_text(f'preset = "{name}"\nsteps = 7\nlearning_rate = 1\n[model]\nn_layers = 3\n')
    assert read_toml(path) == PRESETS[name].override(steps=7, learning_rate=1.0, n_layers=3)


def test_every_setting_is_written():
    written = {line.partition(" = ")[0] for line in to_toml(TrainConfig()).splitlines()}
    names = {item.name for item in (*dataclasses.fields(TrainConfig), *dataclasses.fields(ModelConfig))}
    assert names - written == {"model", "d_dense"}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("stepz = 3", "unknown setting 'stepz': did you mean 'steps'?"),
        ("[model]\nd_modle = 3", "unknown setting 'model.d_modle': did you mean 'd_model'?"),
        ("d_model = 3", "unknown setting 'd_model': it goes under [model]"),
        ("[model]\nsteps = 3", "unknown setting 'model.steps': it goes above [model]"),
        ('steps = "x"', "steps='x': give a whole number"),
        ("steps = 1.0", "steps=1.0: give a whole number"),
        ("compile = 1", "compile=1: give true or false"),
        ("learning_rate = true", "learning_rate=True: give a number"),
        ("learning_rate = nan", "learning_rate=nan: choose a positive number"),
        ("betas = [1, 2]", "betas=(1.0, 2.0): choose two numbers from 0 to below 1"),
        ("betas = [0.9]", "choose two numbers"),
        ('betas = "a"', "give two numbers, as in [0.9, 0.95]"),
        ("model = 3", "write the model's sizes under [model]"),
        ("corpus = []", "corpus=[]: give text in quotes"),
        ('preset = "cpu-tinny"', "did you mean 'cpu-tiny'?"),
        ("steps =", "is no TOML"),
        ("\xff", "is no TOML"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, content, part):
    path = tmp_path / "run.toml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the parts say which)
        read_toml(path)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
