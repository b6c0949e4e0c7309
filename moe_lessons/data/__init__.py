"""Corpora: text as tokens, held out without leaks, cut into batches that a step number determines.

Two corpora come with Python itself, so nothing is downloaded: the English of the language reference
and the source code of the standard library. Any UTF-8 or binary file of your own works as well.
"""

from moe_lessons.data.batches import (
    as_tokens,
    derived_seed,
    evaluation_windows,
    training_batch,
    window_starts,
)
from moe_lessons.data.corpora import (
    CORPORA,
    STANDARD_LIBRARY_MODULES,
    language_reference,
    standard_library,
)
from moe_lessons.data.loading import Corpus, load_corpus
from moe_lessons.data.splitting import N_SPANS, VALIDATION_SHARE, split_text

__all__ = [
    "CORPORA",
    "N_SPANS",
    "STANDARD_LIBRARY_MODULES",
    "VALIDATION_SHARE",
    "Corpus",
    "as_tokens",
    "derived_seed",
    "evaluation_windows",
    "language_reference",
    "load_corpus",
    "split_text",
    "standard_library",
    "training_batch",
    "window_starts",
]
