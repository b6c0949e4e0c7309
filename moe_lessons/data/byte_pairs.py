"""Byte pairs, merged where they are frequent: training such a tokenizer, and using one."""

import hashlib
import json
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from moe_lessons.data.byte_level import N_BYTES, byte_alphabet, tokenizer_file
from moe_lessons.data.cache import CorpusError
from moe_lessons.data.tokenizer import library

SEGMENT_BYTES = 2**20  # long texts go through in pieces of this size, which bounds the memory
TRAINING_BYTES = 2**26  # of a longer text, merges are learned from so much
_STRAY = re.compile("([\udc80-\udcff]+)")  # what bytes that are no UTF-8 decode to


class BytePairTokenizer:
    """Byte-pair encoding from a `tokenizer.json` whose tokens are made of bytes, as GPT-2's are.

    Parameters
    ----------
    contents : dict
        Of the file.
    name : str

    Raises
    ------
    CorpusError
        If its tokens are not made of bytes, or it changes the text before it cuts it.

    Examples
    --------
    >>> tokenizer = BytePairTokenizer(tokenizer_file([("t", "h"), ("th", "e")]))
    >>> tokenizer.encode(b"the moth").tolist()
    [257, 32, 109, 111, 256]
    >>> tokenizer.decode(torch.tensor([257, 32, 255]))
    b'the \\xff'
    """

    unit = "token"

    def __init__(self, contents: dict[str, Any], *, name: str = "bpe") -> None:
        if not is_byte_level(contents):
            raise CorpusError(f"tokenizer {name!r} is not byte-level: choose one in the manner of GPT-2's")
        if contents.get("normalizer") is not None:
            raise CorpusError(f"tokenizer {name!r} rewrites the text (normalizer): choose one that keeps it")
        self.contents, self.name = contents, name
        byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
        tokens = {
            number: bytes(byte_of[character] for character in token)
            for token, number in contents["model"]["vocab"].items()
        }
        tokens |= {added["id"]: added["content"].encode() for added in contents.get("added_tokens", ())}
        self.vocab_size = max(tokens) + 1
        self.token_bytes = [tokens.get(number, b"") for number in range(self.vocab_size)]
        self.sha256 = hashlib.sha256(serialised(contents)).hexdigest()

    @cached_property
    def byte_lengths_V(self) -> Tensor:
        """Bytes that each token stands for, int64, shape (V,)."""
        return torch.tensor([len(token) for token in self.token_bytes])

    @cached_property
    def _engine(self) -> Any:
        return library(self.name).Tokenizer.from_str(json.dumps(self.contents))

    @cached_property
    def _id_of_byte(self) -> list[int]:
        return [self.contents["model"]["vocab"][character] for character in byte_alphabet()]

    def encode(self, *texts: bytes) -> Tensor:
        """Return the tokens of texts, each text cut for itself; bytes that are no UTF-8 stay single.

        Raises
        ------
        CorpusError
            If the tokens don't give back all the bytes.
        """
        pieces = [piece for text in texts for piece in _pieces(text)]
        whole = [piece for piece in pieces if not _STRAY.match(piece)]
        encoded = iter(self._engine.encode_batch_fast(whole, add_special_tokens=False))
        parts = [
            [self._id_of_byte[ord(character) - 0xDC00] for character in piece]
            if _STRAY.match(piece)
            else next(encoded).ids
            for piece in pieces
        ]
        tokens_N = torch.cat([torch.empty(0, dtype=torch.long), *map(torch.LongTensor, parts)])
        come_back, given = int(self.byte_lengths_V[tokens_N].sum()), sum(map(len, texts))
        if come_back != given:
            raise CorpusError(
                f"tokenizer {self.name!r} keeps {come_back:,} of {given:,} bytes: choose another"
            )
        return tokens_N

    def decode(self, tokens: Tensor) -> bytes:
        """Return the bytes that tokens stand for."""
        return b"".join(self.token_bytes[token] for token in tokens.tolist())


def train_byte_pairs(text: bytes, vocab_size: int) -> BytePairTokenizer:
    """Learn which pairs to merge: again and again the most frequent one, until the vocabulary is full.

    Parameters
    ----------
    text : bytes
        The training part only: held-out text must not shape the vocabulary. Of more than
        `TRAINING_BYTES`, the first so many.
    vocab_size : int
        V, the 256 bytes among them.

    Returns
    -------
    BytePairTokenizer
        The same from the same text, in every process.

    Raises
    ------
    CorpusError
        If V is not above 256, or the text has too few pairs that occur twice.

    References
    ----------
    Sennrich et al., arXiv:1508.07909, algorithm 1.

    Examples
    --------
    >>> tokenizer = train_byte_pairs(b"low lower lowest low", 258)
    >>> tokenizer.encode(b"low lowest").tolist() == [257, 32, 257, *b"est"]
    True
    """
    if vocab_size <= N_BYTES:
        raise CorpusError(f"vocab_size={vocab_size}: 'bpe' needs more than the {N_BYTES} bytes, such as 4096")
    tokenizers = library("bpe")
    engine = tokenizers.Tokenizer(tokenizers.models.BPE())
    engine.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces = (piece for piece in _pieces(text[:TRAINING_BYTES]) if not _STRAY.match(piece))
    engine.train_from_iterator(pieces, trainer)
    # Our own file rather than the library's: bytes keep their values, and versions don't change it.
    merges = json.loads(engine.to_str())["model"]["merges"]
    tokenizer = BytePairTokenizer(tokenizer_file([(left, right) for left, right in merges]))
    if tokenizer.vocab_size != vocab_size:
        raise CorpusError(
            f"vocab_size={vocab_size}: this text has {tokenizer.vocab_size} tokens at most; "
            f"set vocab_size={tokenizer.vocab_size}, or use a longer text"
        )
    return tokenizer


def is_byte_level(contents: dict[str, Any]) -> bool:
    """Whether a `tokenizer.json` is of byte pairs in the characters of `byte_alphabet`.

    Examples
    --------
    >>> is_byte_level(tokenizer_file()), is_byte_level({"model": {"type": "WordPiece"}})
    (True, False)
    """
    model = contents.get("model") or {}
    decoder = contents.get("decoder") or {}
    return (
        model.get("type") == "BPE"
        and decoder.get("type") == "ByteLevel"
        and set(byte_alphabet()) <= set(model.get("vocab", ()))
    )


def serialised(contents: dict[str, Any]) -> bytes:
    """Return a tokenizer file's contents as bytes, in one way only, so that a checksum can name them."""
    return (json.dumps(contents, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _pieces(text: bytes) -> Iterator[str]:
    """Cut a text into pieces that are UTF-8, and stretches of stray bytes as lone surrogates."""
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > SEGMENT_BYTES:
            # After a line's end, where there is one: a cut elsewhere may part a word, or a character.
            line = text.find(b"\n", start + SEGMENT_BYTES, start + 2 * SEGMENT_BYTES)
            end = line + 1 if line >= 0 else start + SEGMENT_BYTES
        yield from filter(None, _STRAY.split(text[start:end].decode(errors="surrogateescape")))
        start = end
