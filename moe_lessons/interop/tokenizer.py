"""The tokenizer's files in a folder that Hugging Face's libraries load."""

import shutil
from pathlib import Path

from moe_lessons.data.byte_level import N_BYTES, tokenizer_file
from moe_lessons.interop.folders import write_json

FILES = ("tokenizer.json", "tokenizer_config.json")


def write_tokenizer(folder: Path, *, run: Path | None, vocab_size: int, context_length: int) -> None:
    """Write the files that `AutoTokenizer` reads: those of a run, or those of bytes.

    A run of bytes has no such file: its token's number is its byte's value. Without a file, and with other
    than 256 tokens, nothing is known and nothing written.

    Parameters
    ----------
    folder : Path
    run : Path or None
        The run's folder.
    vocab_size, context_length : int
        Of the model.
    """
    if run is not None and (run / "tokenizer.json").is_file():
        for name in FILES:
            if (run / name).is_file():
                shutil.copyfile(run / name, folder / name)
    elif vocab_size == N_BYTES:
        write_json(folder / "tokenizer.json", tokenizer_file())
    else:
        return
    if not (folder / "tokenizer_config.json").exists():
        write_tokenizer_config(folder, context_length)


def write_tokenizer_config(folder: Path, context_length: int) -> None:
    """Say which class loads `tokenizer.json`, and how long a text the model takes."""
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,  # or a decoded "a ." would lose its space
    }
    write_json(folder / "tokenizer_config.json", settings)
