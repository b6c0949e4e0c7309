"""A corpus by name or path: read, split, and turned into tokens."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from moe_lessons.config import BPE_VOCABULARY
from moe_lessons.data.batches import as_tokens
from moe_lessons.data.cache import CorpusError
from moe_lessons.data.corpora import CORPORA
from moe_lessons.data.fetching import manifest_of, parts_of
from moe_lessons.data.preparing import Part, Prepared, prepare
from moe_lessons.data.sources import SOURCES
from moe_lessons.data.splitting import DOCUMENT_SHARE, is_held_out, split_text
from moe_lessons.data.tokenizer import BYTES, Tokenizer

IN_MEMORY_BYTES = 2**26  # longer texts are mapped into memory from the cache, even as bytes
BETWEEN_DOCUMENTS = b"\n\n"


@dataclass(frozen=True)
class Corpus:
    """A text cut into a training and a validation part that share no byte position, and no document.

    Attributes
    ----------
    name : str
        A key of `CORPORA` or `SOURCES`, or the name of the user's file.
    train_N, validation_M : Tensor, shapes (N,) and (M,)
        The tokens of the two parts: int64, or the unsigned integers of a file mapped into memory.
    sha256 : str
        Checksum of the whole text; a resumed run refuses another one.
    tokenizer : Tokenizer
    n_train_bytes, n_validation_bytes : int or None
        Length of the two parts; None if that is one byte for each token.
    """

    name: str
    train_N: Tensor
    validation_M: Tensor
    sha256: str
    tokenizer: Tokenizer = BYTES
    n_train_bytes: int | None = None
    n_validation_bytes: int | None = None

    @property
    def train_bytes(self) -> int:
        """Length of the training part in bytes."""
        return len(self.train_N) if self.n_train_bytes is None else self.n_train_bytes

    @property
    def validation_bytes(self) -> int:
        """Length of the validation part in bytes."""
        return len(self.validation_M) if self.n_validation_bytes is None else self.n_validation_bytes

    @property
    def bytes_per_token(self) -> float:
        """Mean over the training part; 1 for bytes."""
        return self.train_bytes / len(self.train_N)


def load_corpus(
    name_or_path: str | Path,
    *,
    context_length: int = 1,
    tokenizer: str = "bytes",
    vocab_size: int | None = None,
    on_part: Callable[[int], None] | None = None,
) -> Corpus:
    """Load a corpus by name, or the user's own file by path, split it and turn it into tokens.

    Parameters
    ----------
    name_or_path : str or Path
        ``"language-reference"``, ``"standard-library"``, a key of `SOURCES` that has been fetched, or the
        path of a file.
    context_length : int
        Both parts must hold at least one window of this many tokens and the token after it.
    tokenizer : str
        ``"bytes"``; ``"bpe"``, byte pairs learned from the training part; or the path of a byte-level
        `tokenizer.json`. Tokens other than bytes are kept in the cache.
    vocab_size : int, optional
        V: how many tokens there must be; 4096 for ``"bpe"`` unless given.
    on_part : callable, optional
        Called with the number of parts so far while a large corpus is tokenised.

    Returns
    -------
    Corpus

    Raises
    ------
    FileNotFoundError
        If there is no such corpus or file.
    CorpusError
        If a fetched corpus is missing or damaged, or the tokenizer does not fit.
    ValueError
        If a part is shorter than one window.

    Examples
    --------
    >>> corpus = load_corpus("language-reference", context_length=128)
    >>> len(corpus.train_N) > 8 * len(corpus.validation_M) > 200_000
    True
    """
    name = str(name_or_path)
    if tokenizer == "bpe":
        vocab_size = vocab_size or BPE_VOCABULARY
    elif tokenizer == "bytes":
        _check_vocabulary(BYTES, vocab_size)  # before minutes of tokenising
    ready = partial(prepare, tokenizer=tokenizer, vocab_size=vocab_size, on_part=on_part)
    if name in SOURCES and SOURCES[name].documents:
        digest = (manifest_of(name) or {}).get("sha256", "")
        prepared = ready(name, lambda: _split_documents(name), sha256=digest)
    else:
        text, name = _read(name_or_path)
        digest = hashlib.sha256(text).hexdigest()
        part = Part(*([piece] for piece in split_text(text)))
        if tokenizer == "bytes" and len(text) <= IN_MEMORY_BYTES:
            (train,), (validation,) = part
            tokens = as_tokens(train), as_tokens(validation)
            prepared = Prepared(*tokens, len(train), len(validation), BYTES)
        else:
            prepared = ready(name, lambda: [part], sha256=digest)
    _check_vocabulary(prepared.tokenizer, vocab_size)
    _check_length(name, prepared, context_length)
    return Corpus(
        name,
        prepared.train_N,
        prepared.validation_M,
        digest,
        prepared.tokenizer,
        prepared.train_bytes,
        prepared.validation_bytes,
    )


def _read(name_or_path: str | Path) -> tuple[bytes, str]:
    name = str(name_or_path)
    if name in CORPORA:
        return CORPORA[name](), name
    if name in SOURCES:
        return b"".join(document for part in parts_of(name) for document in part), name
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        known = ", ".join((*CORPORA, *SOURCES))
        raise FileNotFoundError(f"corpus {name!r} {what}: give the path of a text file or one of {known}")
    return path.read_bytes(), path.name


def _split_documents(name: str) -> Iterator[Part]:
    for documents in parts_of(name):
        part = Part([], [])
        for document in documents:
            side = part.validation if is_held_out(document, validation_share=DOCUMENT_SHARE) else part.train
            side.append(document + BETWEEN_DOCUMENTS)
        yield part


def _check_vocabulary(tokenizer: Tokenizer, vocab_size: int | None) -> None:
    if vocab_size not in (None, tokenizer.vocab_size):
        raise CorpusError(
            f"vocab_size={vocab_size}: tokenizer {tokenizer.name!r} has {tokenizer.vocab_size:,} tokens; "
            f"set vocab_size={tokenizer.vocab_size}"
        )


def _check_length(name: str, found: Prepared, context_length: int) -> None:
    n_train, n_validation = len(found.train_N), len(found.validation_M)
    if min(n_train, n_validation) < context_length + 1:
        raise ValueError(
            f"corpus {name!r} is too short: {n_train + n_validation:,} {found.tokenizer.unit}s leave "
            f"{n_validation:,} for validation, context_length={context_length} needs "
            f"{context_length + 1:,} in each part; use a longer text or a smaller context_length"
        )
