"""Texts of a whole class, held small: each is packed, and made whole for as long as someone looks at it.

A run holds what everyone handed in until it ends. A learner may hand in four million characters, and Python
takes two or four bytes for each where one of them is no Latin letter.
"""

import zlib
from collections.abc import Iterator, Mapping

_QUICK = 1
"""zlib's fastest level: Python packs to a third or less, in a hundredth of the time that judging takes."""


class Packed(Mapping[str, str]):
    """Texts by name, read-only and equal to a ``dict`` of the same; looking one up unpacks that one alone.

    Examples
    --------
    >>> texts = Packed({"01.topk_gates": "def topk_gates(logits_TE, k): ..."})
    >>> texts["01.topk_gates"], len(texts), texts == dict(texts)
    ('def topk_gates(logits_TE, k): ...', 1, True)
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        # A learner's text may hold halves of characters, which UTF-8 has no place for.
        self._packed = {
            name: zlib.compress(text.encode("utf-8", "surrogatepass"), _QUICK) for name, text in texts.items()
        }

    def __getitem__(self, name: str) -> str:
        """The text of this name."""
        return zlib.decompress(self._packed[name]).decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        """The names, in the order in which they were given."""
        return iter(self._packed)

    def __len__(self) -> int:
        """How many texts there are."""
        return len(self._packed)

    def __contains__(self, name: object) -> bool:
        """Whether there is a text of this name; nothing is unpacked to tell."""
        return name in self._packed

    def __repr__(self) -> str:
        """The names; the texts may be long."""
        return f"Packed({', '.join(self._packed)})"
