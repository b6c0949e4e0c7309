"""Text files, cut into tokens that a model reads piece by piece."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from moe_lessons.inspect.trace import InspectError

MAX_FILE_BYTES = 200_000_000


@dataclass(frozen=True)
class Cut:
    """A text as tokens.

    Parameters
    ----------
    pieces : list of Tensor of shape (N,), int64
        What the model reads at once, each from one file.
    domains : list of int
        The file of each piece.
    names : list of str
        Names of the files, each different.
    """

    pieces: list[Tensor]
    domains: list[int]
    names: list[str]

    @property
    def n_tokens(self) -> int:
        """Tokens in all."""
        return sum(len(piece) for piece in self.pieces)


def read_text(path: Path) -> str:
    """Read a file as UTF-8; what is not UTF-8 is replaced.

    Raises
    ------
    InspectError
        If it is missing, a folder, empty or larger than 200 MB.
    """
    try:
        if path.is_dir():
            raise InspectError(f"--text {path} is a folder: name the files in it")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InspectError(
                f"--text {path} is larger than {MAX_FILE_BYTES // 10**6} MB: give a part of it"
            )
        text = path.read_bytes().decode("utf-8", errors="replace").removeprefix("\ufeff")
    except OSError as error:
        raise InspectError(f"--text {path} cannot be read: {error.strerror or error}") from error
    if not text.strip():
        raise InspectError(f"--text {path} is empty: give a file with some text in it")
    return text


def cut(
    paths: Sequence[Path],
    encode: Callable[[str], list[int]],
    *,
    n_tokens: int,
    length: int,
    vocab_size: int | None = None,
) -> Cut:
    """Turn each file into at most `n_tokens` tokens, in pieces of at most `length`.

    Parameters
    ----------
    paths : sequence of Path
    encode : callable
        From text to token ids.
    n_tokens : int
        From each file; the start of it.
    length : int
        Tokens that the model reads at once.
    vocab_size : int, optional
        Rows of the model's embedding: a tokenizer with larger ids belongs to another model.

    Raises
    ------
    InspectError
        If a file has no token, or the tokenizer does not fit the model.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> _ = path.write_text("hello")
    >>> pieces = cut([path], lambda text: [ord(c) for c in text], n_tokens=4, length=3).pieces
    >>> [piece.tolist() for piece in pieces]
    [[104, 101, 108], [108]]
    """
    if not paths:
        raise InspectError("no text: name one or more files behind --text")
    pieces, domains = [], []
    for domain, path in enumerate(paths):
        # A token is rarely longer than 16 characters: enough text for so many tokens, and no more.
        ids = torch.tensor(encode(read_text(path)[: 16 * n_tokens + 1000]), dtype=torch.int64)[:n_tokens]
        if not len(ids):
            raise InspectError(f"--text {path} has no token: give a file with some text in it")
        if vocab_size is not None and int(ids.max()) >= vocab_size:
            raise InspectError(
                f"the tokenizer gives token {int(ids.max())}, the model has {vocab_size}: "
                "they do not belong together"
            )
        for start in range(0, len(ids), length):
            pieces.append(ids[start : start + length])
            domains.append(domain)
    return Cut(pieces, domains, distinct([path.name for path in paths]))


def distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where two files share one.

    Examples
    --------
    >>> distinct(["a.txt", "b.txt", "a.txt"])
    ['a.txt', 'b.txt', 'a.txt (2)']
    """
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
