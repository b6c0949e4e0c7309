"""The tokenizer that a run's folder holds: for writing and reading text with its model."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moe_lessons.data.byte_level import N_BYTES, tokenizer_file
from moe_lessons.data.byte_pairs import BytePairTokenizer, is_byte_level
from moe_lessons.data.cache import CorpusError, read_json
from moe_lessons.data.tokenizer import BYTES, Tokenizer, library


class LibraryTokenizer:
    """Any `tokenizer.json`, as an imported model may bring one; its tokens need not be made of bytes.

    Good for generating, not for training: what a token stands for in bytes is not known.

    Raises
    ------
    CorpusError
        If Hugging Face's tokenizers is not installed, or cannot read the contents.
    """

    name, unit, byte_lengths_V = "tokenizer.json", "token", None

    def __init__(self, contents: dict[str, Any]) -> None:
        self.contents, self.sha256 = contents, None
        try:
            self._engine = library(self.name).Tokenizer.from_str(json.dumps(contents))
        except CorpusError:
            raise
        except Exception as error:  # the library raises nothing more specific
            raise CorpusError(f"tokenizer.json cannot be read: {str(error).splitlines()[0]}") from error

    @cached_property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self._engine.get_vocab_size()

    def encode(self, *texts: bytes) -> Tensor:
        """Return the tokens of texts, with those that the tokenizer adds before and after."""
        encoded = [self._engine.encode(text.decode(errors="replace")).ids for text in texts]
        return torch.tensor([token for ids in encoded for token in ids], dtype=torch.long)

    def decode(self, tokens: Tensor) -> bytes:
        """Return the text of tokens."""
        return self._engine.decode(tokens.tolist()).encode()


def saved_tokenizer(folder: Path, *, vocab_size: int, sha256: str | None = None) -> Tokenizer:
    """Return the tokenizer of a run.

    Parameters
    ----------
    folder : Path
        With `tokenizer.json`; without one, 256 tokens are bytes.
    vocab_size : int
        Of the model.
    sha256 : str, optional
        What the checkpoint says of the file.

    Returns
    -------
    Tokenizer

    Raises
    ------
    CorpusError
        If there is no file and more than bytes, or the file is damaged.

    Examples
    --------
    >>> saved_tokenizer(Path("nowhere"), vocab_size=256).name
    'bytes'
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        if vocab_size == N_BYTES:
            return BYTES
        raise CorpusError(
            f"vocab_size={vocab_size}: {folder} has no tokenizer.json to say what they are; put it there"
        )
    contents = read_json(path)
    if contents == tokenizer_file():
        return BYTES
    if not is_byte_level(contents) or contents.get("normalizer") is not None:
        return LibraryTokenizer(contents)
    tokenizer = BytePairTokenizer(contents)
    if sha256 not in (None, tokenizer.sha256):
        raise CorpusError(f"{path} is not the one that the checkpoint names (by its checksum): put it back")
    return tokenizer
