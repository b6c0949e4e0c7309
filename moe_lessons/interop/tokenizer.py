"""A tokenizer of bytes that Hugging Face's libraries load: a token's number is its byte's value."""

from pathlib import Path
from typing import Any

from moe_lessons.interop.folders import write_json

N_BYTES = 256
FILES = ("tokenizer.json", "tokenizer_config.json")


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


def byte_tokenizer() -> dict[str, Any]:
    """Return the contents of a `tokenizer.json`: byte-pair encoding that never merges a pair.

    Examples
    --------
    >>> byte_tokenizer()["model"]["vocab"]["A"]
    65
    """
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
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
            "vocab": {character: byte for byte, character in enumerate(byte_alphabet())},
            "merges": [],
        },
    }


def write_byte_tokenizer(folder: Path, context_length: int) -> None:
    """Write the files that `AutoTokenizer` reads."""
    write_json(folder / "tokenizer.json", byte_tokenizer())
    write_tokenizer_config(folder, context_length)


def write_tokenizer_config(folder: Path, context_length: int) -> None:
    """Say which class loads `tokenizer.json`, and how long a text the model takes."""
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,  # or a decoded "a ." would lose its space
    }
    write_json(folder / "tokenizer_config.json", settings)
