"""From a sentence to the small model's tokens, in plain Python: byte pairs that `moe_lessons.data` learned.

A frequent word is one token, a rare one several; what no merge covers is left as single bytes.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

from moe_lessons.svg import visible

# Words, numbers and signs are cut apart first, each with the space before it, so that no token spans two.
_CUT = re.compile(r" ?A+| ?0+| ?!+|\s+(?!\S)|\s+")
_SHORT = re.compile(r"'(?:s|t|re|ve|m|ll|d)")


class Pairs:
    """A byte-pair vocabulary: tokens 0 to 255 are the bytes, then one for each merge.

    Parameters
    ----------
    merges : tuple of (int, int)
        Pairs of tokens that become one, in the order of their training.

    Examples
    --------
    >>> pairs = Pairs(((116, 104), (256, 101)))  # t and h; th and e
    >>> pairs.encode("the moth")
    (257, 32, 109, 111, 256)
    >>> pairs.labels((257, 32, 109, 200))
    ('the', '␣', 'm', '‹C8›')
    """

    def __init__(self, merges: tuple[tuple[int, int], ...]) -> None:
        self._bytes = [bytes([byte]) for byte in range(256)]
        self._joined: dict[tuple[int, int], tuple[int, int]] = {}
        ids: dict[bytes, int] = {}
        for rank, (left, right) in enumerate(merges):
            spelled = self._bytes[left] + self._bytes[right]
            if spelled not in ids:  # two pairs may spell the same token
                ids[spelled] = len(self._bytes)
                self._bytes.append(spelled)
            self._joined[left, right] = rank, ids[spelled]
        self._word = lru_cache(maxsize=4096)(self._merge)

    def __len__(self) -> int:
        return len(self._bytes)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text; what is no valid Unicode becomes a question mark."""
        return tuple(token for word in _words(text) for token in self._word(word))

    def labels(self, tokens: tuple[int, ...]) -> tuple[str, ...]:
        """Write tokens for a picture: without the space before a word; a piece that goes on begins with ….

        A byte that is no character of its own stands in hexadecimal.
        """
        before, labels = " ", []
        for token in tokens:
            raw = self._bytes[token]
            try:
                piece = raw.decode()
            except UnicodeDecodeError:
                labels.append(f"‹{raw.hex().upper()}›")
                before = " "
                continue
            goes_on = before[-1].isalnum() and piece[0].isalnum()
            bare = piece[1:] if piece[0] == " " and len(piece) > 1 else piece
            labels.append(("…" if goes_on else "") + visible(bare))
            before = piece
        return tuple(labels)

    def _merge(self, word: str) -> tuple[int, ...]:
        """Merge neighbours again and again, the pair that was learned first before all others."""
        parts = list(word.encode(errors="replace"))
        while known := [pair for pair in pairwise(parts) if pair in self._joined]:
            left, right = first = min(known, key=self._joined.__getitem__)
            joined, i = [], 0
            while i < len(parts):
                here = parts[i : i + 2] == [left, right]
                joined.append(self._joined[first][1] if here else parts[i])
                i += 2 if here else 1
            parts = joined
        return tuple(parts)


def _words(text: str) -> list[str]:
    """Cut a text where GPT-2's tokenizer does.

    Examples
    --------
    >>> _words("It isn't 42!")
    ['It', ' isn', "'t", ' 42', '!']
    """
    shape, words, at = "".join(map(_kind, text)), [], 0
    while at < len(text):
        cut = _SHORT.match(text, at) or _CUT.match(shape, at)
        assert cut is not None  # a letter, a number, a space or a sign: one of them stands here
        words.append(text[at : cut.end()])
        at = cut.end()
    return words


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """One of four: a letter, a number, a space, or a sign."""
    if character.isalpha():
        return "A"
    if character.isspace():
        return character if character == " " else "\t"
    return "0" if unicodedata.category(character).startswith("N") else "!"
