"""Tokenizer files of byte-level vocabularies: which character stands for which byte."""

from collections.abc import Sequence
from typing import Any

N_BYTES = 256


def byte_alphabet() -> list[str]:
    """Return the character that stands for each byte in files of byte-level tokenizers.

    Printable ones stand for themselves; the others get the characters from number 256 on, since a
    vocabulary is made of text and a lone byte need not be any.

    References
    ----------
    Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.2 (GPT-2).

    Examples
    --------
    >>> alphabet = byte_alphabet()
    >>> alphabet[ord("A")], alphabet[ord(" ")], len(set(alphabet))
    ('A', 'Ġ', 256)
    """
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    others = [byte for byte in range(N_BYTES) if byte not in printable]
    return [chr(byte if byte in printable else N_BYTES + others.index(byte)) for byte in range(N_BYTES)]


def tokenizer_file(merges: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Return the contents of a `tokenizer.json` of byte-pair encoding.

    Tokens 0 to 255 are the bytes by their value, whatever the merges; without merges there are no others.

    Parameters
    ----------
    merges : sequence of (str, str)
        Pairs of tokens that become one, in the order of their training, in the characters of
        `byte_alphabet`.

    References
    ----------
    Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", arXiv:1508.07909,
    section 3.2.

    Examples
    --------
    >>> vocabulary = tokenizer_file([("t", "h"), ("th", "e")])["model"]["vocab"]
    >>> vocabulary["A"], vocabulary["th"], vocabulary["the"]
    (65, 256, 257)
    """
    vocabulary = {character: byte for byte, character in enumerate(byte_alphabet())}
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))  # two pairs may spell the same token
    # Words, with the space before them, are cut apart first, so that no token spans two; bytes need no words.
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": bool(merges),
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [list(pair) for pair in merges],
        },
    }
