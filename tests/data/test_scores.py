"""Scores are bits per byte, whatever the tokens are."""

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons import ModelConfig, data
from moe_lessons.commands import progress
from moe_lessons.config import preset
from moe_lessons.data.byte_pairs import train_byte_pairs
from moe_lessons.model import MoETransformer
from moe_lessons.training import baselines, objective, train
from moe_lessons.training.objective import bits_per_byte, evaluate

TEXT = data.standard_library()[:40_000]
V = 512


@pytest.fixture(scope="module")
def tokenizer():
    return train_byte_pairs(TEXT, V)


def build(vocab_size):
    config = ModelConfig(
        vocab_size=vocab_size, n_layers=1, d_model=16, n_heads=2, d_expert=16, n_experts=4, context_length=16
    )
    return MoETransformer(config, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_model_that_knows_nothing_needs_log2_of_its_vocabulary_for_each_token(tokenizer):
    tokens_M = tokenizer.encode(TEXT)[: 16 * 100 + 1]
    uniform = build(V)
    uniform.head.weight.zero_()
    tokens_per_byte = 1600 / len(tokenizer.decode(tokens_M[1:]))
    expected = math.log2(V) * tokens_per_byte
    assert evaluate(uniform, tokens_M, byte_lengths_V=tokenizer.byte_lengths_V) == pytest.approx(expected)
    nothing = torch.empty(0).long()
    scored = baselines.unigram_bits_per_byte(nothing, tokens_M[1:], byte_lengths_V=tokenizer.byte_lengths_V)
    assert scored == pytest.approx(expected)
    assert evaluate(uniform, tokens_M) == pytest.approx(math.log2(V))  # what forgetting the bytes would give
    of_bytes = build(256)
    of_bytes.head.weight.zero_()
    assert evaluate(of_bytes, data.as_tokens(TEXT)[:1601]) == pytest.approx(8)


@torch.no_grad()
def test_bits_per_byte_are_all_nats_over_all_bytes(tokenizer):
    model = build(V).eval()
    tokens_M = tokenizer.encode(TEXT)[: 16 * 37 + 5]
    nats = n_bytes = 0.0
    for start in range(0, 16 * 37, 16):
        window = tokens_M[start : start + 17]
        logits_LV = model(window[None, :-1]).logits_BLV[0].double()
        nats -= logits_LV.log_softmax(-1).gather(1, window[1:, None]).sum().item()
        n_bytes += len(tokenizer.decode(window[1:]))
    scored = evaluate(model, tokens_M, byte_lengths_V=tokenizer.byte_lengths_V)
    assert scored == pytest.approx(nats / math.log(2) / n_bytes, rel=1e-5)


@torch.no_grad()
def test_of_much_held_out_text_a_stated_part_is_scored(monkeypatch):
    model, tokens_M = build(256), data.as_tokens(TEXT)[:3201]
    whole = evaluate(model, tokens_M)
    monkeypatch.setattr(objective, "MAX_EVALUATION_TOKENS", 3200)
    assert evaluate(model, tokens_M) == whole
    monkeypatch.setattr(objective, "MAX_EVALUATION_TOKENS", 16 * 7)
    windows = data.evaluation_windows(tokens_M, 16)
    chosen = [n * 200 // 7 for n in range(7)]
    loss = model.eval()(windows[0][chosen], windows[1][chosen]).loss.item()
    assert evaluate(model, tokens_M) == pytest.approx(bits_per_byte(loss), rel=1e-6)


@given(
    train=st.lists(st.integers(0, 4), max_size=60),
    validation=st.lists(st.integers(0, 4), min_size=2, max_size=30),
    lengths=st.lists(st.integers(1, 5), min_size=5, max_size=5),
)
def test_the_pair_baseline_is_that_of_a_whole_table(train, validation, lengths):
    train_N, tokens_M = torch.tensor(train, dtype=torch.long), torch.tensor(validation)
    lengths_V = torch.tensor(lengths)
    unigram_V = (torch.bincount(train_N, minlength=5).double() + 1) / (len(train) + 5)
    counts_VV = torch.zeros(5, 5, dtype=torch.float64)
    for before, after in itertools.pairwise(train):
        counts_VV[before, after] += 1
    table_VV = (counts_VV + 16 * unigram_V) / (counts_VV.sum(1, keepdim=True) + 16)
    assert torch.allclose(table_VV.sum(1), torch.ones(5, dtype=torch.float64))
    bits = -table_VV[tokens_M[:-1], tokens_M[1:]].log2().sum() / lengths_V[tokens_M[1:]].sum()
    scored = baselines.bigram_bits_per_byte(train_N, tokens_M, byte_lengths_V=lengths_V)
    assert scored == pytest.approx(bits.item())
    bits = -unigram_V[tokens_M].log2().sum() / lengths_V[tokens_M].sum()
    scored = baselines.unigram_bits_per_byte(train_N, tokens_M, byte_lengths_V=lengths_V)
    assert scored == pytest.approx(bits.item())


def test_baselines_do_not_depend_on_the_chunks_they_read(monkeypatch):
    corpus = data.load_corpus("language-reference")
    part = dataclasses.replace(corpus, train_N=corpus.train_N[:50_000])
    both = baselines.unigram_bits_per_byte, baselines.bigram_bits_per_byte
    whole = [score(part.train_N, part.validation_M) for score in both]
    monkeypatch.setattr(baselines, "_CHUNK", 999)
    assert [
        score(part.train_N.to(torch.uint16), part.validation_M.to(torch.uint16)) for score in both
    ] == whole


@pytest.mark.usefixtures("cache")
def test_the_tokens_of_both_tokenizers_are_of_the_same_bytes():
    of_bytes = data.load_corpus("language-reference")
    of_pairs = data.load_corpus("language-reference", tokenizer="bpe", vocab_size=1000)
    assert of_pairs.sha256 == of_bytes.sha256
    for name in ("train", "validation"):
        assert getattr(of_pairs, f"{name}_bytes") == getattr(of_bytes, f"{name}_bytes")
    assert of_pairs.tokenizer.decode(of_pairs.validation_M) == bytes(of_bytes.validation_M.tolist())
    assert of_bytes.bytes_per_token == 1
    assert 2.5 < of_pairs.bytes_per_token < 4
    lengths_V = of_pairs.tokenizer.byte_lengths_V
    token_unigram = baselines.unigram_bits_per_byte(
        of_pairs.train_N, of_pairs.validation_M, byte_lengths_V=lengths_V
    )
    byte_unigram = baselines.unigram_bits_per_byte(of_bytes.train_N, of_bytes.validation_M)
    assert token_unigram < byte_unigram - 1  # a token already knows the bytes within it


@pytest.mark.usefixtures("cache")
def test_the_training_curve_is_in_bits_per_byte_too():
    config = preset("smoke").override(steps=1, tokenizer="bpe", vocab_size=600, log_every=1)
    result = train(config)
    untrained = math.log2(600) / result.corpus.bytes_per_token
    assert result.corpus.bytes_per_token > 2
    assert result.history[0].train_bits_per_byte == pytest.approx(untrained, rel=0.1)


def test_the_summary_says_where_a_part_was_scored(monkeypatch):
    result = train(preset("smoke").override(steps=1))
    assert progress.summary(result).splitlines()[0].endswith(f"{result.corpus.validation_bytes:,} bytes)")
    monkeypatch.setattr(progress, "MAX_EVALUATION_TOKENS", len(result.corpus.validation_M) // 4)
    assert progress.summary(result).splitlines()[0].endswith("bytes; the model on 25% of them)")
