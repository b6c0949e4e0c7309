"""Files of tokens, mapped into memory rather than read: numbers in a `.bin`, what they are in a `.json`."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moe_lessons.data.cache import CorpusError, read_json, sha256_of, whole_file, write_json

FORMAT = 1
DTYPES = {"uint8": torch.uint8, "uint16": torch.uint16, "uint32": torch.uint32}


def smallest_dtype(vocab_size: int) -> str:
    """Return the smallest of `DTYPES` that holds every token.

    Examples
    --------
    >>> [smallest_dtype(size) for size in (256, 257, 65536, 65537)]
    ['uint8', 'uint16', 'uint16', 'uint32']
    """
    return next(name for name, dtype in DTYPES.items() if vocab_size - 1 <= torch.iinfo(dtype).max)


def write_tokens(path: Path, chunks: Iterable[Tensor], *, vocab_size: int, **facts: Any) -> dict[str, Any]:
    """Write tokens as they come to `path`.bin, then what they are to `path`.json.

    Parameters
    ----------
    path : Path
        Without suffix.
    chunks : iterable of Tensor
        Of whole numbers below `vocab_size`, each of shape (n,).
    vocab_size : int
        V.
    **facts
        What else to record.

    Returns
    -------
    dict
        The header: count, dtype, vocabulary, sha256 and the facts.

    Raises
    ------
    CorpusError
        If the disk refuses.
    """
    dtype = smallest_dtype(vocab_size)
    count, digest = 0, hashlib.sha256()
    with whole_file(path.with_suffix(".bin")) as file:
        for chunk in chunks:
            raw = chunk.to(DTYPES[dtype]).numpy().tobytes()
            file.write(raw)
            digest.update(raw)
            count += len(chunk)
    header = {
        "format": FORMAT,
        "count": count,
        "dtype": dtype,
        "vocabulary": vocab_size,
        "sha256": digest.hexdigest(),
        **facts,
    }
    write_json(path.with_suffix(".json"), header)
    return header


def open_tokens(path: Path, *, verify: bool = True) -> tuple[Tensor, dict[str, Any]]:
    """Map a token file into memory: what is not used is not loaded.

    Parameters
    ----------
    path : Path
        Without suffix.
    verify : bool
        Compare the checksum, which reads the file once, at the disk's speed.

    Returns
    -------
    tokens_N : Tensor, uint8, uint16 or uint32, shape (N,)
        Changing it changes memory only.
    header : dict

    Raises
    ------
    CorpusError
        If a file is missing or damaged.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "train"
    >>> header = write_tokens(path, [torch.arange(3), torch.arange(2)], vocab_size=1000)
    >>> tokens_N, header = open_tokens(path)
    >>> tokens_N.tolist(), tokens_N.dtype, header["count"]
    ([0, 1, 2, 0, 1], torch.uint16, 5)
    """
    file, remedy = path.with_suffix(".bin"), f"delete {path.parent}; it is made again"
    header = read_json(path.with_suffix(".json"))
    try:
        count, dtype, expected = int(header["count"]), DTYPES[header["dtype"]], header["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise CorpusError(f"{path.with_suffix('.json')} is damaged: {remedy}") from error
    size = file.stat().st_size if file.is_file() else 0
    if size != count * dtype.itemsize or (verify and sha256_of(file) != expected):
        raise CorpusError(f"{file} is damaged (it does not match its checksum): {remedy}")
    if count == 0:
        return torch.empty(0, dtype=dtype), header
    return torch.from_file(str(file), shared=False, size=count, dtype=dtype), header
