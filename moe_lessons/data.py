"""Corpora: text as bytes, held out without leaks, cut into batches that a step number determines.

Two corpora come with Python itself, so nothing is downloaded: the English of the language reference
and the source code of the standard library. Any UTF-8 or binary file of your own works as well.
"""

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

VALIDATION_SHARE = 0.1
N_SPANS = 8

STANDARD_LIBRARY_MODULES = """
    argparse ast bisect calendar cmd codecs collections configparser contextlib copy csv dataclasses
    difflib doctest enum fractions functools gettext graphlib heapq inspect ipaddress locale mimetypes
    optparse pickle pickletools platform plistlib pprint pydoc random shutil statistics string
    subprocess tarfile tempfile textwrap threading tokenize traceback types typing uuid weakref
"""


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


def language_reference() -> bytes:
    """Return the English of Python's language reference, each paragraph once.

    The reference repeats itself (`compound` contains `if`, `for` and `while` again): split as it
    comes, more than half of a held-out tenth also stands word for word in the training part.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise FileNotFoundError(
            "corpus 'language-reference' is missing from this Python (no module pydoc_data.topics): "
            "use --corpus standard-library or the path of a text file"
        ) from None
    kept, seen = [], set()
    for title in sorted(topics):
        for paragraph in re.split(r"\n\s*\n", topics[title]):
            words = " ".join(paragraph.split())
            # Short lines such as headings and "Examples:" recur legitimately.
            if len(words) >= 40 and words in seen:
                continue
            seen.add(words)
            kept.append(paragraph.strip("\n"))
    return "\n\n".join(kept).encode()


def standard_library() -> bytes:
    """Return the source code of pure-Python standard library modules, one after the other."""
    sources = []
    for name in STANDARD_LIBRARY_MODULES.split():
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin and spec.origin.endswith(".py") and Path(spec.origin).exists():
            sources.append(Path(spec.origin).read_bytes())
    if not sources:
        raise FileNotFoundError(
            "corpus 'standard-library' is missing from this Python (it ships without .py files): "
            "use --corpus language-reference or the path of a text file"
        )
    return b"\n".join(sources)


CORPORA = {"language-reference": language_reference, "standard-library": standard_library}


def split_text(text: bytes, *, validation_share: float = VALIDATION_SHARE) -> tuple[bytes, bytes]:
    """Hold out the last part of each of eight equal stretches of a text.

    Several stretches, because the end of a text alone is about one subject; few and long ones,
    because neighbouring sentences resemble each other.

    Parameters
    ----------
    text : bytes
    validation_share : float
        Share of every stretch that goes to the validation part.

    Returns
    -------
    train, validation : bytes
        Every byte position of `text` lands in exactly one of the two.

    Examples
    --------
    >>> split_text(bytes(range(80)), validation_share=0.1)[1].hex(" ")
    '09 13 1d 27 31 3b 45 4f'
    """
    train, validation = [], []
    for span in range(N_SPANS):
        start, end = span * len(text) // N_SPANS, (span + 1) * len(text) // N_SPANS
        cut = end - round((end - start) * validation_share)
        train.append(text[start:cut])
        validation.append(text[cut:end])
    return b"".join(train), b"".join(validation)


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


def as_tokens(text: bytes) -> Tensor:
    """Turn bytes into token ids.

    Returns
    -------
    Tensor, int64, shape (N,)

    Examples
    --------
    >>> as_tokens(b"MoE").tolist()
    [77, 111, 69]
    """
    return torch.frombuffer(bytearray(text), dtype=torch.uint8).long() if text else torch.empty(0).long()


def derived_seed(*parts: int | str) -> int:
    """Mix numbers and labels into one 63-bit seed, the same on every machine.

    Examples
    --------
    >>> derived_seed(0, "epoch", 1) == derived_seed(0, "epoch", 1) != derived_seed(0, "epoch", 2)
    True
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def training_batch(
    tokens_N: Tensor, *, batch_size: int, context_length: int, seed: int, step: int
) -> tuple[Tensor, Tensor]:
    """Draw the batch of one step: a pure function of seed and step, so a run can resume anywhere.

    Each epoch cuts the text into windows at a new random offset and visits them in a new random
    order, so every byte is seen about once an epoch.

    Parameters
    ----------
    tokens_N : Tensor, int64, shape (N,)
    batch_size : int
        B, windows in a batch.
    context_length : int
        L, tokens in a window.
    seed, step : int
        What determines the batch.

    Returns
    -------
    inputs_BL, targets_BL : Tensor, int64, shape (B, L)
        The targets are the inputs' next tokens.

    Examples
    --------
    >>> inputs_BL, targets_BL = training_batch(
    ...     torch.arange(100), batch_size=2, context_length=4, seed=0, step=7)
    >>> bool((targets_BL == inputs_BL + 1).all())
    True
    """
    starts_B = window_starts(
        len(tokens_N), batch_size=batch_size, context_length=context_length, seed=seed, step=step
    )
    positions_BL = starts_B[:, None] + torch.arange(context_length)
    return tokens_N[positions_BL], tokens_N[positions_BL + 1]


def window_starts(n_tokens: int, *, batch_size: int, context_length: int, seed: int, step: int) -> Tensor:
    """Return where the windows of `training_batch` begin, int64, shape (B,).

    Examples
    --------
    >>> settings = dict(batch_size=2, context_length=4, seed=0, step=7)
    >>> inputs_BL, _ = training_batch(torch.arange(100), **settings)
    >>> bool((inputs_BL[:, 0] == window_starts(100, **settings)).all())
    True
    """
    largest_offset = min(context_length, n_tokens - context_length)
    # One window fewer than fit without an offset, so that every epoch has the same number.
    n_windows = max(1, (n_tokens - largest_offset) // context_length)
    starts_B = torch.empty(batch_size, dtype=torch.long)
    epoch = -1
    for row, sample in enumerate(range(step * batch_size, (step + 1) * batch_size)):
        if sample // n_windows != epoch:
            epoch = sample // n_windows
            generator = torch.Generator().manual_seed(derived_seed(seed, "epoch", epoch))
            offset = torch.randint(largest_offset, (), generator=generator)
            order_W = torch.randperm(n_windows, generator=generator)
        starts_B[row] = offset + order_W[sample % n_windows] * context_length
    return starts_B


def evaluation_windows(tokens_M: Tensor, context_length: int) -> tuple[Tensor, Tensor]:
    """Cut held-out tokens into windows side by side, from the start; a remainder is left out.

    Returns
    -------
    inputs_WL, targets_WL : Tensor, int64, shape (W, L)

    Examples
    --------
    >>> inputs_WL, targets_WL = evaluation_windows(torch.arange(10), 4)
    >>> inputs_WL.tolist(), targets_WL.tolist()
    ([[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    """
    n_tokens = (len(tokens_M) - 1) // context_length * context_length
    return (
        tokens_M[:n_tokens].view(-1, context_length),
        tokens_M[1 : n_tokens + 1].view(-1, context_length),
    )
