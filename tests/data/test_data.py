import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons import data
from moe_lessons.training import baselines


def test_the_two_corpora_need_no_download():
    reference, library = data.language_reference(), data.standard_library()
    assert 300_000 < len(reference) < 1_000_000
    assert 1_000_000 < len(library) < 4_000_000
    assert b"expression" in reference
    assert b"def " in library


@given(st.binary(max_size=400))
def test_every_position_lands_in_exactly_one_part(text):
    train, validation = data.split_text(text)
    assert sorted(train + validation) == sorted(text)


def test_split_is_deterministic_and_a_tenth():
    first, second = data.load_corpus("language-reference"), data.load_corpus("language-reference")
    assert torch.equal(first.validation_M, second.validation_M)
    assert first.sha256 == second.sha256
    total = len(first.train_N) + len(first.validation_M)
    assert len(first.validation_M) / total == pytest.approx(0.1, abs=0.001)


def copied_share(train: bytes, validation: bytes, length: int = 48) -> float:
    """Share of validation bytes inside a run of `length` that also stands in the training part."""
    train, validation = (re.sub(rb"\s+", b" ", part) for part in (train, validation))
    known = {train[i : i + length] for i in range(len(train) - length)}
    covered = bytearray(len(validation))
    for i in range(len(validation) - length):
        if validation[i : i + length] in known:
            covered[i : i + length] = b"\1" * length
    return sum(covered) / len(validation)


def test_the_reference_repeats_itself_and_the_corpus_does_not():
    from pydoc_data.topics import topics

    as_it_comes = "\n".join(topics[title] for title in sorted(topics)).encode()
    assert copied_share(*data.split_text(as_it_comes)) > 0.3
    assert copied_share(*data.split_text(data.language_reference())) < 0.1


def test_own_file(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_bytes(bytes(range(256)) * 10)
    corpus = data.load_corpus(file, context_length=128)
    assert corpus.name == "mine.txt"
    assert len(corpus.train_N) + len(corpus.validation_M) == 2560
    assert data.load_corpus(str(file)).sha256 == corpus.sha256


def test_bad_corpora_are_one_clear_line(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"'nowhere\.txt' does not exist: give the path .*language-ref"
    ):
        data.load_corpus("nowhere.txt")
    with pytest.raises(FileNotFoundError, match="is a folder without a file of UTF-8 text"):
        data.load_corpus(tmp_path)
    short = tmp_path / "short.txt"
    for size in (0, 1, 700):
        short.write_bytes(b"x" * size)
        with pytest.raises(ValueError, match=r"too short: .* context_length=128 needs 129"):
            data.load_corpus(short, context_length=128)


@given(
    n=st.integers(6, 300),
    batch_size=st.integers(1, 7),
    length=st.integers(1, 5),
    seed=st.integers(0, 2**40),
    step=st.integers(0, 10_000),
)
def test_batches_are_windows_of_the_text_and_depend_on_seed_and_step_only(n, batch_size, length, seed, step):
    def draw():
        return data.training_batch(
            torch.arange(n), batch_size=batch_size, context_length=length, seed=seed, step=step
        )

    inputs_BL, targets_BL = draw()
    assert inputs_BL.shape == targets_BL.shape == (batch_size, length)
    assert torch.equal(targets_BL, inputs_BL + 1)
    assert torch.equal(inputs_BL - inputs_BL[:, :1], torch.arange(length).expand(batch_size, length))
    again, _ = draw()
    assert torch.equal(again, inputs_BL)


def test_an_epoch_visits_each_window_once():
    n, length = 1000, 10
    n_windows = (n - length) // length
    inputs_BL, _ = data.training_batch(
        torch.arange(n), batch_size=n_windows, context_length=length, seed=3, step=2
    )
    assert len(set(inputs_BL.flatten().tolist())) == n_windows * length
    other, _ = data.training_batch(
        torch.arange(n), batch_size=n_windows, context_length=length, seed=4, step=2
    )
    assert not torch.equal(inputs_BL, other)


def test_batches_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    data.training_batch(torch.arange(100), batch_size=2, context_length=8, seed=0, step=0)
    assert torch.equal(before, torch.get_rng_state())


def test_unigram_is_the_entropy_of_a_known_source():
    even = torch.tensor([0, 1, 2, 3] * 25_000)
    assert baselines.unigram_bits_per_byte(even, even[:400]) == pytest.approx(2.0, abs=0.01)


def test_bigram_by_hand():
    train = torch.tensor([0, 1, 0, 1, 0])
    unigram = baselines.unigram_probabilities(train)
    assert unigram.sum().item() == pytest.approx(1.0)
    # n_01 = 2 of n_0 = 2; p_1 = (2 + 1) / (5 + 256)
    expected = -torch.log2((2 + 16 * unigram[1]) / (2 + 16))
    assert baselines.bigram_bits_per_byte(train, torch.tensor([0, 1])) == pytest.approx(expected.item())


def test_baselines_are_ordered_on_real_text():
    corpus = data.load_corpus("language-reference")
    unigram = baselines.unigram_bits_per_byte(corpus.train_N, corpus.validation_M)
    bigram = baselines.bigram_bits_per_byte(corpus.train_N, corpus.validation_M)
    assert 8 > unigram > 4.5 > 4 > bigram > 3
    add_one = baselines.bigram_bits_per_byte(corpus.train_N, corpus.validation_M, strength=256)
    assert bigram < add_one + 0.05
