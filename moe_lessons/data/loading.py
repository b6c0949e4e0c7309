"""A corpus by name or path: read, split, and turned into tokens."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from moe_lessons.config import BPE_VOCABULARY
from moe_lessons.data.batches import as_tokens
from moe_lessons.data.cache import CorpusError
from moe_lessons.data.corpora import CORPORA
from moe_lessons.data.fetching import manifest_of, parts_of
from moe_lessons.data.own_text import drop_repeats, read_own
from moe_lessons.data.preparing import Part, Prepared, prepare
from moe_lessons.data.sources import SOURCES
from moe_lessons.data.splitting import DOCUMENT_SHARE, VALIDATION_SHARE, is_held_out, split_text
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
        Checksum of the whole text, and of how it is split if not as usual; a resumed run refuses another one.
    tokenizer : Tokenizer
    n_train_bytes, n_validation_bytes : int or None
        Length of the two parts; None if that is one byte for each token.
    notes : tuple of str
        What was left out of a user's text, and what is odd about it.
    """

    name: str
    train_N: Tensor
    validation_M: Tensor
    sha256: str
    tokenizer: Tokenizer = BYTES
    n_train_bytes: int | None = None
    n_validation_bytes: int | None = None
    notes: tuple[str, ...] = ()

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
    name_or_path: str | Path | Sequence[str | Path],
    *,
    context_length: int = 1,
    tokenizer: str = "bytes",
    vocab_size: int | None = None,
    held_out: str | Path | None = None,
    held_out_share: float = VALIDATION_SHARE,
    repeats: str = "drop",
    on_part: Callable[[int], None] | None = None,
) -> Corpus:
    """Load a corpus by name, or the user's own text by path, split it and turn it into tokens.

    Parameters
    ----------
    name_or_path : str or Path, or several
        ``"language-reference"``, ``"standard-library"``, a key of `SOURCES` that has been fetched, or the
        path of a file or of a folder of text files; or several paths.
    context_length : int
        Both parts must hold at least one window of this many tokens and the token after it.
    tokenizer : str
        ``"bytes"``; ``"bpe"``, byte pairs learned from the training part; or the path of a byte-level
        `tokenizer.json`. Tokens other than bytes are kept in the cache.
    vocab_size : int, optional
        V: how many tokens there must be; 4096 for ``"bpe"`` unless given. A file may have fewer.
    held_out : str or Path, optional
        Another text that is held out; all of the corpus is then for training.
    held_out_share : float
        Share of one text that is held out, without `held_out`. Of the documents of `SOURCES` it is 1 %.
    repeats : str
        ``"drop"`` leaves paragraphs out of a user's text that came before, see `drop_repeats`; ``"keep"``.
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
    paths = [name_or_path] if isinstance(name_or_path, str | Path) else list(name_or_path)
    if not paths:
        raise ValueError("corpus names nothing: give a name or a path")
    name = str(paths[0]) if len(paths) == 1 else ""
    if tokenizer == "bpe":
        vocab_size = vocab_size or BPE_VOCABULARY
    elif tokenizer == "bytes":
        _check_vocabulary(BYTES, vocab_size)  # before minutes of tokenising
    ready = partial(prepare, tokenizer=tokenizer, vocab_size=vocab_size, on_part=on_part)
    notes: tuple[str, ...] = ()
    if name in SOURCES and SOURCES[name].documents:
        if held_out:
            raise CorpusError(
                f"held_out={str(held_out)!r}: corpus {name!r} has held-out documents of its own"
            )
        digest = (manifest_of(name) or {}).get("sha256", "")
        prepared = ready(name, lambda: _split_documents(name), sha256=digest)
    else:
        seen: set[bytes] = set()
        name, text, notes = _read(paths, repeats, seen)
        if held_out:
            _, other, more = _read([held_out], repeats, seen)
            part, notes = Part([text], [other]), notes + more
            digest = hashlib.sha256(text + b"\0held out\0" + other).hexdigest()
        else:
            part = Part(*([piece] for piece in split_text(text, validation_share=held_out_share)))
            split = b"" if held_out_share == VALIDATION_SHARE else b"\0held out\0%r" % held_out_share
            digest = hashlib.sha256(text + split).hexdigest()
        if tokenizer == "bytes" and len(text) <= IN_MEMORY_BYTES:
            (train,), (validation,) = part
            tokens = as_tokens(train), as_tokens(validation)
            prepared = Prepared(*tokens, len(train), len(validation), BYTES)
        else:
            prepared = ready(name, lambda: [part], sha256=digest)
    _check_vocabulary(prepared.tokenizer, vocab_size, at_most=tokenizer not in ("bytes", "bpe"))
    _check_length(name, prepared, context_length)
    return Corpus(
        name,
        prepared.train_N,
        prepared.validation_M,
        digest,
        prepared.tokenizer,
        prepared.train_bytes,
        prepared.validation_bytes,
        notes,
    )


def whole_path(name_or_path: str | Path) -> str:
    """Write a path from the root, so that it means the same from another folder; a known name stays.

    Examples
    --------
    >>> whole_path("language-reference"), Path(whole_path("mine.txt")).is_absolute()
    ('language-reference', True)
    """
    name = str(name_or_path)
    return name if name in CORPORA or name in SOURCES else os.path.abspath(Path(name).expanduser())


def _read(paths: Sequence[str | Path], repeats: str, seen: set[bytes]) -> tuple[str, bytes, tuple[str, ...]]:
    """Return a text's name, the text, and what is to be said about it."""
    name = str(paths[0])
    if len(paths) == 1 and name in CORPORA:
        return name, CORPORA[name](), ()
    if len(paths) == 1 and name in SOURCES:
        return name, b"".join(document for part in parts_of(name) for document in part), ()
    own = read_own(paths, known=(*CORPORA, *SOURCES))
    if repeats == "keep" or not own.is_text:
        return own.name, own.text, own.notes
    text, n_dropped = drop_repeats(own.text, seen)
    if not n_dropped:
        return own.name, text, own.notes
    left_out = f"{own.name}: left out {n_dropped:,} paragraphs that came before"
    gone = len(own.text) - len(text)
    said = f"{left_out}, {gone:,} of {len(own.text):,} bytes (--repeats keep leaves them in)"
    return own.name, text, (*own.notes, said)


def _split_documents(name: str) -> Iterator[Part]:
    for documents in parts_of(name):
        part = Part([], [])
        for document in documents:
            side = part.validation if is_held_out(document, validation_share=DOCUMENT_SHARE) else part.train
            side.append(document + BETWEEN_DOCUMENTS)
        yield part


def _check_vocabulary(tokenizer: Tokenizer, vocab_size: int | None, *, at_most: bool = False) -> None:
    fits = vocab_size in (None, tokenizer.vocab_size)
    if not fits and not (at_most and tokenizer.vocab_size < (vocab_size or 0)):
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
