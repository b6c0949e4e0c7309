"""Corpora of many documents: split without overlap, tokenised part by part, resumable."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import data
from moe_lessons.data import preparing
from moe_lessons.data.byte_pairs import BytePairTokenizer
from moe_lessons.data.fetching import fetch

STORIES = data.SOURCES["tinystories"]
pytestmark = pytest.mark.filterwarnings("ignore:making tokens of tinystories")


@given(st.text(max_size=60), st.floats(0, 1))
def test_white_space_does_not_move_a_document(text, share):
    document = text.encode()
    spaced = b"  " + b"\n\t ".join(document.split()) + b" "
    one, other = (data.is_held_out(text, validation_share=share) for text in (document, spaced))
    assert one == other
    assert not data.is_held_out(document, validation_share=0)
    assert data.is_held_out(document, validation_share=1)


def test_the_share_is_about_what_was_asked_for():
    held_out = sum(data.is_held_out(b"document %d" % n, validation_share=0.1) for n in range(10_000))
    assert 850 < held_out < 1150  # five standard deviations of 30


@settings(deadline=None, max_examples=25)
@given(repeated=st.lists(st.integers(0, 40), max_size=150), pairs=st.booleans())
def test_no_document_is_on_both_sides_however_often_it_comes(tmp_path_factory, repeated, pairs):
    stories = [f"Story {n}{' ' * (place % 3)} of {n * n}." for place, n in enumerate([*range(41), *repeated])]
    folder = tmp_path_factory.mktemp("documents")
    file = folder / "stories.jsonl"
    file.write_text("\n".join(json.dumps({"text": story}) for story in stories))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOE_LESSONS_CACHE", str(folder / "cache"))
        patch.setattr("moe_lessons.data.loading.DOCUMENT_SHARE", 0.3)
        patch.setattr("moe_lessons.data.fetching.PART_BYTES", 300)
        patch.setattr("os.fsync", lambda _: None)
        fetch(STORIES, file=file)
        tokenizer = {"tokenizer": "bpe", "vocab_size": 260} if pairs else {}
        corpus = data.load_corpus("tinystories", context_length=1, **tokenizer)
    sides = [
        {" ".join(story.split()) for story in corpus.tokenizer.decode(part).decode().split("\n\n")} - {""}
        for part in (corpus.train_N, corpus.validation_M)
    ]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == {" ".join(story.split()) for story in stories}


@pytest.fixture
def fetched(cache, hub, stories):
    hub.documents = stories
    fetch(STORIES)
    return cache


def test_tokens_are_mapped_and_made_once(fetched, monkeypatch, stories):
    corpus = data.load_corpus("tinystories", tokenizer="bpe", vocab_size=400)
    assert corpus.train_N.dtype == torch.uint16
    assert data.load_corpus("tinystories").train_N.dtype == torch.uint8
    assert corpus.train_bytes + corpus.validation_bytes == sum(len(s.encode()) + 2 for s in stories)
    text = corpus.tokenizer.decode(corpus.train_N) + corpus.tokenizer.decode(corpus.validation_M)
    assert sorted(text.decode().split("\n\n")) == sorted([*stories, ""])
    monkeypatch.setattr(BytePairTokenizer, "encode", None)
    again = data.load_corpus("tinystories", tokenizer="bpe", vocab_size=400)
    assert torch.equal(again.train_N, corpus.train_N)
    assert again.tokenizer.sha256 == corpus.tokenizer.sha256
    assert not list(fetched.rglob("pieces"))


def test_interrupted_tokenising_goes_on_with_the_next_part(fetched, monkeypatch):
    expected = data.load_corpus("tinystories", tokenizer="bpe", vocab_size=400)
    for path in (fetched / "tokens").glob("*/*.json"):
        path.unlink()  # the tokenizer too: begin anew
    real, calls = BytePairTokenizer.encode, []

    def counted(self, *texts):
        calls.append(len(texts))
        if len(calls) == 8:
            raise KeyboardInterrupt
        return real(self, *texts)

    monkeypatch.setattr(BytePairTokenizer, "encode", counted)
    with pytest.raises(KeyboardInterrupt):
        data.load_corpus("tinystories", tokenizer="bpe", vocab_size=400)
    seen = []
    corpus = data.load_corpus("tinystories", tokenizer="bpe", vocab_size=400, on_part=seen.append)
    assert torch.equal(corpus.train_N, expected.train_N)
    assert torch.equal(corpus.validation_M, expected.validation_M)
    assert len(calls) == 2 * len(seen) + 1  # the interrupted one twice, no other


def test_damaged_tokens_are_found(fetched):
    data.load_corpus("tinystories", tokenizer="bpe", vocab_size=400)
    (folder,) = (fetched / "tokens").iterdir()
    tokens = folder / "train.bin"
    raw = bytearray(tokens.read_bytes())
    raw[100] ^= 1
    tokens.write_bytes(raw)
    with pytest.raises(data.CorpusError, match=r"train\.bin is damaged .*: delete .*; it is made again"):
        data.load_corpus("tinystories", tokenizer="bpe", vocab_size=400)
    raw[100] ^= 1
    tokens.write_bytes(raw)
    merges = json.loads((folder / "tokenizer.json").read_text())
    merges["model"]["merges"][0], merges["model"]["merges"][1] = merges["model"]["merges"][1::-1]
    (folder / "tokenizer.json").write_text(json.dumps(merges))
    with pytest.raises(data.CorpusError, match="its tokens are of another tokenizer"):
        data.load_corpus("tinystories", tokenizer="bpe", vocab_size=400)


def test_another_process_may_have_finished_first(fetched, monkeypatch):
    corpus = data.load_corpus("tinystories", tokenizer="bpe", vocab_size=400)
    headers = {path: path.read_bytes() for path in (fetched / "tokens").glob("*/*n.json")}
    assert len(headers) == 2
    for path in headers:
        path.unlink()

    def overtaken(*_):
        for path, header in headers.items():
            path.write_bytes(header)
        raise data.CorpusError("its pieces are gone")

    monkeypatch.setattr(preparing, "_tokenise", overtaken)
    again = data.load_corpus("tinystories", tokenizer="bpe", vocab_size=400)
    assert torch.equal(again.train_N, corpus.train_N)


def test_settings_that_do_not_fit_are_one_line(fetched):
    with pytest.raises(ValueError, match="tokenizer 'bytes' has 256 tokens; set vocab_size=256"):
        data.load_corpus("tinystories", vocab_size=300)
    with pytest.raises(ValueError, match=r"tokens leave .* for validation, context_length=4096 needs 4,097"):
        data.load_corpus("tinystories", tokenizer="bpe", vocab_size=400, context_length=4096)


@pytest.mark.usefixtures("cache")
def test_a_long_text_of_ones_own_is_mapped_too(tmp_path, monkeypatch):
    file = tmp_path / "long.txt"
    file.write_bytes(bytes(range(256)) * 50)
    in_memory = data.load_corpus(file)
    monkeypatch.setattr("moe_lessons.data.loading.IN_MEMORY_BYTES", 1000)
    mapped = data.load_corpus(file)
    assert mapped.train_N.dtype == torch.uint8
    assert torch.equal(mapped.train_N.long(), in_memory.train_N)
    assert torch.equal(mapped.validation_M.long(), in_memory.validation_M)


@pytest.mark.usefixtures("cache")
def test_what_is_not_fetched_is_one_line():
    with pytest.raises(data.CorpusError, match="'tinystories' is not in the cache: fetch it, with moe-"):
        data.load_corpus("tinystories")
