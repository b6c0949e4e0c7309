"""What a tokenizer is, and the simplest: bytes.

Every tokenizer that trains is lossless on any bytes, and knows how many bytes each token stands for. So a
loss in nats per token becomes bits per byte, and models with different tokenizers compare.
"""

from typing import Any, Protocol

from torch import Tensor

from moe_lessons.data.batches import as_tokens
from moe_lessons.data.byte_level import N_BYTES
from moe_lessons.data.cache import CorpusError


class Tokenizer(Protocol):
    """What training, evaluation and generation need of a tokenizer.

    Attributes
    ----------
    name : str
        How to ask for it: "bytes", "bpe", or the path of a file.
    unit : str
        What a token is, for messages.
    vocab_size : int
    sha256 : str or None
        Checksum of its file; None for the bytes, which need none.
    contents : dict or None
        Of its file.
    byte_lengths_V : Tensor, int64, shape (V,), or None
        Bytes that each token stands for; None where that is one byte each.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def unit(self) -> str: ...  # noqa: D102
    @property
    def vocab_size(self) -> int: ...  # noqa: D102
    @property
    def sha256(self) -> str | None: ...  # noqa: D102
    @property
    def contents(self) -> dict[str, Any] | None: ...  # noqa: D102
    @property
    def byte_lengths_V(self) -> Tensor | None: ...  # noqa: D102

    def encode(self, *texts: bytes) -> Tensor:
        """Return the tokens of texts, each text cut for itself, one after the other: int64, shape (N,)."""

    def decode(self, tokens: Tensor) -> bytes:
        """Return the bytes that tokens stand for."""


class ByteTokenizer:
    """A token's number is its byte's value.

    Examples
    --------
    >>> BYTES.encode(b"MoE").tolist(), BYTES.decode(BYTES.encode(b"MoE"))
    ([77, 111, 69], b'MoE')
    """

    name, unit, vocab_size = "bytes", "byte", N_BYTES
    sha256, contents, byte_lengths_V = None, None, None

    def encode(self, *texts: bytes) -> Tensor:
        """Return the bytes' values."""
        return as_tokens(b"".join(texts))

    def decode(self, tokens: Tensor) -> bytes:
        """Return the bytes of these values."""
        return bytes(tokens.tolist())


BYTES = ByteTokenizer()


def library(asked_for: str) -> Any:
    """Import Hugging Face's tokenizers, which bytes don't need.

    Raises
    ------
    CorpusError
        If it is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise CorpusError(
            f"tokenizer {asked_for!r} needs the package tokenizers: pip install tokenizers, or use bytes"
        ) from None
    return tokenizers
