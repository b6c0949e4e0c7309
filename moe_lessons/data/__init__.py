"""Corpora: text as tokens, held out without leaks, cut into batches that a step number determines.

Two corpora come with the package, so nothing is downloaded: the English of Python's language reference
and the source code of its standard library. Files of your own work as well, or a folder, and larger
corpora can be fetched once, by name. Tokens are bytes, or byte pairs learned from the training part.
"""

from moe_lessons.data.batches import (
    MAX_EVALUATION_TOKENS,
    as_tokens,
    derived_seed,
    evaluation_windows,
    training_batch,
    window_starts,
)
from moe_lessons.data.cache import CorpusError, cache_dir
from moe_lessons.data.corpora import (
    CORPORA,
    language_reference,
    standard_library,
)
from moe_lessons.data.loading import Corpus, load_corpus, whole_path
from moe_lessons.data.preparing import read_tokenizer, write_tokenizer
from moe_lessons.data.saved import saved_tokenizer
from moe_lessons.data.sources import SOURCES
from moe_lessons.data.splitting import N_SPANS, VALIDATION_SHARE, is_held_out, split_text
from moe_lessons.data.tokenizer import BYTES, Tokenizer

__all__ = [
    "BYTES",
    "CORPORA",
    "MAX_EVALUATION_TOKENS",
    "N_SPANS",
    "SOURCES",
    "VALIDATION_SHARE",
    "Corpus",
    "CorpusError",
    "Tokenizer",
    "as_tokens",
    "cache_dir",
    "derived_seed",
    "evaluation_windows",
    "is_held_out",
    "language_reference",
    "load_corpus",
    "read_tokenizer",
    "saved_tokenizer",
    "split_text",
    "standard_library",
    "training_batch",
    "whole_path",
    "window_starts",
    "write_tokenizer",
]
