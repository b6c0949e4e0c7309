import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import data
from moe_lessons.data.token_files import open_tokens, write_tokens


@settings(max_examples=40)
@given(
    vocab_size=st.sampled_from([2, 256, 257, 65_536, 65_537, 200_000]),
    lengths=st.lists(st.integers(0, 50), max_size=4),
    seed=st.integers(0, 99),
)
def test_what_is_written_is_read(tmp_path_factory, vocab_size, lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    chunks = [torch.randint(vocab_size, (n,), generator=generator) for n in lengths]
    chunks.append(torch.tensor([vocab_size - 1]))  # the largest
    path = tmp_path_factory.mktemp("tokens") / "train"
    write_tokens(path, chunks, vocab_size=vocab_size, bytes=7)
    tokens_N, header = open_tokens(path)
    assert torch.equal(tokens_N.long(), torch.cat(chunks))
    assert header["bytes"] == 7
    assert header["count"] == sum(lengths) + 1
    assert path.with_suffix(".bin").stat().st_size == header["count"] * tokens_N.element_size()


def test_no_tokens_are_tokens(tmp_path):
    write_tokens(tmp_path / "none", [], vocab_size=300)
    assert open_tokens(tmp_path / "none")[0].tolist() == []


@pytest.mark.parametrize("vocab_size", [256, 4096, 100_000])
def test_batches_from_a_mapped_file_are_those_from_memory(tmp_path, vocab_size):
    tokens_N = torch.randint(vocab_size, (5000,), generator=torch.Generator().manual_seed(0))
    write_tokens(tmp_path / "train", [tokens_N], vocab_size=vocab_size)
    mapped_N, _ = open_tokens(tmp_path / "train")
    assert mapped_N.dtype != tokens_N.dtype
    for step in (0, 3, 400):
        settings = {"batch_size": 3, "context_length": 16, "seed": 5, "step": step}
        for ours, theirs in zip(
            data.training_batch(mapped_N, **settings), data.training_batch(tokens_N, **settings), strict=True
        ):
            assert ours.dtype == torch.int64
            assert torch.equal(ours, theirs)
    windows = [data.evaluation_windows(tokens, 16, at_most=9) for tokens in (mapped_N, tokens_N)]
    for ours, theirs in zip(*windows, strict=True):
        assert torch.equal(ours.long(), theirs)
        assert len(ours) == 9


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda path: flip(path.with_suffix(".bin")),
            r"train\.bin is damaged \(.*checksum\): delete",
        ),
        (lambda path: path.with_suffix(".bin").write_bytes(b""), r"train\.bin is damaged"),
        (lambda path: path.with_suffix(".bin").unlink(), r"train\.bin is damaged"),
        (lambda path: path.with_suffix(".json").unlink(), r"cannot read .*train\.json: No such file"),
        (lambda path: path.with_suffix(".json").write_text("{"), r"cannot read .*train\.json: it is no JSON"),
        (lambda path: path.with_suffix(".json").write_text("[]"), r"train\.json: it holds no JSON object"),
        (lambda path: path.with_suffix(".json").write_text("{}"), r"train\.json is damaged: delete"),
    ],
)
def test_damage_is_found(tmp_path, harm, message):
    path = tmp_path / "train"
    write_tokens(path, [torch.arange(1000)], vocab_size=1000)
    open_tokens(path)
    harm(path)
    with pytest.raises(data.CorpusError, match=message) as caught:
        open_tokens(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(data.CorpusError, match=r"cannot write .*train\.bin: No space left on device"):
        write_tokens(tmp_path / "train", [torch.arange(9)], vocab_size=9)
    assert list(tmp_path.iterdir()) == []


def test_the_header_says_what_is_there(tmp_path):
    write_tokens(tmp_path / "train", [torch.arange(9)], vocab_size=9)
    header = json.loads((tmp_path / "train.json").read_text())
    assert header["dtype"] == "uint8"
    assert header["vocabulary"] == 9
