"""A corpus by name or path: read, split, and turned into tokens."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from moe_lessons.data.batches import as_tokens
from moe_lessons.data.corpora import CORPORA
from moe_lessons.data.splitting import split_text


@dataclass(frozen=True)
class Corpus:
    """A text cut into a training and a validation part that share no byte position.

    Attributes
    ----------
    name : str
        A key of `CORPORA`, or the name of the user's file.
    train_N, validation_M : Tensor, int64, shapes (N,) and (M,)
        The byte values of the two parts.
    sha256 : str
        Checksum of the whole text; a resumed run refuses another one.
    """

    name: str
    train_N: Tensor
    validation_M: Tensor
    sha256: str


def load_corpus(name_or_path: str | Path, *, context_length: int = 1) -> Corpus:
    """Load a corpus by name, or the user's own file by path, and split it.

    Parameters
    ----------
    name_or_path : str or Path
        ``"language-reference"``, ``"standard-library"`` or the path of a file.
    context_length : int
        Both parts must hold at least one window of this many bytes and the byte after it.

    Returns
    -------
    Corpus

    Raises
    ------
    FileNotFoundError
        If there is no such corpus or file.
    ValueError
        If a part is shorter than one window.

    Examples
    --------
    >>> corpus = load_corpus("language-reference", context_length=128)
    >>> len(corpus.train_N) > 8 * len(corpus.validation_M) > 200_000
    True
    """
    name = str(name_or_path)
    if name in CORPORA:
        text = CORPORA[name]()
    else:
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise FileNotFoundError(
                f"corpus {name!r} {what}: give the path of a text file or one of {', '.join(CORPORA)}"
            )
        text, name = path.read_bytes(), path.name
    train, validation = split_text(text)
    if min(len(train), len(validation)) < context_length + 1:
        raise ValueError(
            f"corpus {name!r} is too short: {len(text):,} bytes leave {len(validation):,} for validation, "
            f"context_length={context_length} needs {context_length + 1:,} in each part; "
            "use a longer text or a smaller context_length"
        )
    return Corpus(name, as_tokens(train), as_tokens(validation), hashlib.sha256(text).hexdigest())
