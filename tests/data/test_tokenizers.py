import collections
import itertools
import json
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons import data
from moe_lessons.data import byte_pairs
from moe_lessons.data.byte_level import byte_alphabet, tokenizer_file
from moe_lessons.data.byte_pairs import BytePairTokenizer, train_byte_pairs
from moe_lessons.data.preparing import read_tokenizer, write_tokenizer
from moe_lessons.data.saved import saved_tokenizer

TEXT = data.language_reference()[:60_000]


@pytest.fixture(scope="module")
def tokenizer():
    return train_byte_pairs(TEXT, 600)


torn = st.lists(st.sampled_from([b"\xc3", b"\xa9", b" a"])).map(b"".join)  # halves of an é


@given(st.one_of(st.binary(), st.text().map(str.encode), torn))
def test_any_bytes_come_back(tokenizer, text):
    tokens_N = tokenizer.encode(text)
    assert tokens_N.dtype == torch.int64
    assert tokenizer.decode(tokens_N) == text
    assert int(tokenizer.byte_lengths_V[tokens_N].sum()) == len(text)
    assert data.BYTES.decode(data.BYTES.encode(text)) == text


@given(st.text())
def test_text_is_cut_as_the_library_cuts_it(tokenizer, text):
    from tokenizers import Tokenizer

    library = Tokenizer.from_str(json.dumps(tokenizer.contents))
    assert tokenizer.encode(text.encode()).tolist() == library.encode(text).ids
    assert library.decode(library.encode(text).ids) == text


def test_long_texts_go_through_in_pieces(tokenizer, monkeypatch):
    text = "Grüße 🙂 an alle\n".encode() * 50 + "é".encode() * 200
    whole = tokenizer.encode(text)
    monkeypatch.setattr(byte_pairs, "SEGMENT_BYTES", 33)
    pieces = tokenizer.encode(text)
    assert tokenizer.decode(pieces) == tokenizer.decode(whole) == text
    lines = b"one line\n" * 100
    assert torch.equal(tokenizer.encode(lines), tokenizer.encode(*[b"one line\n"] * 100))


def test_each_merge_is_of_a_most_frequent_pair():
    """Replay the training by hand: words, their pairs counted anew for every merge."""
    from tokenizers import pre_tokenizers

    text = TEXT[:4000]
    merges = [tuple(pair) for pair in train_byte_pairs(text, 320).contents["model"]["merges"]]
    assert len(merges) >= 64
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text.decode())
    words = {tuple(word): n for word, n in collections.Counter(word for word, _ in cut).items()}
    for merge in merges:
        counts = collections.Counter()
        for word, n in words.items():
            for pair in itertools.pairwise(word):
                counts[pair] += n
        assert counts[merge] == max(counts.values()) >= 2
        words = {joined(word, merge): n for word, n in words.items()}


def joined(word, merge):
    parts, rest = [], list(word)
    while rest:
        taken = 2 if tuple(rest[:2]) == merge else 1
        parts.append("".join(rest[:taken]))
        del rest[:taken]
    return tuple(parts)


def test_training_is_the_same_in_every_process(tokenizer):
    code = (
        "from moe_lessons import data\nfrom moe_lessons.data.byte_pairs import train_byte_pairs\n"
        "print(train_byte_pairs(data.language_reference()[:60_000], 600).sha256)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "RAYON_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == tokenizer.sha256, done.stderr


def test_bytes_keep_their_values(tokenizer):
    assert tokenizer.token_bytes[:256] == [bytes([byte]) for byte in range(256)]
    assert len(set(tokenizer.token_bytes)) == tokenizer.vocab_size == 600
    assert tokenizer.encode(b"\xff\xfe").tolist() == [255, 254]


def test_a_vocabulary_that_cannot_be_is_one_clear_line():
    with pytest.raises(ValueError, match="vocab_size=256: 'bpe' needs more than the 256 bytes"):
        train_byte_pairs(TEXT, 256)
    with pytest.raises(ValueError, match=r"vocab_size=5000: this text has \d+ tokens") as caught:
        train_byte_pairs(TEXT[:3000], 5000)
    most = int(str(caught.value).split("vocab_size=")[-1].split(",")[0])
    assert 256 < train_byte_pairs(TEXT[:3000], most).vocab_size == most < 5000


@pytest.mark.usefixtures("cache")
def test_held_out_text_does_not_shape_the_vocabulary(tmp_path):
    text = bytearray(TEXT)
    file = tmp_path / "mine.txt"

    def merges():
        file.write_bytes(text)
        return data.load_corpus(file, tokenizer="bpe", vocab_size=400).tokenizer.sha256

    original = merges()
    end = len(text) // data.N_SPANS  # the last tenth of each stretch is held out
    text[end - 600 : end] = b"qzqz" * 150
    assert merges() == original
    text[0:600] = b"qzqz" * 150
    assert merges() != original


def test_a_saved_tokenizer_is_read_again(tokenizer, tmp_path):
    write_tokenizer(tmp_path / "tokenizer.json", tokenizer)
    again = saved_tokenizer(tmp_path, vocab_size=600, sha256=tokenizer.sha256)
    assert again.contents == tokenizer.contents
    assert read_tokenizer(tmp_path / "tokenizer.json").sha256 == tokenizer.sha256
    (tmp_path / "tokenizer.json").write_text(json.dumps(train_byte_pairs(TEXT, 500).contents))
    with pytest.raises(ValueError, match=r"tokenizer\.json is not the one that the checkpoint names"):
        saved_tokenizer(tmp_path, vocab_size=600, sha256=tokenizer.sha256)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_file()))
    assert saved_tokenizer(tmp_path, vocab_size=256) is data.BYTES


def test_other_kinds_write_text_but_do_not_train(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"the": 0, "end": 1, "?": 2}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    saved = saved_tokenizer(tmp_path, vocab_size=3)
    assert saved.encode(b"the end", b"end").tolist() == [0, 1, 1]
    assert saved.decode(torch.tensor([0, 1])) == b"the end"
    assert saved.vocab_size == 3
    with pytest.raises(ValueError, match=r"'tokenizer\.json' is not byte-level: choose one"):
        read_tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(ValueError, match="rewrites the text"):
        BytePairTokenizer({**tokenizer_file(), "normalizer": {"type": "NFC"}})
    with pytest.raises(ValueError, match=r"'nowhere' does not exist: choose bytes, bpe or a tokenizer\.json"):
        data.load_corpus("language-reference", tokenizer="nowhere")


def test_a_tokenizer_that_loses_text_is_refused():
    lossy = tokenizer_file([("t", "h")])
    steps = [{"type": "WhitespaceSplit"}, lossy["pre_tokenizer"]]
    lossy["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    with pytest.raises(ValueError, match="keeps 7 of 8 bytes"):
        BytePairTokenizer(lossy).encode(b"the moth")


def test_without_the_library_bytes_still_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert data.load_corpus("language-reference").tokenizer is data.BYTES
    with pytest.raises(
        ValueError, match="needs the package tokenizers: pip install tokenizers, or use bytes"
    ):
        train_byte_pairs(TEXT, 300)


def test_the_alphabet_has_every_byte_once():
    assert len(set(byte_alphabet())) == 256
