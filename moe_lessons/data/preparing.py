"""Tokenise a corpus once, part by part, into files that later runs map into memory."""

import shutil
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from moe_lessons.data.byte_pairs import TRAINING_BYTES, BytePairTokenizer, serialised, train_byte_pairs
from moe_lessons.data.cache import CorpusError, cache_dir, read_json, whole_file
from moe_lessons.data.token_files import open_tokens, write_tokens
from moe_lessons.data.tokenizer import BYTES, Tokenizer

LAYOUT = "1"  # changes when splitting or tokenising does, so that older files are not taken for newer ones


class Part(NamedTuple):
    """Texts of one stretch of a corpus, already split."""

    train: list[bytes]
    validation: list[bytes]


class Prepared(NamedTuple):
    """A tokenised corpus."""

    train_N: Tensor
    validation_M: Tensor
    train_bytes: int
    validation_bytes: int
    tokenizer: Tokenizer


def prepare(
    name: str,
    parts: Callable[[], Iterable[Part]],
    *,
    sha256: str,
    tokenizer: str,
    vocab_size: int | None,
    on_part: Callable[[int], None] | None = None,
) -> Prepared:
    """Return a corpus' tokens from the cache, after making them if they are not there.

    Interrupted, it goes on with the first part that is missing.

    Parameters
    ----------
    name : str
        For the folder.
    parts : callable
        Returns the parts, always the same.
    sha256 : str
        Of the text.
    tokenizer : str
        "bytes", "bpe" or the path of a `tokenizer.json`.
    vocab_size : int or None
        V of "bpe".
    on_part : callable, optional
        Called with the number of parts so far after each.

    Raises
    ------
    CorpusError
        If files are damaged or cannot be written, or the tokenizer does not fit.
    """
    given: Tokenizer | None = None
    if tokenizer != "bpe":
        given = BYTES if tokenizer == "bytes" else read_tokenizer(Path(tokenizer).expanduser())
    label = f"bpe-{vocab_size}" if given is None else str(given.sha256 or "bytes")[:12]
    folder = cache_dir() / "tokens" / f"{name}-{label}-{sha256[:12]}-{LAYOUT}"
    chosen = given or _merges(folder, parts, vocab_size or 0)
    files = {kind: folder / kind for kind in Part._fields}
    if not all(path.with_suffix(".json").is_file() for path in files.values()):
        try:
            _tokenise(folder, parts, chosen, on_part)
        except CorpusError:
            # Another process may have finished the same files, and taken its pieces away.
            if not all(path.with_suffix(".json").is_file() for path in files.values()):
                raise
    opened = {kind: open_tokens(path) for kind, path in files.items()}
    for _, header in opened.values():
        if header["tokenizer_sha256"] != chosen.sha256:
            raise CorpusError(f"{folder} is damaged (its tokens are of another tokenizer): delete it")
    (train_N, train), (validation_M, validation) = opened["train"], opened["validation"]
    return Prepared(train_N, validation_M, train["bytes"], validation["bytes"], chosen)


def read_tokenizer(path: Path) -> BytePairTokenizer:
    """Read a byte-level `tokenizer.json`.

    Raises
    ------
    CorpusError
        If it is missing, or of another kind.
    """
    if not path.is_file():
        raise CorpusError(f"tokenizer {str(path)!r} does not exist: choose bytes, bpe or a tokenizer.json")
    return BytePairTokenizer(read_json(path), name=path.name)


def write_tokenizer(path: Path, tokenizer: Tokenizer) -> None:
    """Write a tokenizer's file; bytes have none."""
    if tokenizer.contents is not None:
        with whole_file(path) as file:
            file.write(serialised(tokenizer.contents))


def _merges(folder: Path, parts: Callable[[], Iterable[Part]], vocab_size: int) -> BytePairTokenizer:
    path = folder / "tokenizer.json"
    if path.is_file():
        return BytePairTokenizer(read_json(path))
    text = bytearray()
    for part in parts():
        text += b"".join(part.train)
        if len(text) >= TRAINING_BYTES:
            break
    tokenizer = train_byte_pairs(bytes(text), vocab_size)
    write_tokenizer(path, tokenizer)
    return tokenizer


def _tokenise(
    folder: Path,
    parts: Callable[[], Iterable[Part]],
    tokenizer: Tokenizer,
    on_part: Callable[[int], None] | None,
) -> None:
    pieces: dict[str, list[Path]] = {kind: [] for kind in Part._fields}
    write = partial(write_tokens, vocab_size=tokenizer.vocab_size, tokenizer_sha256=tokenizer.sha256)
    for number, part in enumerate(parts()):
        if number == 1 and on_part is None:
            warnings.warn(f"making tokens of {folder.name}, once, for this run and later ones", stacklevel=2)
        for kind, texts in part._asdict().items():
            piece = folder / "pieces" / f"{kind}-{number:05d}"
            pieces[kind].append(piece)
            if not piece.with_suffix(".json").is_file():
                write(piece, [tokenizer.encode(*texts)], bytes=sum(map(len, texts)))
        if on_part is not None:
            on_part(number + 1)
    for kind, paths in pieces.items():
        opened = [open_tokens(path) for path in paths]
        n_bytes = sum(header["bytes"] for _, header in opened)
        write(folder / kind, (tokens for tokens, _ in opened), bytes=n_bytes)
    shutil.rmtree(folder / "pieces", ignore_errors=True)
