"""Text in, text out: where it stops, and that watching it shows the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.config import ModelConfig
from moe_lessons.data import BYTES
from moe_lessons.model import MoETransformer, write_on

MODEL = MoETransformer(
    ModelConfig(vocab_size=256, n_layers=1, d_model=16, n_heads=2, d_expert=8, context_length=12),
    generator=torch.Generator().manual_seed(0),
)
PLAIN = write_on(MODEL, BYTES, [b"abc", b"de"], 40, seed=5)


def test_a_row_draws_the_same_alone():
    assert write_on(MODEL, BYTES, [b"abc"], 40, seed=5) == PLAIN[:1]
    assert write_on(MODEL, BYTES, [b"de"], 40, seed=6) == PLAIN[1:]
    assert [len(text) for text in PLAIN] == [43, 42]


@settings(deadline=None)
@given(place=st.integers(0, 38), length=st.integers(1, 3), row=st.integers(0, 1))
def test_it_stops_before_the_stop_and_shows_nothing_of_it(place, length, row):
    prompts = [b"abc", b"de"]
    written = [text[len(prompt) :] for text, prompt in zip(PLAIN, prompts, strict=True)]
    stop = written[row][place : place + length]
    shown = [b"", b""]

    def on_text(which, text):
        shown[which] += text

    found = write_on(MODEL, BYTES, prompts, 40, seed=5, stop=[stop], on_text=on_text)
    for which, whole in enumerate(written):
        assert found[which] == prompts[which] + whole.split(stop)[0]
        assert shown[which] == whole.split(stop)[0]


def test_the_prompt_may_hold_the_stop():
    assert write_on(MODEL, BYTES, [PLAIN[0][:10]], 5, seed=5, stop=[b"abc"])[0].startswith(PLAIN[0][:10])


def test_an_empty_stop_is_refused():
    with pytest.raises(ValueError, match="stop is empty"):
        write_on(MODEL, BYTES, [b"a"], 1, stop=[b""])
