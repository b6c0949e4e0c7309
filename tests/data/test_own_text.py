"""A user's own text: several files, folders, held-out files, repeats, and what is no text."""

import gzip
import hashlib
import importlib.util
import platform
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons import data
from moe_lessons.data import corpora
from moe_lessons.data.own_text import drop_repeats

LONG = b"A paragraph that is long enough for its repetition to be noticed, number %d."


def test_the_built_in_texts_are_these(monkeypatch):
    """If this fails, scores no longer compare with those in results and reports."""
    for name, load in data.CORPORA.items():
        assert hashlib.sha256(load()).hexdigest() == corpora.SHA256[name]
    monkeypatch.setitem(corpora.SHA256, "standard-library", "0" * 64)
    with pytest.raises(data.CorpusError, match="does not match its checksum: install moe-lessons again"):
        data.standard_library()
    monkeypatch.setattr(corpora.gzip, "decompress", lambda _: (_ for _ in ()).throw(gzip.BadGzipFile("x")))
    with pytest.raises(data.CorpusError, match="cannot be read"):
        data.language_reference()


@pytest.mark.skipif(platform.python_version() != "3.11.7", reason="another Python has other documentation")
def test_the_built_in_texts_are_what_their_script_makes():
    script = Path(__file__).parents[2] / "benchmarks" / "built_in_texts.py"
    spec = importlib.util.spec_from_file_location("built_in_texts", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.language_reference() == data.language_reference()
    assert module.standard_library() == data.standard_library()


@given(st.lists(st.integers(0, 5), max_size=12), st.sampled_from([b"\n\n", b"\n \t\n", b"\n\n\n"]))
def test_each_paragraph_stays_once_and_the_rest_as_it_is(numbers, between):
    text = between.join(LONG % number for number in numbers)
    kept, n_dropped = drop_repeats(text)
    assert kept == between.join(LONG % number for number in dict.fromkeys(numbers))
    assert n_dropped == len(numbers) - len(set(numbers))


@given(st.binary(max_size=200))
def test_what_does_not_repeat_stays_byte_for_byte(text):
    assert drop_repeats(text)[0] == text or b"\n" in text


def test_short_paragraphs_may_repeat():
    assert drop_repeats(b"Examples:\n\none\n\nExamples:\n\ntwo") == (
        b"Examples:\n\none\n\nExamples:\n\ntwo",
        0,
    )


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"\n\n".join(LONG % n for n in range(40)))
    (folder / "deep" / "b.md").write_bytes(b"\n\n".join(LONG % n for n in range(30, 60)))
    (folder / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    (folder / ".hidden").write_bytes(b"not this")
    return folder


def text_of(corpus):
    return bytes(corpus.train_N.tolist()) + bytes(corpus.validation_M.tolist())


def test_a_folder_and_several_files_are_one_text(notes):
    folder = data.load_corpus(notes)
    files = data.load_corpus([notes / "a.txt", notes / "deep" / "b.md"])
    assert folder.sha256 == files.sha256
    assert len(text_of(folder)) == len(b"\n\n".join(LONG % n for n in range(60)))
    assert (folder.name, files.name) == ("notes", "a.txt and 1 more")
    assert any("left out picture.png: no UTF-8 text" in note for note in folder.notes)
    assert any("left out 10 paragraphs that came before" in note for note in files.notes)
    kept = data.load_corpus(notes, repeats="keep")
    assert len(text_of(kept)) > len(text_of(folder))
    assert kept.sha256 != folder.sha256


def test_a_held_out_text_shares_no_paragraph(notes):
    corpus = data.load_corpus(notes / "a.txt", held_out=notes / "deep" / "b.md")
    assert bytes(corpus.train_N.tolist()) == (notes / "a.txt").read_bytes()
    assert bytes(corpus.validation_M.tolist()) == b"\n\n".join(LONG % n for n in range(40, 60))
    other = data.load_corpus(notes / "a.txt", held_out="language-reference")
    assert len(other.validation_M) == len(data.language_reference())
    assert len({corpus.sha256, other.sha256, data.load_corpus(notes / "a.txt").sha256}) == 3


def test_a_held_out_share(notes):
    tenth, fifth = (data.load_corpus(notes / "a.txt", held_out_share=share) for share in (0.1, 0.2))
    assert len(fifth.validation_M) == pytest.approx(2 * len(tenth.validation_M), rel=0.05)
    assert tenth.sha256 != fifth.sha256
    with pytest.raises(data.CorpusError, match="has held-out documents of its own"):
        data.load_corpus("tinystories", held_out=notes / "a.txt")


def test_bytes_that_are_no_text_are_said(tmp_path):
    file = tmp_path / "odd.bin"
    file.write_bytes(b"plain at first \xff" + bytes(range(256)) * 4)
    corpus = data.load_corpus(file)
    assert text_of(corpus) != b""
    assert corpus.notes == ("odd.bin is no UTF-8 text (byte 15 is 0xff): its bytes are taken as they are",)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="is a folder without a file of UTF-8 text"):
        data.load_corpus(empty)
